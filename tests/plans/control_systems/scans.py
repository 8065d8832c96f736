"""Plans with motors of a control system, run as a program: ``python scans.py KIND DIRECTORY TARGET SHUTTER``.

KIND is ``classic`` (ophyd), ``async`` (ophyd-async) or ``tango``; TARGET the prefix of the records, or the port of the
Tango server; SHUTTER the prefix of the record of the shutter, or the port of its server. With ``tango`` there are also motor
and shutter as of ophyd-async alone, ``plain_rot`` and ``plain_shutter``; always a stage of the simulation, ``simulated``. Of each line of the standard input, ``[plan, {parameter: value}]``, it runs the plan with small frames, and
prints what came of it as a line of JSON.
"""

import json
import os
import sys
import threading
import time
from functools import partial
from typing import Any

import concertino.plans as plans

# isort: split
# Bluesky after Concertino, or it takes five seconds more where there is Jupyter.
from bluesky.utils import MsgGenerator, RunEngineInterrupted

from concertino.callbacks import ImageWriter
from concertino.devices import SignalBeam, SimulatedBeamline
from concertino.session import open_session
from concertino.storage import open_run, run_angles

KIND, DIRECTORY, TARGET, SHUTTER = sys.argv[1:5]
PATIENCE_S = float(os.environ.get("SHUTTER_PATIENCE_S", "10"))
MOTORS = ("rot", "plays", "stage", "stuck")
#: Deadlines for as long as there is beam, and after that.
SHORTER: dict[str, float] = {}
SIGNALS = ("shutter", "pss:open", "pss:close", "pss:status", "pressure")
POSITIONS = {"radio_position": 0, "flat_position": 5, "num_darks": 1, "num_flats": 1}


def classic() -> dict[str, Any]:
    from ophyd import EpicsMotor, EpicsSignal

    made: dict[str, Any] = {name: EpicsMotor(TARGET + name, name=name) for name in MOTORS}
    made |= {name: EpicsSignal(TARGET + name, name=name) for name in SIGNALS[1:]}
    made["shutter"] = EpicsSignal(SHUTTER + "shutter", name="shutter")
    for device in made.values():
        device.wait_for_connection(timeout=60)
    shutter = made["shutter"]
    checked = SignalBeam(
        shutter, on=1, off=0, readback=shutter, reads_on="Open", reads_off="Close", name="checked"
    )
    return made | {"checked": checked, "pss": pss(made)}


def asynchronous() -> dict[str, Any]:
    from ophyd_async.core import StrictEnum, init_devices
    from ophyd_async.epics.core import epics_signal_rw
    from ophyd_async.epics.motor import Motor

    class Switch(StrictEnum):
        CLOSE = "Close"
        OPEN = "Open"

    with init_devices(timeout=60):
        rot, plays, stage, stuck = (Motor(TARGET + name, name=name) for name in MOTORS)
        opens, closes, status = (epics_signal_rw(int, TARGET + name) for name in SIGNALS[1:4])
        pressure = epics_signal_rw(float, TARGET + "pressure")
        shutter = epics_signal_rw(Switch, SHUTTER + "shutter", timeout=PATIENCE_S, name="shutter")
    beam = SignalBeam(shutter, on=Switch.OPEN, off=Switch.CLOSE)
    checked = SignalBeam(
        shutter, on=Switch.OPEN, off=Switch.CLOSE, readback=shutter, name="checked"
    )
    motors = dict(zip(MOTORS, (rot, plays, stage, stuck), strict=True))
    signals = dict(zip(SIGNALS[1:], (opens, closes, status, pressure), strict=True))
    made: dict[str, Any] = motors | signals
    return made | {"shutter": beam, "checked": checked, "pss": pss(made)}


def pss(made: dict[str, Any]) -> SignalBeam:
    """Return a shutter with a command for each way, and two bits that tell."""
    return SignalBeam(
        made["pss:open"], on=1, off_signal=made["pss:close"], off=1, readback=made["pss:status"],
        reads_on=0b01, reads_off=0b10, mask=0b11, timeout_s=2.0, name="pss",
    )  # fmt: skip


def tango() -> dict[str, Any]:
    from ophyd_async.core import init_devices
    from ophyd_async.tango.core import tango_signal_rw
    from ophyd_async.tango.demo import DemoMotor

    from concertino.devices import TangoMotor, TangoShutter

    motor, switch = f"127.0.0.1:{TARGET}/t/motor/rot", f"127.0.0.1:{SHUTTER}/t/switch/shutter"
    with init_devices(timeout=60):
        rot = TangoMotor(f"tango://{motor}#dbase=no", name="rot")
        shutter = TangoShutter(f"tango://{switch}#dbase=no", name="shutter")
        plain_rot = DemoMotor(f"tango://{motor}#dbase=no", name="plain_rot")
        opened = tango_signal_rw(bool, f"tango://{switch}/opened#dbase=no", name="plain_shutter")
    beam = SignalBeam(opened, on=True, off=False, readback=opened, timeout_s=2.0)
    return {"rot": rot, "shutter": shutter, "plain_rot": plain_rot, "plain_shutter": beam}


def main() -> None:
    b = SimulatedBeamline(shape=(8, 16), exposure=0.002, frame_rate=50)
    messages: list[str] = []
    with open_session(DIRECTORY, progress=False, catalog=False) as session:
        devices = {"classic": classic, "async": asynchronous, "tango": tango}[KIND]()
        devices.setdefault("stage", b.sample_stage)
        devices["simulated"] = b.sample_stage
        session.subscribe(ImageWriter())
        session.RE.msg_hook = partial(hear, messages)
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
    limits = plans.set_deadlines(plans.Deadlines(**given.pop("deadlines", {})))
    SHORTER.update(given.pop("shorter", {}))
    interlock = None
    if given.pop("interlock", False):
        interlock = plans.Interlock(devices["pressure"], high=1e-5)
        session.RE.install_suspender(interlock)
    if button := given.pop("stop_all", None):
        threading.Thread(target=press, args=(session.RE, devices, messages, button)).start()
    parts = [devices[given.pop(part, part)] for part in ("rot", "shutter", "stage")]
    found: dict[str, Any] = {"error": "", "began_s": time.time()}

    def plan() -> MsgGenerator[Any]:
        rotation, beam, stage = parts
        yield from plans_set(b.camera.frame_rate, rate)
        own = (rotation,) if name != "radiography" else ()
        yield from getattr(plans, name)(b.camera, *own, beam, stage, **{**POSITIONS, **given})

    try:
        session.RE(plan())
    except RunEngineInterrupted:
        found["error"] = "interrupted"
    except Exception as error:
        cause = error.__cause__ if type(error).__name__ == "FailedStatus" else None
        found["error"] = f"{type(error).__name__}: {cause or error}"
    found["ended_s"] = time.time()
    plans.set_deadlines(limits)
    SHORTER.clear()
    if interlock is not None:
        session.RE.remove_suspender(interlock)
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


def hear(messages: list[str], message: Any) -> None:
    """Note a message; from when the beam is switched on shorter deadlines hold, if there are some."""
    messages.append(message.command)
    if SHORTER and message.command == "set" and message.args[0] is True:
        plans.set_deadlines(plans.Deadlines(**SHORTER))


def press(engine: Any, devices: dict[str, Any], messages: list[str], reason: str) -> None:
    """Stop everything while the rotation turns, as a button of a window does."""
    while "kickoff" not in messages:
        time.sleep(0.01)
    plans.stop_all(engine, devices["shutter"], [devices["rot"], devices["stage"]], reason=reason)


def plans_set(signal: Any, value: float) -> MsgGenerator[None]:
    import bluesky.plan_stubs as bps

    yield from bps.mv(signal, value)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # The clients of Channel Access complain of what is closed in which order.
