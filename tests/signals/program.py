"""The programs that signals are sent to, forked from this one.

They are what a user would run. Their simulated beam and motors write what they are told, and what they do, to files
that outlive the process.
"""

import hashlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from concertino import devices, units
from concertino.callbacks import ChildProcess, ImageWriter
from concertino.cli import main
from concertino.devices import SimulatedBeamline, _beam
from concertino.devices.simulated import _motor, _trajectory
from concertino.plans import continuous_tomography
from concertino.runtime._ending import open_sessions
from concertino.session import open_session
from tests.forked_programs import serve

# What a session and its first run import, of which some is slow. Not ophyd, whose forks do not end.
sys.modules["ophyd"] = None  # type: ignore[assignment]
for _name in (
    "awkward", "sparse", "networkx", "pyarrow", "numba", "lark", "scipy.ndimage",
    "bluesky_queueserver.manager.start_manager",
):  # fmt: skip
    with suppress(ImportError):
        importlib.import_module(_name)

# What the first run of a process reads and loads: the units, and the compiled code of the simulated camera.
_ = units.ureg
SimulatedBeamline(shape=(16, 16)).twin.warm_up()

COUNTS: dict[str, Any] = {"num_darks": 30, "num_flats": 30}
BEAMLINE: dict[str, Any] = {"shape": (16, 16), "exposure": 0.0, "frame_rate": 100.0}
WAIT_S = 240.0
#: Of the sample stage, so that a signal can come while it moves; in mm/s.
SLOW = 2.0


def log_devices(directory: Path, shutter_s: float) -> None:
    """Have simulated beams and motors write what they do, and be as slow as real ones."""

    def appended(name: str) -> Any:
        file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return lambda *said: os.write(file, (json.dumps(said) + "\n").encode())

    beam, motors = appended("beam.log"), appended("motors.log")
    note, turn = _beam._History.note, _beam._Orders.turn
    append, begin = _trajectory.Trajectory.append, _motor.SimulatedMotor.__init__
    shutter = _beam.SimulatedShutter.__init__

    def noted(history: Any, on: bool) -> None:
        note(history, on)
        beam("is", on)

    def turned(orders: Any, device: str, on: bool, *more: Any) -> Any:
        beam("told", on)
        return turn(orders, device, on, *more)

    def appended_move(trajectory: Any, move: Any) -> None:
        append(trajectory, move)
        motors(
            id(trajectory), type(move).__name__, time.time(), move.stop_s, move.origin, move.target
        )

    def slow(motor: Any, unit: str, **given: Any) -> None:
        begin(motor, unit, **(given | ({"velocity": SLOW} if unit == "mm" else {})))

    def slow_shutter(switch: Any, delay_s: float = 0.0, name: str = "") -> None:
        shutter(switch, delay_s or shutter_s, name)

    for owner, name, function in (
        (_beam._History, "note", noted),
        (_beam._Orders, "turn", turned),
        (_trajectory.Trajectory, "append", appended_move),
        (_motor.SimulatedMotor, "__init__", slow),
        (_beam.SimulatedShutter, "__init__", slow_shutter),
    ):
        setattr(owner, name, function)


def scan(beamline: SimulatedBeamline, case: dict[str, Any]) -> Any:
    return continuous_tomography(
        beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=case["flat_position"], num_projections=case["projections"], **COUNTS,
    )  # fmt: skip


def command(directory: Path, case: dict[str, Any]) -> None:
    given = {**COUNTS, "num_projections": case["projections"]}
    main(
        ["run", "continuous_tomography", "-d", str(directory), "--shape", "16x16", "--quiet", "--slices", "none",
         "--frame-rate", "100 Hz", "--exposure", "1 us", "--flat-position", f"{case['flat_position']} mm",
         *(word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value)))]
    )  # fmt: skip


def queue_server(directory: Path, case: dict[str, Any]) -> None:
    del sys.modules["ophyd"]  # The worker needs it, and forks no more.
    # Its start-up module makes a beamline of its own.
    begin = SimulatedBeamline.__init__

    def small(beamline: Any, *args: Any, **given: Any) -> None:
        begin(beamline, *args, **{**BEAMLINE, **given})

    vars(devices)["SimulatedBeamline"].__init__ = small
    main(
        ["queueserver", "-d", str(directory), "--redis", case["redis"],
         "--control-port", str(case["control"]), "--info-port", str(case["info"])]
    )  # fmt: skip


def tango_server(directory: Path, case: dict[str, Any]) -> None:
    main(["tango", "writer", "--port", str(case["port"]), "--directory", str(directory)])


def session(directory: Path, case: dict[str, Any]) -> None:
    if case.get("prompt"):
        sys.ps1 = ">>> "
    beamline = SimulatedBeamline(**BEAMLINE)
    plan = scan(beamline, case)
    if case.get("forgotten"):
        forget(directory, plan)
    with open_session(directory, progress=False, catalog=False) as opened:
        opened.subscribe(writer(case))
        if case.get("deaf"):
            threading.Thread(target=opened.RE, args=(plan,), daemon=True).start()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes in C, which no signal ends
        try:
            opened.RE(plan)
        finally:
            time.sleep(case.get("lasts_s", 0.0))
    print("closed", opened.RE.state, flush=True)


def writer(case: dict[str, Any]) -> Any:
    if case["kind"] == "child":
        return ChildProcess(ImageWriter())
    if case["kind"] != "tango":
        return ImageWriter()
    from concertino.callbacks.remote import RemoteImageWriter

    until_s = time.monotonic() + WAIT_S
    while not listens(case["port"]):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    while True:
        try:
            return RemoteImageWriter(f"127.0.0.1:{case['port']}")
        except Exception:
            if time.monotonic() > until_s:
                raise
            time.sleep(1.1)  # Tango remembers a failure for a second


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def forget(directory: Path, plan: Any) -> None:
    """Make a mistake in a script while a scan goes on, whose session nobody closes."""
    opened = open_session(directory, progress=False, catalog=False)
    opened.subscribe(ImageWriter())
    threading.Thread(target=opened.RE, args=(plan,), daemon=True).start()
    sys.stdin.close()
    while not (directory / "go").exists():
        time.sleep(0.01)
    raise ValueError("the script's mistake")


def pause_soon(record: Path) -> None:
    """Have the scan pause in its projections, as an alarm or a person in another thread does."""
    while not record.exists() or '"name":"projections"' not in record.read_text():
        time.sleep(0.02)
    time.sleep(0.2)
    open_sessions()[0].pause()


def become(case: dict[str, Any], directory: Path) -> None:
    """Go to a folder, in a terminal or without one."""
    os.chdir(directory)
    if case.get("nohup"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if case.get("terminal"):
        out = os.open(case["terminal"], os.O_RDWR)  # it controls the process from now on
    else:
        out = os.open(directory / f"{case['kind']}.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)


KINDS = {"command": command, "queue": queue_server, "tango server": tango_server}

case = serve()
directory = Path(case["directory"])
become(case, directory)
data = directory / case.get("data", "data")
if case["kind"] != "tango server":
    log_devices(directory, case["shutter_s"])
if case.get("pause") and case["kind"] != "tango server":
    record = data / "scan_0001" / "documents.jsonl"
    threading.Thread(target=pause_soon, args=(record,), daemon=True).start()
KINDS.get(case["kind"], session)(data, case)
