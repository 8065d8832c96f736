"""A camera behind a Tango server that gives no frames any more, or whose network is cut: who it is, where, in time, and beam off."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bluesky.utils import FailedStatus

from concertino import ConcertinoError
from concertino._tango_client import TangoClient
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, TangoCamera
from concertino.plans import continuous_tomography
from concertino.session import Session, open_session
from concertino.storage import open_run
from tests.plans.control_systems.relay import Relay
from tests.ports import free_port

pytestmark = pytest.mark.disturbed_by_load(
    "servers are processes; one that gives no sign of life within its time-out is given up"
)

#: The server of a camera that gives no frames while a file is there.
PROGRAM = """
import sys, threading, time
from pathlib import Path
from concertino.devices import SimulatedBeamline
from concertino.servers import serve_camera
from concertino.simulation import Faults

source, silent = SimulatedBeamline(shape=(8, 16)).camera.source, Path(sys.argv[2])

def look():
    while True:
        source.faults = Faults(slow_s=3600.0) if silent.exists() else Faults()
        time.sleep(0.01)

threading.Thread(target=look, daemon=True).start()
serve_camera(lambda: source, port=int(sys.argv[1]), host="127.0.0.1", stream_address="", lease_s=60.0, log=None)
"""
FRAME_S = 1.0
#: A server that does not answer for so long is lost, in s.
GONE_S = 6.0
#: What a busy computer takes longer, in s.
BUSY_S = 3.0


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 240
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@contextmanager
def served(tmp_path: Path) -> Iterator[tuple[Relay, Path]]:
    """Run the server; yield a network to it that can be cut, and the file that silences its camera."""
    silent, out, port = tmp_path / "silent", tmp_path / "out", free_port()
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", PROGRAM, str(port), str(silent)]
    relay = Relay(port)
    with (
        out.open("w") as written,
        subprocess.Popen(command, env=environment, stdout=written, stderr=written) as server,
    ):
        try:
            until(lambda: "Ready to accept request" in out.read_text())
            yield relay, silent
        finally:
            server.kill()
            relay.end()


def struck(
    session: Session, camera: TangoCamera, beamline: SimulatedBeamline, strike: Callable[[], Any], mend: Callable[[], Any]
) -> tuple[str, str, float]:  # fmt: skip
    """Run a scan; return its error, the reason in its stop document, and after how long the beam was off, in s."""
    times_s: list[float] = []

    def wait_and_strike() -> None:
        until(lambda: beamline.shutter.is_open and camera.num_exposed > 5)
        strike()
        times_s.append(time.monotonic())
        until(lambda: not beamline.shutter.is_open)
        times_s.append(time.monotonic())
        mend()

    person = threading.Thread(target=wait_and_strike)
    person.start()
    with pytest.raises((FailedStatus, ConcertinoError)) as failed:
        session.RE(
            continuous_tomography(
                camera, beamline.rotation, beamline.beam, beamline.sample_stage, radio_position=0, flat_position=1,
                num_projections=2000, order=["projections"],
            )
        )  # fmt: skip
    person.join()
    run = open_run(-1, session.directory)
    assert run.exit_status == "fail"
    error = failed.value.__cause__ if isinstance(failed.value, FailedStatus) else failed.value
    return str(error), str((run.stop or {})["reason"]), times_s[1] - times_s[0]


def test_a_camera_server_that_gives_no_frames_and_one_whose_network_is_cut(tmp_path: Path) -> None:
    beamline = SimulatedBeamline(shape=(8, 16))
    with (
        served(tmp_path) as (relay, silent),
        open_session(tmp_path / "data", progress=False, catalog=False) as session,
    ):
        session.subscribe(ImageWriter())
        address = f"127.0.0.1:{relay.port}"
        TangoClient(address, "camera").state()
        camera = TangoCamera(address, exposure=0.002, frame_rate=50.0, frame_timeout_s=FRAME_S)
        where = f"tango://{address}/concertino/camera/1#dbase=no"

        error, reason, after_s = struck(session, camera, beamline, silent.touch, silent.unlink)
        print(f"silent: beam off after {after_s:.1f} s: {error}")
        assert error.startswith(
            f"Camera camera ({where}) was to go on at its own pace and gave no frame for "
        )
        assert "Check that nothing but itself triggers it, its cable" in error
        assert error in reason
        assert after_s < FRAME_S + BUSY_S

        error, reason, after_s = struck(session, camera, beamline, relay.cut, relay.mend)
        print(f"cut: beam off after {after_s:.1f} s: {error}")
        assert error.startswith("Camera camera was lost after")
        assert f"The server at {where} has not answered for 6 s. See whether" in error
        assert (
            "'concertino tango camera' runs there and is not stopped, and the network to it."
            in error
        )
        assert error in reason
        assert after_s < GONE_S + BUSY_S
