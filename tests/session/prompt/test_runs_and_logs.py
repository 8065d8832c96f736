"""The table of the last runs, and levels by logger: at the prompt, in run logs, and as before afterwards."""

import logging
import subprocess
import sys
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky.utils import MsgGenerator
from ophyd import Signal

from concertino import ParameterError, SessionError
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import open_run

#: Nobody has set up logging in it, as at a prompt.
PROGRAM = """
import logging, sys
import bluesky.plan_stubs as bps
from concertino.session import open_session
frames, units = logging.getLogger("concertino.frames"), logging.getLogger("concertino.units")
def plan():
    yield from bps.open_run()
    for logger in frames, frames.getChild("core"), units:
        logger.debug("debug of %s", logger.name)
        logger.info("info of %s", logger.name)
        logger.warning("warning of %s", logger.name)
    yield from bps.close_run()
with open_session(sys.argv[1], progress=False, catalog=False, guard=False) as session:
    session.log_level("concertino.frames", "debug")
    session.log_level("concertino.units", "error")
    session.log_level("concertino", "warning")
    session.RE(plan())
frames.debug("debug afterwards")
"""


def test_what_loggers_say_at_the_prompt_and_in_the_log_of_a_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    said = {
        f"{level} of concertino.{name}"
        for name in ("frames", "frames.core")
        for level in ("debug", "info", "warning")
    }
    log = (tmp_path / "scan_0001" / "run.log").read_text()
    for text in done.stderr, log:
        assert {one for one in said if text.count(one) == 1 + text.count(f"{one}.core")} == said
        assert "of concertino.units" not in text
        assert "afterwards" not in text
    assert "run ends with success" in log
    assert "run ends with success" not in done.stderr


def test_levels_are_as_before_when_the_session_closes_and_mistakes_are_told(tmp_path: Path) -> None:
    logger = logging.getLogger("concertino.frames")
    before = logger.level
    with open_session(tmp_path, progress=False, catalog=False, guard=False) as session:
        session.log_level("concertino.frames", "DEBUG")
        assert logger.level == logging.DEBUG
        session.log_level("json", "info")  # a module that has no logger yet
        for name, level, said in (
            ("concertino.farmes", "debug", r"no logger 'concertino\.farmes'; give .* concertino\.frames"),
            ("", "debug", "there is no logger ''"),
            ("concertino", "loud", "level: 'loud' was given; give one of debug, info"),
        ):  # fmt: skip
            with pytest.raises(ParameterError, match=said):
                session.log_level(name, level)
    assert logger.level == before
    with pytest.raises(SessionError, match=r"was closed before session\.log_level"):
        session.log_level("concertino", "debug")


def test_the_last_runs(tmp_path: Path) -> None:
    line = SimulatedBeamline(shape=(8, 16), exposure=0.0, frame_rate=0.0)

    def failing() -> MsgGenerator[None]:
        yield from bps.open_run(md={"plan_name": "failing", "sample": "a\nb"})
        raise ValueError("the sample fell off")

    with open_session(tmp_path, progress=False, catalog=False, guard=False) as session:
        assert str(session.last_runs()) == "No run has been taken in this data directory."
        session.subscribe(ImageWriter())
        session.RE(bp.count([Signal(name="slit", value=1.0)], 3), sample="tooth")
        session.RE(
            radiography(
                line.camera, line.beam, line.sample_stage, radio_position=0, flat_position=1,
                num_darks=1, num_flats=2, num_projections=4,
            )
        )  # fmt: skip
        with pytest.raises(ValueError, match="fell off"):
            session.RE(failing())
        table = session.last_runs()
        found = [(one.scan_id, one.plan, one.exit_status, one.frames, one.sample) for one in table]
        assert found == [
            (3, "failing", "fail", 0, "a\nb"),
            (2, "radiography", "success", 7, ""),
            (1, "count", "success", 0, "tooth"),
        ]
        assert len(session.last_runs(2)) == 2
        heading, first, second, _ = str(table).splitlines()
        assert heading.split() == ["uid", "scan", "plan", "started", "status", "frames", "sample"]
        assert open_run(first.split()[0], tmp_path).scan_id == 3
        assert second.split()[1:3] == ["2", "radiography"]
        assert "<td>radiography</td>" in table._repr_html_()
        for wrong in 0, True, 1.5:
            with pytest.raises(ParameterError, match="give how many runs, 1 or more"):
                session.last_runs(wrong)  # type: ignore[arg-type]
