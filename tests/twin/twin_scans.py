"""Scans of a twin, run as a program: ``python twin_scans.py DIRECTORY TRUTH TANGO_PORT``.

Of each line of the standard input, ``[motors, frames, plan, {parameter: value}]``, it runs the plan and prints what came of
it as a line of JSON. `motors` is where motors and shutter are: ``process``, ``epics``, ``pva`` or ``tango``; `frames` how the frames
come: ``stream`` (ours), ``pva`` (NTNDArray) or ``file`` (the detector's own HDF5 file). With motors in this process the twin is, too,
and its camera's records and frames are served by PV Access from here.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import concertino.plans as plans

# isort: split
import bluesky.plan_stubs as bps
from bluesky.utils import FailedStatus, MsgGenerator
from ophyd_async.core import StaticPathProvider, StrictEnum, UUIDFilenameProvider, init_devices
from ophyd_async.epics.adcore import ADWriterFactory
from ophyd_async.epics.adsimdetector import SimDetector
from ophyd_async.epics.core import epics_signal_rw
from ophyd_async.epics.motor import Motor

from concertino.callbacks import ImageWriter
from concertino.devices import (
    AreaDetectorCamera,
    Camera,
    DetectorCamera,
    SignalBeam,
    SimulatedBeamline,
    TangoCamera,
    TangoMotor,
    TangoShutter,
)
from concertino.session import open_session
from concertino.storage import Run, open_run, run_angles, run_heights
from concertino.twin._host import TwinHost
from concertino.twin._pv_access import ImagePV, pva_server, search_port
from tests.twin.twin_answers import Seen, answer, expected

DIRECTORY, TRUTH, PORT = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
OWN_TRUTH = TRUTH.with_name("own_truth.jsonl")
PREFIXES = {"epics": "TWIN:", "pva": "pva://TWINPVA:"}
OWN_PREFIX = "TWINOWN:"
MOTORS = ("rotation", "sample_stage", "vertical_stage")
EXPOSURE: dict[str, Any] = {"exposure": 0.002, "frame_rate": 25}
MIDDLE_S = 1e-5
NAMES = ("darks", "flats", "projections")
#: Of EPICS' times.
EPOCH_S = 631_152_000
PLACE = f"tango://127.0.0.1:{PORT}/twin/{{}}#dbase=no"


class Position(StrictEnum):
    CLOSE = "Close"
    OPEN = "Open"


def axis(motors: str, name: str) -> Any:
    if motors == "tango":
        return TangoMotor(PLACE.format(f"motor/{name}"), name=name)
    return Motor(PREFIXES[motors] + name, name=name)


class Devices:
    """The parts of the beamline by all ways, each made when it is asked for."""

    def __init__(self) -> None:
        self.beamline = SimulatedBeamline(shape=(32, 64), noise=False)
        self.host = TwinHost(self.beamline, truth=OWN_TRUTH)
        self.host.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self.host.loop).result(60)
        self._made: dict[str, Any] = {}

    async def _serve(self) -> None:
        records, driver = self.host.records()
        image = ImagePV()
        driver.images.append(image.post)
        server = pva_server({OWN_PREFIX: records}, image)
        self.host.kept = [server, driver]
        os.environ["EPICS_PVA_ADDR_LIST"] += f" 127.0.0.1:{search_port(server)}"

    def camera(self, motors: str, frames: str) -> Any:
        own = motors == "process"
        kept = f"frames by {frames}, own {own}"
        if kept not in self._made:
            self._made[kept] = self._camera(own, frames)
        return self._made[kept]

    def _camera(self, own: bool, frames: str) -> Any:
        if frames == "stream":
            if own:
                return Camera(self.host.source(), **EXPOSURE)
            return TangoCamera(PLACE.format("camera/1"), **EXPOSURE)
        prefix = OWN_PREFIX if own else "TWIN:"
        if frames == "file":
            return _own_files(f"pva://{prefix}" if own else prefix)
        return AreaDetectorCamera(
            prefix, control="pva" if own else "ca", pixel_size_um=5.0, **EXPOSURE
        )

    def moved(self, motors: str) -> tuple[Any, ...]:
        """Return rotation, beam, sample stage and vertical stage."""
        b = self.beamline
        if motors == "process":
            return b.rotation, b.beam, b.sample_stage, b.vertical_stage
        if motors not in self._made:
            # Devices in NAMES of their own: those are what is connected.
            with init_devices(timeout=60):
                rotation, stage, vertical = (axis(motors, name) for name in MOTORS)
                shutter = (
                    TangoShutter(PLACE.format("shutter/1"), name="shutter")
                    if motors == "tango"
                    else epics_signal_rw(Position, PREFIXES[motors] + "shutter", name="shutter")
                )
            beam: Any = shutter
            if motors != "tango":
                beam = SignalBeam(shutter, on=Position.OPEN, off=Position.CLOSE)
            self._made[motors] = rotation, beam, stage, vertical
        found: tuple[Any, ...] = self._made[motors]
        return found


def _own_files(prefix: str) -> DetectorCamera:
    """Return the twin's camera as a detector of ophyd-async whose HDF5 files are the data."""
    files = DIRECTORY.with_name("files")
    files.mkdir(exist_ok=True)
    with init_devices(timeout=60):
        paths = StaticPathProvider(UUIDFilenameProvider(), files)
        detector = SimDetector(prefix, ADWriterFactory.hdf(paths), name="det")
    return DetectorCamera(detector, pixel_size_um=5.0, **EXPOSURE)


def scan(devices: Devices, motors: str, camera: Any, plan: str, given: dict[str, Any]) -> Any:
    rotation, beam, stage, vertical = devices.moved(motors)
    spiral = (vertical,) if "spiral" in plan else ()

    def prepared() -> MsgGenerator[Any]:
        # Wherever the last scan was made, and by which way: the ramps and the heights are the same.
        yield from bps.mv(rotation.velocity, 360.0, rotation.acceleration_time, 0.3)
        yield from bps.mv(rotation, 0.0, vertical, 0.0)
        yield from getattr(plans, plan)(camera, rotation, *spiral, beam, stage, **given)

    return prepared()


def outcome(
    session: Any, devices: Devices, motors: str, frames: str, plan: str, given: dict[str, Any]
) -> dict[str, Any]:
    try:
        session.RE(scan(devices, motors, devices.camera(motors, frames), plan, given))
    except FailedStatus as error:
        return {"error": str(error.__cause__ or error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    run = open_run(-1, DIRECTORY)
    try:
        truth = OWN_TRUTH if motors == "process" else TRUTH
        return {"error": "", "status": run.exit_status, **found(devices, run, plan, truth)}
    finally:
        run.close()


def found(devices: Devices, run: Run, plan: str, truth: Path) -> dict[str, Any]:
    """Compare a run with what was true at its exposures."""
    noted = [json.loads(line) for line in truth.read_text().splitlines()]
    spiral = "spiral" in plan
    at = {name: _noted(run, name, noted) for name in NAMES}
    angles = run_angles(run)
    true_deg = np.array([np.mean(one["angle_deg"]) for one in at["projections"]])
    heights = run_heights(run) if spiral else np.zeros(len(true_deg))
    true_mm = np.array([one["offset_mm"][1] for one in at["projections"]])
    twin = devices.beamline.twin
    darks, flats, frames = (run.frames(name).read().astype(float) for name in NAMES)
    ours = answer(twin, Seen(darks, flats, frames, angles.angles_deg, heights), spiral)
    theirs = answer(twin, expected(twin, at, EXPOSURE["exposure"], true_deg, true_mm), spiral)
    return {
        "angles": angles.angles_deg.tolist(),
        "truth": true_deg.tolist(),
        "heights_um": float(np.abs(heights - true_mm).max() * 1000) if spiral else 0.0,
        "ledger": [
            [row[key] for key in ("stream", "triggered", "exposed", "frames", "acknowledged", "dropped")]
            for row in run.ledger()
        ],
        "counts": {name: run.frames(name).shape[0] for name in NAMES},
        "apart": float(np.sqrt(np.mean((ours.slices - theirs.slices) ** 2)) / np.ptp(theirs.slices)),
        "from_phantom": float(
            np.sqrt(np.mean((ours.slices - ours.phantom) ** 2)) / np.ptp(ours.phantom)
        ),
    }  # fmt: skip


def _noted(run: Run, name: str, noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was true at each frame of a stream."""
    times_s = np.array(run.frames(name).index["timestamp_ns"]) * 1e-9
    if (times_s <= 0).any():  # They are in the detector's own file only.
        times_s = _stamped_s(NAMES.index(name))
    middles_s = np.array([(one["begin_s"] + one["end_s"]) / 2 for one in noted])
    index = [int(np.argmin(np.abs(middles_s - one))) for one in times_s]
    apart_s = np.abs(middles_s[index] - times_s).max()
    assert apart_s < MIDDLE_S, f"{name} are {apart_s} s from the exposures"
    return [noted[one] for one in index]


def _stamped_s(stream: int) -> Any:
    """Return the middles of the exposures in the detector's own file of one of the last scan's streams, in s since the epoch."""
    paths = sorted(DIRECTORY.with_name("files").glob("*.h5"), key=lambda path: path.stat().st_ctime)
    with h5py.File(paths[stream - len(NAMES)]) as file:
        kept = file["entry/instrument/NDAttributes"]
        seconds = kept["NDArrayEpicsTSSec"][:] + kept["NDArrayEpicsTSnSec"][:] * 1e-9
    return seconds + EPOCH_S - EXPOSURE["exposure"] / 2


def main() -> None:
    devices = Devices()
    with open_session(DIRECTORY, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            motors, frames, plan, given = json.loads(line)
            print(json.dumps(outcome(session, devices, motors, frames, plan, given)), flush=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # The clients of Channel Access complain of what is closed in which order.
