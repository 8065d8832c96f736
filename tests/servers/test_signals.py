"""Signals to Tango servers in a run: the session's beam goes off, the server's record says why."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from bluesky.utils import FailedStatus

from concertino.callbacks.remote import RemoteImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import open_run

from .conftest import Start

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_a_writer_ends_the_run_on_both_sides(
    tmp_path: Path, start: Start, number: signal.Signals
) -> None:
    server = start("writer", "--directory", str(tmp_path / "there"))
    beamline = SimulatedBeamline(
        shape=(16, 24), exposure=0.0, frame_rate=100.0, stream_address="tcp://127.0.0.1:0"
    )
    frames = tmp_path / "there" / "scan_0001" / "projections"

    def send() -> None:
        deadline_s = time.monotonic() + 120
        while not list(frames.glob("frame_00002*.tif")) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        os.kill(server.process.pid, number)

    with open_session(tmp_path / "here", progress=False, catalog=False) as session:
        session.subscribe(RemoteImageWriter(server.address))
        threading.Thread(target=send).start()
        with pytest.raises(FailedStatus, match=f"the server was ended by {number.name}"):
            session.RE(
                radiography(
                    beamline.camera, beamline.beam, beamline.sample_stage, radio_position=0,
                    flat_position=1, num_darks=2, num_flats=2, num_projections=100_000,
                )
            )  # fmt: skip
        assert not beamline.shutter.is_open
    assert server.process.wait(60) == 0  # as Tango's servers end
    run = open_run("scan_0001", tmp_path / "there")
    assert run.stop is not None
    assert run.stop["exit_status"] != "success"
    assert run.stop["reason"] == f"the server was ended by {number.name}"
    assert len(run.frames("projections").read()) == len(list(frames.glob("*.tif"))) > 0
