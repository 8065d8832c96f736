"""Starts programs that signals are sent to: imports once, then forks for each, and tells how it ended.

A line of JSON on standard input starts one; lines of JSON on standard output tell its number and, later, its
exit code, negative for a signal that killed it. The programs are what a user would run.
"""

import hashlib
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from concertino.callbacks import ChildProcess, ImageWriter
from concertino.cli import main
from concertino.devices import SimulatedBeamline, SimulatedShutter, _beam
from concertino.plans import radiography
from concertino.session import Session, open_session

# What a session and its first run import, of which some is slow. Not ophyd, whose forks do not end.
sys.modules["ophyd"] = None  # type: ignore[assignment]
for _name in ("awkward", "sparse", "networkx", "pyarrow", "numba", "lark", "scipy.ndimage"):
    with suppress(ImportError):
        importlib.import_module(_name)

SCAN = {"num_darks": 30, "num_flats": 30, "num_projections": 2000}


def log_beam(path: Path) -> None:
    """Have the simulated beam write its state to a file that outlives the process."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    note = _beam._History.note

    def note_and_write(history: Any, on: bool) -> None:
        note(history, on)
        os.write(file, b"ON\n" if on else b"OFF\n")

    _beam._History.note = note_and_write  # type: ignore[assignment, method-assign]


def scan(beamline: SimulatedBeamline, num_projections: int) -> Any:
    given: dict[str, Any] = SCAN | {"num_projections": num_projections}
    return radiography(
        beamline.camera, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, **given,
    )  # fmt: skip


def command(directory: Path, case: dict[str, Any]) -> None:
    given = {**SCAN, "num_projections": case["projections"]}
    main(
        ["run", "radiography", "-d", str(directory), "--shape", "16x16", "--quiet", "--slices", "none",
         "--frame-rate", "100 Hz", "--exposure", "0 s", "--flat-position", "1 mm",
         *(word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value)))]
    )  # fmt: skip


def session(directory: Path, case: dict[str, Any]) -> None:
    beamline = SimulatedBeamline(
        shape=(16, 16),
        exposure=0.0,
        frame_rate=100.0,
        stream_address=case.get("stream_address", ""),
    )
    if case.get("slow_beam_s"):
        beamline.beam = SimulatedShutter(case["slow_beam_s"], "shutter")
    plan = scan(beamline, case["projections"])
    if case.get("prompt"):
        sys.ps1 = ">>> "  # As somebody who sits there: the first Ctrl-C pauses.
    if case.get("forgotten"):
        forget(directory, plan)
    with open_session(directory, progress=False, catalog=False) as opened:
        opened.subscribe(ChildProcess(ImageWriter()) if case["kind"] == "child" else ImageWriter())
        if case["phase"] == "paused":
            opened.subscribe(lambda name, document: pause_soon(opened, document), "descriptor")
        if case["phase"] == "clean-up":
            opened.subscribe(
                lambda name, document: time.sleep(0.5), "event_page"
            )  # a slow listener
        if case.get("deaf"):
            threading.Thread(target=opened.RE, args=(plan,), daemon=True).start()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes in C, which no signal ends
        opened.RE(plan)
    print("closed", opened.RE.state, flush=True)


def forget(directory: Path, plan: Any) -> None:
    """Make a mistake in a script while a scan goes on, whose session nobody closes."""
    opened = open_session(directory, progress=False, catalog=False)
    opened.subscribe(ImageWriter())
    threading.Thread(target=opened.RE, args=(plan,), daemon=True).start()
    sys.stdin.close()
    while not (directory / "go").exists():
        time.sleep(0.01)
    raise ValueError("the script's mistake")


def pause_soon(opened: Session, document: Any) -> None:
    if document["name"] == "projections":
        threading.Timer(0.2, opened.pause).start()


def serve() -> dict[str, Any] | None:
    """Fork for each line; return the case in the child, None in the parent after the last line."""
    waiting: set[int] = set()
    open_input = True
    while open_input or waiting:
        ready, _, _ = select.select([0] if open_input else [], [], [], 0.02)
        if ready:
            line = sys.stdin.readline()
            open_input = bool(line)
            if line:
                pid = os.fork()
                if pid == 0:
                    return dict(json.loads(line))
                waiting.add(pid)
                print(json.dumps({"started": pid}), flush=True)
        for pid in list(waiting):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                waiting.remove(pid)
                code = os.waitstatus_to_exitcode(status)
                print(json.dumps({"pid": pid, "code": code}), flush=True)
    return None


def become(case: dict[str, Any], directory: Path) -> None:
    """Be a process of one's own, in a terminal or without one."""
    os.setsid()
    if case.get("nohup"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if case.get("terminal"):
        out = os.open(case["terminal"], os.O_RDWR)  # it controls the process from now on
    else:
        out = os.open(directory / "out.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)


if (case := serve()) is not None:
    directory = Path(case["directory"])
    become(case, directory)
    log_beam(directory / "beam.log")
    (command if case["kind"] == "command" else session)(directory / "data", case)
