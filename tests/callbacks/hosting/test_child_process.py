"""Callbacks in processes of their own: the same answer, and what happens when one or the other dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from bluesky.utils import FailedStatus

from concertino import ConcertinoError, ParameterError
from concertino.callbacks import ChildProcess, FrameConsumer, ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography, radiography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import open_run

pytestmark = pytest.mark.disturbed_by_load(
    "callbacks are processes; one that gives no sign of life within its time-out is given up"
)

SHAPE = (32, 48)


def scan(beamline: SimulatedBeamline, projections: int = 20) -> Any:
    return radiography(
        beamline.camera, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, num_darks=3, num_flats=3, num_projections=projections,
    )  # fmt: skip


def tomography(beamline: SimulatedBeamline) -> Any:
    return continuous_tomography(
        beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, num_darks=3, num_flats=3, num_projections=40,
        angular_range="180 deg",
    )  # fmt: skip


def reachable_beamline(**settings: Any) -> SimulatedBeamline:
    chosen = {"shape": SHAPE, "exposure": 0.002, "frame_rate": 200.0, "noise": False}
    return SimulatedBeamline(**{**chosen, **settings})


def stop_of(directory: Path) -> dict[str, Any]:
    last = (directory / "documents.jsonl").read_text().splitlines()[-1]
    name, document = json.loads(last)
    assert name == "stop"
    return dict(document)


def until(condition: Callable[[], bool], timeout_s: float = 240.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "data", progress=False, catalog=False) as opened:
        yield opened


def test_a_writer_in_a_process_stores_the_run(session: Session) -> None:
    beamline = reachable_beamline()
    writer = ChildProcess(ImageWriter())
    session.subscribe(writer)
    session.RE(scan(beamline))
    run = open_run("scan_0001", root=session.directory)
    assert run.frames("projections").shape == (20, *SHAPE)
    rows = {row["stream"]: row for row in run.ledger() if row["party"] == "writer"}
    assert {name: row["acknowledged"] for name, row in rows.items()} == {
        "darks": 3,
        "flats": 3,
        "projections": 20,
    }
    assert os.getpid() != writer.pid
    session.close()
    assert not writer.alive


def test_the_reconstruction_in_a_process_is_that_of_the_session(session: Session) -> None:
    beamline = reachable_beamline()
    here = OnlineReconstruction(ReconstructionSettings(slices=(10, 20), center=24.0))
    there = ChildProcess(OnlineReconstruction(here.settings, name="elsewhere"))
    emitted: list[str] = []
    there.add_callback(lambda name, document: emitted.append(name))
    for callback in (ImageWriter(), here, there):
        session.subscribe(callback)
    session.RE(tomography(beamline))
    session.wait(240)
    result = there.wait(240)
    np.testing.assert_array_equal(result.volume, here.wait(240).volume)
    assert result.volume.std() > 0
    assert {"start", "descriptor", "stop"} <= set(emitted)
    directories = {here.run_directory, there.call("run_directory")}
    assert len(directories) == 2
    assert all(directory is not None and directory.is_dir() for directory in directories)


def test_a_killed_process_ends_the_run_with_the_beam_off(session: Session) -> None:
    beamline = reachable_beamline(subscriber_timeout_s=2.0)
    writer = ChildProcess(ImageWriter())
    session.subscribe(writer)
    folder = session.directory / "scan_0001" / "projections"
    killed: list[int] = []

    def kill_at_frame_ten(name: str, document: Any) -> None:
        if name == "stream_datum" and not killed and folder.exists() and any(folder.iterdir()):
            os.kill(writer.pid, signal.SIGKILL)
            killed.append(writer.pid)

    session.subscribe(kill_at_frame_ten)
    with pytest.raises((FailedStatus, ConcertinoError)):
        session.RE(scan(beamline, projections=4000))
    assert killed
    assert not beamline.shutter.is_open
    stop = stop_of(session.directory / "scan_0001")
    assert stop["exit_status"] == "fail"
    assert "writer" in stop["reason"]
    run = open_run("scan_0001", root=session.directory)
    frames = run.frames("projections")
    assert 0 < len(frames) < 4000
    for index in range(len(frames)):
        np.testing.assert_array_equal(
            frames[index], tifffile.imread(folder / f"frame_{index:06d}.tif")
        )
    with pytest.raises(ConcertinoError, match=rf"writer \({writer.pid}\) was ended by SIGKILL"):
        writer.call("bytes_per_file")


def test_a_stopped_process_ends_the_run_within_its_time_out(session: Session) -> None:
    beamline = reachable_beamline(subscriber_timeout_s=1.0)
    writer = ChildProcess(ImageWriter(), timeout_s=2.0)
    session.subscribe(writer)

    def freeze(name: str, document: Any) -> None:
        if name == "stream_datum":
            os.kill(writer.pid, signal.SIGSTOP)

    session.subscribe(freeze)
    began_s = time.monotonic()
    try:
        with pytest.raises((FailedStatus, ConcertinoError)):
            session.RE(scan(beamline, projections=4000))
        assert time.monotonic() - began_s < 15
    finally:
        os.kill(writer.pid, signal.SIGCONT)
    assert not beamline.shutter.is_open
    assert "writer" in stop_of(session.directory / "scan_0001")["reason"]


def test_a_process_that_stands_still_is_said_long_before_its_time_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ChildProcess(ImageWriter(), timeout_s=600.0) as writer:
        os.kill(writer.pid, signal.SIGSTOP)
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(writer.call("name")))
        asking.start()
        said = f"kill -CONT {writer.pid}"
        until_s = time.monotonic() + 240
        while said not in caplog.text and time.monotonic() < until_s:
            time.sleep(0.05)
        assert said in caplog.text
        assert asking.is_alive()  # It may go on, and does.
        os.kill(writer.pid, signal.SIGCONT)
        asking.join(240)
        assert answers == ["writer"]


def test_errors_of_the_callback_are_those_of_the_session(tmp_path: Path) -> None:
    with ChildProcess(ImageWriter()) as writer:
        with pytest.raises(ConcertinoError, match="has no directory to write its frames to"):
            writer("start", {"uid": "a", "time": 0.0})
        with pytest.raises(AttributeError, match="nothing_like_this"):
            writer.call("nothing_like_this")


def test_what_cannot_be_handed_over_is_refused() -> None:
    with pytest.raises(ParameterError, match="Put functions that it is given into a module"):
        ChildProcess(FrameConsumer(lambda frame, stream, index: None))


def test_a_closed_process_says_so() -> None:
    writer = ChildProcess(ImageWriter())
    writer.close()
    writer.close()
    with pytest.raises(ConcertinoError, match="writer was closed; make a new one"):
        writer("start", {"uid": "a", "time": 0.0})


ABANDONING = """
import sys
from pathlib import Path
from concertino.callbacks import ChildProcess, ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.session import open_session

beamline = SimulatedBeamline(
    shape=(32, 48), frame_rate=100.0, subscriber_timeout_s=2.0
)
session = open_session(sys.argv[1], progress=False, catalog=False)
writer = ChildProcess(ImageWriter(bytes_per_file=100_000))
session.subscribe(writer)
print(writer.pid, flush=True)
session.RE(radiography(
    beamline.camera, beamline.beam, beamline.sample_stage, radio_position=0, flat_position=1,
    num_darks=2, num_flats=2, num_projections=5000,
))
"""


def test_the_death_of_the_session_leaves_no_orphan(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ABANDONING, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as session:
        assert session.stdout is not None
        pid = int(session.stdout.readline())
        folder = tmp_path / "scan_0001" / "projections"
        until(lambda: folder.exists() and len(list(folder.glob("*.tif"))) > 1)
        session.kill()
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or _is_zombie(pid))
    run = open_run("scan_0001", root=tmp_path)
    frames = run.frames("projections")
    assert 0 < len(frames) < 5000
    assert frames[len(frames) - 1].shape == SHAPE


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
