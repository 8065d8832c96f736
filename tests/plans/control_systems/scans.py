"""Plans with motors of a control system, run as a program: ``python scans.py KIND DIRECTORY TARGET``.

KIND is ``classic`` (ophyd), ``async`` (ophyd-async) or ``tango``; TARGET the prefix of the records, or the port of the
Tango server. Of each line of the standard input, ``[plan, {parameter: value}]``, it runs the plan with small frames, and
prints what came of it as a line of JSON.
"""

import json
import os
import sys
import time
from typing import Any

import concertino.plans as plans

# isort: split
# Bluesky after Concertino, or it takes five seconds more where there is Jupyter.
from bluesky.utils import MsgGenerator

from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.session import open_session
from concertino.storage import open_run, run_angles

KIND, DIRECTORY, TARGET = sys.argv[1:4]
POSITIONS = {"radio_position": 0, "flat_position": 5, "num_darks": 1, "num_flats": 1}


def classic() -> dict[str, Any]:
    from ophyd import EpicsMotor, EpicsSignal

    made = {name: EpicsMotor(TARGET + name, name=name) for name in ("rot", "stage", "stuck")}
    made["shutter"] = EpicsSignal(TARGET + "shutter", name="shutter")
    for device in made.values():
        device.wait_for_connection(timeout=60)
    return made


def asynchronous() -> dict[str, Any]:
    from ophyd_async.core import StrictEnum, init_devices
    from ophyd_async.epics.core import epics_signal_rw
    from ophyd_async.epics.motor import Motor

    from concertino.devices import BeamSwitch

    class Switch(StrictEnum):
        CLOSE = "Close"
        OPEN = "Open"

    with init_devices(timeout=60):
        rot, stage, stuck = (Motor(TARGET + name, name=name) for name in ("rot", "stage", "stuck"))
        shutter = epics_signal_rw(Switch, TARGET + "shutter", name="shutter")
    beam = BeamSwitch(shutter, on=Switch.OPEN, off=Switch.CLOSE)
    return {"rot": rot, "stage": stage, "stuck": stuck, "shutter": beam}


def tango() -> dict[str, Any]:
    from typing import Annotated

    from ophyd_async.core import (
        SignalR,
        SignalRW,
        StandardReadable,
        StandardReadableFormat,
        init_devices,
    )
    from ophyd_async.tango.core import TangoDevice, TangoPolling
    from ophyd_async.tango.demo import DemoMotor

    class Motor(DemoMotor):
        acceleration_time: Annotated[
            SignalR[float], TangoPolling(0.1), StandardReadableFormat.CONFIG_SIGNAL
        ]

    class Shutter(TangoDevice, StandardReadable):
        opened: Annotated[SignalRW[bool], TangoPolling(0.1), StandardReadableFormat.HINTED_SIGNAL]

    with init_devices(timeout=60):
        rot = Motor(f"tango://127.0.0.1:{TARGET}/t/motor/rot#dbase=no", name="rot")
        shutter = Shutter(f"tango://127.0.0.1:{TARGET}/t/switch/shutter#dbase=no", name="shutter")
    return {"rot": rot, "shutter": shutter.opened}


def main() -> None:
    b = SimulatedBeamline(shape=(8, 16), exposure=0.002, frame_rate=50)
    messages: list[str] = []
    with open_session(DIRECTORY, progress=False, catalog=False) as session:
        devices = {"classic": classic, "async": asynchronous, "tango": tango}[KIND]()
        devices.setdefault("stage", b.sample_stage)
        session.subscribe(ImageWriter())
        session.RE.msg_hook = lambda message: messages.append(message.command)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            messages.clear()
            name, given = json.loads(line)
            print(json.dumps(outcome(session, b, devices, name, given, messages)), flush=True)


def outcome(
    session: Any,
    b: Any,
    devices: dict[str, Any],
    name: str,
    given: dict[str, Any],
    messages: list[str],
) -> dict[str, Any]:
    rate = given.pop("frame_rate", 50)
    parts = [devices[given.pop(part, part)] for part in ("rot", "shutter", "stage")]
    found: dict[str, Any] = {"error": "", "began_s": time.time()}

    def plan() -> MsgGenerator[Any]:
        rotation, beam, stage = parts
        yield from plans_set(b.camera.frame_rate, rate)
        own = (rotation,) if name != "radiography" else ()
        yield from getattr(plans, name)(b.camera, *own, beam, stage, **{**POSITIONS, **given})

    try:
        session.RE(plan())
    except Exception as error:
        cause = error.__cause__ if type(error).__name__ == "FailedStatus" else None
        found["error"] = f"{type(error).__name__}: {cause or error}"
    found["moved"] = "open_run" in messages
    if found["moved"]:
        run = open_run(-1, DIRECTORY)
        found["exit_status"] = run.exit_status
        found["reason"] = (run.stop or {}).get("reason", "")
        if name != "radiography" and run.exit_status == "success":
            found["angles"] = run_angles(run).angles_deg.tolist()
            found["uncertainty"] = run_angles(run).uncertainty_deg.tolist()
            index = run.frames("projections").index
            found["middles_s"] = [int(ns) * 1e-9 for ns in index["timestamp_ns"]]
    return found


def plans_set(signal: Any, value: float) -> MsgGenerator[None]:
    import bluesky.plan_stubs as bps

    yield from bps.mv(signal, value)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # The clients of Channel Access complain of what is closed in which order.
