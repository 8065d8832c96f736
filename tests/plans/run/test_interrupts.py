"""What Ctrl-C does to a scan in a process of its own, told by the beam's own log."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from concertino.storage import open_run

pytestmark = pytest.mark.disturbed_by_load(
    "Ctrl-C comes a third of a second after another, and finds the scan there or not"
)

SCAN = """
import sys
import concertino  # before bluesky, which imports what takes seconds where there is Jupyter
from bluesky import RunEngine
from ophyd_async.core import AsyncStatus
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, SimulatedShutter
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.storage import Recorder, RunDirectories

class LoggedShutter(SimulatedShutter):
    @AsyncStatus.wrap
    async def set(self, value):
        await super().set(value)
        with open(sys.argv[1] + "/beam.log", "a") as log:
            log.write(f"{value}\\n")

b = SimulatedBeamline(shape=(16, 16), exposure=0.0, frame_rate=100.0)
beam = LoggedShutter(name="shutter")
directories = RunDirectories(sys.argv[1])
RE = RunEngine({})
RE.subscribe(Recorder(directories))
RE.subscribe(ImageWriter())
given = dict(radio_position=0, flat_position=1, num_darks=2, num_flats=2, num_projections=100000)
given["md"] = directories.new().metadata()
plan = {"radiography": lambda: radiography(b.camera, beam, b.sample_stage, **given),
        "step": lambda: step_tomography(b.camera, b.rotation, beam, b.sample_stage, **given),
        "continuous": lambda: continuous_tomography(b.camera, b.rotation, beam, b.sample_stage,
                                                    **given)}[sys.argv[2]]
try:
    RE(plan())
finally:
    print("moving", b.rotation.position_at(1e12) != b.rotation.position_at(__import__("time").time()))
    print("state", RE.state)
"""


def wait_for_frames(directory: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 240
    while not list(directory.glob("scan_0001/projections/frame_00001*.tif")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("plan", ["step", "continuous"])
def test_ctrl_c_twice_switches_the_beam_off_and_ends_the_run(tmp_path: Path, plan: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCAN, str(tmp_path), plan],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_frames(tmp_path, process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None  # The first one asks for a pause at a checkpoint.
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=240)
    finally:
        process.kill()
    assert "RunEngineInterrupted" in complaint
    assert "moving False" in said
    assert "state idle" in said
    assert (tmp_path / "beam.log").read_text().split()[-2:] == ["True", "False"]
    run = open_run(tmp_path / "scan_0001")
    assert run.exit_status == "abort"
    assert run.reason == "interrupted: a pause would have taken frames twice"
    frames = run.frames("projections").read()
    (safe,) = {row["acknowledged"] for row in run.ledger() if row["stream"] == "projections"}
    assert len(frames) >= 10
    assert len(frames) in ((safe, safe - 1) if plan == "step" else (safe,))
