"""Opening a data directory again in one process, as a notebook's cell does that is run again."""

import time
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine

from concertino import ParameterError, SessionError
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.runtime._ending import open_sessions
from concertino.session import Session, open_session
from concertino.storage import open_run


def opened(directory: Path, **options: Any) -> Session:
    return open_session(directory, progress=False, catalog=False, guard=False, **options)


def test_without_a_choice_there_are_two_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        assert first is not second
        said = capsys.readouterr().err
        assert f"has a session in {tmp_path} already" in said
        assert "if_open='close'" in said
        assert "Another session" not in said  # Once is enough.
        assert len(first.others()) == len(second.others()) == 1
    with opened(tmp_path), opened(tmp_path / "other"):
        assert capsys.readouterr().err == ""


def test_the_first_one_is_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "data")
    with opened(tmp_path / "data", if_open="reuse") as session:
        assert opened(link, if_open="reuse", md={"new": 1}) is session
        assert "what else open_session() was given is not looked at" in capsys.readouterr().err
        assert opened(tmp_path / "data", if_open="reuse", run_engine=session.RE) is session
        with pytest.raises(ParameterError, match="if_open: 'reuse' was given together with a run_"):
            opened(tmp_path / "data", if_open="reuse", run_engine=RunEngine({}))
        assert session in open_sessions()


def test_the_first_one_is_closed_and_what_it_runs_ends_with_the_beam_off(tmp_path: Path) -> None:
    line = SimulatedBeamline(shape=(8, 16), exposure=0.0, frame_rate=100.0)
    first = opened(tmp_path)
    first.subscribe(ImageWriter())
    run = first.start(
        radiography(
            line.camera, line.beam, line.sample_stage, radio_position=0, flat_position=1,
            num_darks=1, num_flats=1, num_projections=5000,
        )
    )  # fmt: skip
    until_s = time.monotonic() + 60
    while run.progress.stream != "projections":
        assert time.monotonic() < until_s
        time.sleep(0.01)
    with opened(tmp_path, if_open="close") as second:
        assert run.state == "aborted"
        assert not line.shutter.is_open
        assert first not in open_sessions()
        assert second.others() == ()
        stop = open_run("scan_0001", tmp_path).stop
        assert stop is not None
        assert "session was closed" in stop["reason"]


def test_who_has_the_run_engine_is_closed_wherever_it_is(tmp_path: Path) -> None:
    engine = RunEngine({})
    first = opened(tmp_path / "one", run_engine=engine)
    with pytest.raises(SessionError, match=r"session\.close\(\) or if_open='close'"):
        opened(tmp_path / "other", run_engine=engine)
    with opened(tmp_path / "other", run_engine=engine, if_open="close"):
        assert first not in open_sessions()


def test_no_such_choice(tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match="if_open: 'replace' was given; give 'close' or 'reuse'"
    ):
        opened(tmp_path, if_open="replace")
    assert list(tmp_path.iterdir()) == []
