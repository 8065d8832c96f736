"""Scans of a twin, run as a program: ``python twin_scans.py DIRECTORY TRUTH TANGO_PORT``.

Of each line of the standard input, ``[motors, frames, plan, {parameter: value}]``, it runs the plan and prints what came of
it as a line of JSON. `motors` is where motors and shutter are: ``process``, ``epics``, ``pva`` or ``tango``; `frames` how the frames come:
``process``, ``pva``, or ``stream`` (ours, from the twin's Tango camera).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import concertino.plans as plans

# isort: split
import bluesky.plan_stubs as bps
from bluesky.utils import FailedStatus, MsgGenerator
from ophyd_async.core import StrictEnum, init_devices
from ophyd_async.epics.core import epics_signal_rw
from ophyd_async.epics.motor import Motor

from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import (
    AreaDetectorCamera,
    SignalBeam,
    SimulatedBeamline,
    TangoCamera,
    TangoMotor,
    TangoShutter,
)
from concertino.reconstruction import ReconstructionSettings
from concertino.session import open_session
from concertino.storage import open_run, run_angles

DIRECTORY, TRUTH, PORT = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
PREFIXES = {"epics": "TWIN:", "pva": "pva://TWINPVA:"}
MOTORS = ("rotation", "sample_stage", "vertical_stage")
SETTINGS = ReconstructionSettings(slices=(12, 16, 20), center=31.5 + 0.02 * 64)
MIDDLE_S = 1e-5
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
        self.beamline = SimulatedBeamline(
            shape=(32, 64), exposure=0.002, frame_rate=25, noise=False
        )
        self._made: dict[str, Any] = {}

    def camera(self, frames: str) -> Any:
        if frames == "process":
            return self.beamline.camera
        kept = f"frames by {frames}"
        if kept not in self._made:
            self._made[kept] = (
                AreaDetectorCamera("TWIN:", exposure=0.002, frame_rate=25, pixel_size_um=5.0)
                if frames == "pva"
                else TangoCamera(PLACE.format("camera/1"), exposure=0.002, frame_rate=25)
            )
        return self._made[kept]

    def moved(self, motors: str) -> tuple[Any, ...]:
        """Return rotation, beam, sample stage and vertical stage."""
        b = self.beamline
        if motors == "process":
            return b.rotation, b.beam, b.sample_stage, b.vertical_stage
        if motors not in self._made:
            # Devices in names of their own: those are what is connected.
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


def scan(devices: Devices, motors: str, camera: Any, plan: str, given: dict[str, Any]) -> Any:
    rotation, beam, stage, vertical = devices.moved(motors)
    spiral = (vertical,) if "spiral" in plan else ()

    def prepared() -> MsgGenerator[Any]:
        # Wherever the last scan was made, and by which way: the ramps are the same.
        yield from bps.mv(rotation.velocity, 180.0)
        yield from bps.mv(rotation.acceleration_time, 0.05)
        yield from bps.mv(rotation, 0.0)
        yield from getattr(plans, plan)(camera, rotation, *spiral, beam, stage, **given)

    return prepared()


def outcome(
    session: Any, devices: Devices, motors: str, frames: str, plan: str, given: dict[str, Any]
) -> dict[str, Any]:
    camera = devices.camera(frames)
    reconstruction = OnlineReconstruction(SETTINGS)
    token = session.subscribe(reconstruction)
    try:
        session.RE(scan(devices, motors, camera, plan, given))
    except FailedStatus as error:
        return {"error": str(error.__cause__ or error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        session.unsubscribe(token)
    run = open_run(-1, DIRECTORY)
    file = DIRECTORY / f"{motors}-{frames}-{plan}.npy"
    if "spiral" not in plan:
        np.save(file, reconstruction.wait().volume)
    times_s = np.array(run.frames("projections").index["timestamp_ns"]) * 1e-9
    found = {
        "error": "",
        "status": run.exit_status,
        "angles": run_angles(run).angles_deg.tolist(),
        "volume": str(file),
        "counts": {name: run.frames(name).shape[0] for name in ("darks", "flats", "projections")},
    }
    if frames != "process":
        noted = [json.loads(line) for line in TRUTH.read_text().splitlines()]
        middles_s = np.array([(one["begin_s"] + one["end_s"]) / 2 for one in noted])
        index = [int(np.argmin(np.abs(middles_s - one))) for one in times_s]
        assert np.abs(middles_s[index] - times_s).max() < MIDDLE_S
        found["truth"] = [float(np.mean(noted[one]["angle_deg"])) for one in index]
    return found


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
