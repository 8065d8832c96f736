"""A camera class of somebody else's, by entry point; two sessions; commands that take long; a frozen server."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.utils import FailedStatus

from concertino import ConcertinoError, ParameterError, SessionError
from concertino._tango_client import TangoClient
from concertino.callbacks import Accumulator
from concertino.callbacks.remote import RemoteImageWriter
from concertino.devices import SimulatedBeamline, TangoCamera
from concertino.frames import FrameRequest
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import open_run

from .conftest import PROGRAM, Start

pytestmark = pytest.mark.disturbed_by_load(
    "servers are processes; one that gives no sign of life within its time-out is given up"
)

CLOCK = '''
import threading, time
import numpy as np
from concertino.devices import Grab

class ClockSource:
    """Frames that hold their number; the first preparation takes longer than a Tango call may."""

    def __init__(self):
        self.shape, self.dtype, self.pixel_size_um = (8, 16), np.dtype(np.uint16), 5.0
        self._stopped = threading.Event()
        self._slow = True

    def prepare(self, request, settings):
        if self._slow:
            time.sleep(4.5)
        self._slow = False

    def start(self):
        self._number = 0
        self._stopped.clear()

    def grab(self, out):
        if self._stopped.wait(0.002):
            return Grab(np.empty(0, np.int64), np.empty(0, np.int64))
        out[0] = self._number
        number, self._number = self._number, self._number + 1
        return Grab(np.array([time.time_ns()]), np.array([number]))

    def trigger(self):
        pass

    def stop(self):
        self._stopped.set()
'''


def images(camera: Any, beamline: SimulatedBeamline, frames: int) -> Any:
    return radiography(
        camera, beamline.beam, beamline.sample_stage, radio_position=0, flat_position=1,
        num_darks=2, num_flats=2, num_projections=frames,
    )  # fmt: skip


def test_a_camera_class_by_entry_point_with_a_command_that_takes_long(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "clock_camera.py").write_text(CLOCK)
    about = package / "clock_camera-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: clock-camera\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[concertino.cameras]\nclock = clock_camera:ClockSource\n"
    )
    monkeypatch.syspath_prepend(package)
    server = start("camera", "--source", "clock")
    beamline, kept = SimulatedBeamline(shape=(8, 8)), Accumulator()
    first, second = TangoCamera(server.address), TangoCamera(server.address, name="second")
    assert first.frame_shape == (8, 16)
    with open_session(tmp_path / "session", progress=False, catalog=False) as session:
        session.subscribe(kept)
        session.RE(images(first, beamline, 50))
        numbers = kept.frames("projections")[:, 0, 0]
        np.testing.assert_array_equal(numbers, np.arange(50))

        # While one session has it prepared, another is refused, and told who has it.
        session.RE(bps.prepare(first, FrameRequest(3), wait=True))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "tango", "status", f"camera={server.address}"],
            capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        assert f"process {os.getpid()}" in done.stdout
        with pytest.raises(FailedStatus) as caught:
            session.RE(bps.prepare(second, FrameRequest(3), wait=True))
        assert isinstance(caught.value.__cause__, SessionError)
        assert f"process {os.getpid()}" in str(caught.value.__cause__)
        session.RE(bps.unstage(first, wait=True))
        session.RE(bps.prepare(second, FrameRequest(3), wait=True))
        session.RE(bps.unstage(second, wait=True))


def test_a_camera_class_that_is_not_there_is_named(tmp_path: Path) -> None:
    from concertino.cli._tango_command import source_maker

    with pytest.raises(ParameterError, match="'cloc' is neither a file nor one of simulated"):
        source_maker("cloc", "16x16")


def test_a_frozen_writer_ends_the_run_with_the_beam_off(tmp_path: Path, start: Start) -> None:
    server = start("writer", "-d", str(tmp_path / "writer"))
    beamline = SimulatedBeamline(
        shape=(16, 24), exposure=0.001, frame_rate=100.0, subscriber_timeout_s=2.0
    )
    folder = tmp_path / "writer" / "scan_0001" / "projections"
    frozen_s: list[float] = []

    def freeze(name: str, document: Any) -> None:
        if name == "stream_datum" and folder.exists() and not frozen_s:
            frozen_s.append(time.monotonic())
            os.kill(server.pid, signal.SIGSTOP)

    with open_session(tmp_path / "session", progress=False, catalog=False) as session:
        writer = RemoteImageWriter(server.address)
        session.subscribe(writer)
        session.subscribe(freeze)
        try:
            with pytest.raises((FailedStatus, ConcertinoError)):
                session.RE(images(beamline.camera, beamline, 100_000))
            assert time.monotonic() - frozen_s[0] < 60
            assert not beamline.shutter.is_open
        finally:
            os.kill(server.pid, signal.SIGCONT)
        run = open_run("scan_0001", session.directory)
        assert run.exit_status == "fail"
        assert "writer" in run.reason


def test_aborting_the_session_ends_the_run_at_the_servers(tmp_path: Path, start: Start) -> None:
    server = start("writer", "-d", str(tmp_path / "writer"))
    beamline = SimulatedBeamline(shape=(16, 24), exposure=0.001, frame_rate=100.0)
    folder = tmp_path / "writer" / "scan_0001" / "projections"
    with open_session(tmp_path / "session", progress=False, catalog=False) as session:
        session.subscribe(RemoteImageWriter(server.address))
        stopped: list[Any] = []

        def stop(name: str, document: Any) -> None:
            if name == "stream_datum" and folder.exists() and not stopped:
                stopped.append(True)
                threading.Thread(target=session.RE.abort, args=("enough",)).start()

        session.subscribe(stop)
        with pytest.raises(Exception):  # noqa: B017, PT011
            session.RE(images(beamline.camera, beamline, 100_000))
        assert not beamline.shutter.is_open
    client = TangoClient(server.address, "writer")
    deadline_s = time.monotonic() + 240
    while client.state() != "STANDBY" or client.attribute("session"):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    stored = open_run("scan_0001", tmp_path / "writer")
    assert stored.exit_status == "abort"
    assert "enough" in stored.reason
    assert stored.frames("projections").unreadable() == ()
