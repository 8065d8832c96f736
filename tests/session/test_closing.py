"""What a session leaves behind when it is closed, whatever goes on and whatever fails."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted

from concertino import ConcertinoError, SessionError
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography, radiography
from concertino.reconstruction import ReconstructionSettings
from concertino.runtime._ending import open_sessions
from concertino.session import Session, open_session
from concertino.storage import Catalog, open_run


def small_scan(beamline: SimulatedBeamline, num_projections: int = 3) -> Any:
    return radiography(
        beamline.camera, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, num_darks=2, num_flats=2,
        num_projections=num_projections,
    )  # fmt: skip


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(16, 24), exposure=0.0, frame_rate=200.0)


def opened(directory: Path, **options: Any) -> Session:
    return open_session(directory, progress=False, catalog=False, **options)


def state_of(run_engine: RunEngine) -> dict[str, Any]:
    registry = run_engine.dispatcher.cb_registry.callbacks
    return {
        "md": dict(run_engine.md),
        "preprocessors": list(run_engine.preprocessors),
        "context_managers": list(run_engine.context_managers),
        "scan_id_source": run_engine.scan_id_source,
        "waiting_hook": run_engine.waiting_hook,
        "subscriptions": sorted(
            (str(name), len(known)) for name, known in registry.items() if known
        ),
        "commands": {name: run_engine._command_registry[name] for name in run_engine.commands},
        "suspenders": list(run_engine.suspenders),
        "process": run_engine.dispatcher.process,
    }


def test_a_run_engine_comes_back_as_it_was(tmp_path: Path, beamline: SimulatedBeamline) -> None:
    mine: list[str] = []
    run_engine = RunEngine({"institute": "ours"})
    run_engine.subscribe(lambda name, document: mine.append(name))
    before = state_of(run_engine)
    for directory in (tmp_path / "one", tmp_path / "other"):
        with open_session(
            directory, catalog=False, run_engine=run_engine, baseline=beamline.baseline,
            md={"proposal": 7},
        ) as session:  # fmt: skip
            session.subscribe(ImageWriter())
            run_engine(small_scan(beamline))
            assert open_run("scan_0001", directory).start["proposal"] == 7
            assert len(open_run("scan_0001", directory).frames("projections").read()) == 3
        assert state_of(run_engine) == before
    assert mine.count("stop") == 2


def test_what_others_add_to_a_run_engine_meanwhile_stays(tmp_path: Path) -> None:
    run_engine = RunEngine({})
    session = opened(tmp_path, run_engine=run_engine)

    def theirs(plan: Any) -> Any:
        return plan

    run_engine.preprocessors.append(theirs)
    run_engine.md["sample"] = "tooth"
    session.close()
    assert run_engine.preprocessors == [theirs]
    assert run_engine.md["sample"] == "tooth"


def test_a_run_engine_has_one_session(tmp_path: Path) -> None:
    run_engine = RunEngine({})
    with opened(tmp_path / "one", run_engine=run_engine):
        before = state_of(run_engine)
        with pytest.raises(SessionError, match=r"has a session already, in .*one; close that one"):
            opened(tmp_path / "other", run_engine=run_engine)
        assert state_of(run_engine) == before
    opened(tmp_path / "other", run_engine=run_engine).close()


class Failing:
    """Raises at one kind of document."""

    def __init__(self, kind: str, error: Exception) -> None:
        self.kind, self.error = kind, error

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        if name == self.kind:
            raise self.error


def test_a_callback_that_raises_at_stop_keeps_it_from_nobody(
    tmp_path: Path, beamline: SimulatedBeamline
) -> None:
    heard: list[str] = []
    reconstruction = OnlineReconstruction(ReconstructionSettings(slices=(8,), center=12.0))
    session = opened(tmp_path)
    # what is subscribed to the RunEngine itself has no thread of its own
    failing = [Failing("stop", ValueError("the first")), Failing("stop", KeyError("the second"))]
    for callback in failing:
        session.RE.subscribe(callback)
    session.subscribe(reconstruction)
    session.subscribe(lambda name, document: heard.append(name))
    with pytest.raises(ValueError, match="the first") as raised:
        session.RE(
            continuous_tomography(
                beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
                radio_position=0, flat_position=1, num_darks=2, num_flats=2, num_projections=20,
                angular_range="90 deg",
            )
        )  # fmt: skip
    assert "Another callback failed at the same stop document: KeyError: 'the second'" in (
        raised.value.__notes__
    )
    assert heard.count("stop") == 1
    session.close()
    assert reconstruction.result is not None


@pytest.mark.slow  # tiled takes seconds to import
def test_a_database_that_others_hold_keeps_no_session_from_being_closed(
    tmp_path: Path, beamline: SimulatedBeamline, caplog: pytest.LogCaptureFixture
) -> None:
    with open_session(tmp_path, progress=False) as session:
        session.subscribe(ImageWriter())
        session.RE(small_scan(beamline))
        session.wait()
    (database,) = (tmp_path / ".catalog").glob("*.db")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("begin immediate")  # a backup, or another session
        session = open_session(tmp_path, progress=False)
        session.subscribe(ImageWriter())
        session.RE(small_scan(beamline))
        begun = time.monotonic()
        session.close()
        assert time.monotonic() - begun < 10  # 2 s, on a quiet machine; SQLite waits for 30 s
    assert "lacks 1 runs yet: scan_0002; its next use, or the next session there" in caplog.text
    with Catalog.open(tmp_path) as catalog:
        assert len(catalog) == 2


class Hanging:
    """Is busy for ever, or as long as the test wants."""

    name = "thinker"
    busy = True

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        pass

    def wait(self, timeout_s: float | None = None) -> None:
        threading.Event().wait()

    def close(self) -> None:
        self.closed.set()


class Stubborn:
    """Cannot be closed."""

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        raise OSError("no")


def test_what_hangs_or_fails_keeps_nothing_else_from_being_closed(
    tmp_path: Path, beamline: SimulatedBeamline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concertino.session._closing._MORE_S", 0.1)
    session = opened(tmp_path)
    hanging = Hanging()
    session.subscribe(Stubborn())
    session.subscribe(hanging)
    session.subscribe(ImageWriter())
    session.RE(small_scan(beamline))
    with pytest.raises(SessionError, match=r"The thinker did not end within 0\.3 s") as raised:
        session.close(timeout_s=0.2)
    assert any("OSError: no" in note for note in raised.value.__notes__)
    assert hanging.closed.is_set()
    with pytest.raises(RuntimeError, match="shutdown"):
        session.recorder._syncer.submit(print)  # its thread has ended
    assert session not in open_sessions()
    session.close()


def test_a_running_plan_is_aborted(tmp_path: Path, beamline: SimulatedBeamline) -> None:
    session = opened(tmp_path)
    session.subscribe(ImageWriter())
    ended: list[BaseException] = []

    def run() -> None:
        try:
            session.RE(small_scan(beamline, 100_000))
        except RunEngineInterrupted as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline_s = time.monotonic() + 240
    while not beamline.shutter.is_open or not list(tmp_path.glob("scan_0001/projections/*.tif")):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    session.close()
    thread.join(240)
    (error,) = ended
    assert str(error) == "The plan was ended: the session was closed while the plan was running."
    assert isinstance(error, ConcertinoError)
    assert not beamline.shutter.is_open
    stop = open_run("scan_0001", tmp_path).stop
    assert stop is not None
    assert stop["exit_status"] == "abort"
    assert stop["reason"] == "the session was closed while the plan was running"


def test_a_session_is_not_closed_inside_of_its_plan(
    tmp_path: Path, beamline: SimulatedBeamline
) -> None:
    with opened(tmp_path) as session:
        session.RE.subscribe(lambda name, document: session.close(), "start")
        with pytest.raises(SessionError, match=r"A session cannot be closed inside a plan"):
            session.RE(small_scan(beamline))
        assert session.RE.state == "idle"


@pytest.mark.disturbed_by_load("a program is started, and told to end by the clock")
def test_a_session_of_another_thread_says_what_it_cannot_do(tmp_path: Path) -> None:
    code = """
import sys, threading
from concertino.session import open_session
def work():
    open_session(sys.argv[1], progress=False, catalog=False).close()
thread = threading.Thread(target=work, name="worker")
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert "opened in the thread 'worker', which cannot take signals" in done.stderr


PROMPT = """
import sys
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.session import open_session
b = SimulatedBeamline(shape=(16, 24), exposure=0.0, frame_rate=200.0)
s = open_session(sys.argv[1], progress=False, catalog=False)
s.subscribe(ImageWriter())
s.RE(radiography(b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=1, num_darks=2,
                 num_flats=2, num_projections=100_000))
"""


@pytest.mark.disturbed_by_load("a program is started, and told to end by the clock")
def test_at_a_prompt_ctrl_c_pauses_and_closing_ends_what_is_paused(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROMPT)
    data = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-i", str(tmp_path / "program.py"), str(data)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    try:
        deadline_s = time.monotonic() + 240
        while not list(data.glob("scan_0001/projections/frame_00002*.tif")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(
            "print('STATE', s.RE.state, b.shutter.is_open)\ns.close()\n"
            "print('STATE', s.RE.state, b.shutter.is_open)\n",
            timeout=240,
        )
    finally:
        process.kill()
    assert "STATE paused False" in out
    assert "STATE idle False" in out
    stop = open_run("scan_0001", data).stop
    assert stop is not None
    assert stop["reason"] == "the session was closed while the plan was paused"
