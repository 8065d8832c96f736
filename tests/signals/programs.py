"""Programs in processes of their own that run a scan each, and what they leave behind."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from concertino.storage import Run, open_run

PROGRAM = Path(__file__).with_name("program.py")
WAIT_S = 90.0
#: How long motors may go on after a signal, in seconds; the beam, which goes off first, takes part of it.
STOPS_S = 30.0
#: Phases in which an axis is on its way.
MOVING = ("moving", "projections")


class Programs:
    """Programs in processes of their own, started by one that has imported what they need."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        self._starting = threading.Lock()
        self._started: queue.Queue[int] = queue.Queue()
        self._pids: list[int] = []
        self._codes: dict[int, int] = {}
        self._told = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if "started" in said:
                    self._started.put(said["started"])
                else:
                    with self._told:
                        self._codes[said["pid"]] = said["code"]
                        self._told.notify_all()

    def start(self, case: dict[str, Any]) -> int:
        """Start a program; return the number of its process."""
        assert self._process.stdin is not None
        with self._starting:
            self._process.stdin.write(json.dumps(case) + "\n")
            self._process.stdin.flush()
            self._pids.append(self._started.get(timeout=WAIT_S))
            return self._pids[-1]

    def code(self, pid: int) -> int | None:
        """Return the exit code of a program that has ended."""
        return self._codes.get(pid)

    def wait(self, pid: int, timeout_s: float = WAIT_S) -> int:
        """Return the exit code of a program, when it has ended."""
        with self._told:
            assert self._told.wait_for(lambda: pid in self._codes, timeout_s), "it did not end"
        return self._codes[pid]

    def close(self) -> None:
        """End them, also those that a test which failed has left."""
        assert self._process.stdin is not None
        for pid in self._pids:
            if pid not in self._codes:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(WAIT_S)


class Case:
    """A program that runs a scan in a directory, and what it leaves behind."""

    def __init__(
        self, programs: Programs, directory: Path, kind: str, phase: str, **more: Any
    ) -> None:
        self.programs, self.directory, self.kind, self.phase = programs, directory, kind, phase
        directory.mkdir(exist_ok=True)
        self.pids: list[int] = []
        self.given: dict[str, Any] = {
            "directory": str(directory),
            "shutter_s": 1.0 if phase == "clean-up" else 0.2,
            "projections": 20 if phase == "clean-up" else 3000,
            # The stage of a run whose server is lost goes all its way; that of one that is signalled is stopped.
            "flat_position": {"tango": 20.0}.get(kind, 40.0) if phase == "moving" else 0.5,
            "pause": phase == "paused" and kind != "queue",
            **more,
        }

    def start(self, kind: str, **more: Any) -> int:
        """Start a program of this case; return the number of its process."""
        self.pids.append(self.programs.start({**self.given, "kind": kind, **more}))
        return self.pids[-1]

    def until(self, true: Callable[[], Any], what: str) -> Any:
        """Wait for something, and return it."""
        deadline_s = time.monotonic() + WAIT_S
        while not (found := true()):
            assert not any(self.programs.code(pid) is not None for pid in self.pids), (
                f"ended before {what}: {self.tail}"
            )
            assert time.monotonic() < deadline_s, f"no {what}: {self.tail}"
            time.sleep(0.005)
        return found

    def in_phase(self) -> bool:
        """Whether the phase goes on in which the signal is to come."""
        said, beam, moves = self.said, self.beam, self.moves
        if self.phase == "preparing":
            return '["start"' in said
        if self.phase == "moving":
            return any(self.is_long(move) for move in moves)
        if self.phase == "paused":
            return '"name":"pauses"' in said and beam[-1:] == [("is", False)]
        if self.phase == "clean-up":
            # The account of the frames comes after the last of them; the beam is told to go off.
            return '"name":"projections"' in said and beam[-1:] == [("told", False)]
        if f'"name":"{self.phase}"' not in said:
            return False
        if self.phase == "projections":
            return beam[-1] == ("is", True) and self.is_long(moves[-1])
        return self.phase == "darks" or beam[-1] == ("is", True)

    @staticmethod
    def is_long(move: tuple[Any, ...]) -> bool:
        """Whether a move is one that a signal finds under way."""
        _, kind, at_s, stop_s, *_ = move
        return bool(kind == "Move" and stop_s - at_s > 5.0)

    @property
    def out(self) -> str:
        """What the programs printed."""
        return "\n".join(path.read_text(errors="replace") for path in self.directory.glob("*.txt"))

    @property
    def tail(self) -> str:
        """The end of what they printed."""
        return self.out[-2000:]

    @property
    def said(self) -> str:
        """The run's documents."""
        record = self.directory / "data" / "scan_0001" / "documents.jsonl"
        return record.read_text() if record.exists() else ""

    @property
    def beam(self) -> list[tuple[str, bool]]:
        """What the beam was told and did."""
        return [(what, on) for what, on in _lines(self.directory / "beam.log")]

    @property
    def moves(self) -> list[tuple[Any, ...]]:
        """What the axes did: which, whether it moves or brakes, when, until when, from where and to where."""
        return [tuple(move) for move in _lines(self.directory / "motors.log")]

    @property
    def run(self) -> Run:
        """The run that was taken."""
        return open_run(self.directory / "data" / "scan_0001")

    def stopped(self) -> bool:
        """Whether the run has a stop document."""
        return '["stop"' in self.said

    def kill(self) -> None:
        """Leave no process of it."""
        for pid in self.pids:
            if self.programs.code(pid) is None:
                with suppress(ProcessLookupError):  # Its code is on its way.
                    os.killpg(pid, signal.SIGKILL)

    def check_beam_and_motors(
        self, signal_s: float, ended_s: float, *, braked: bool = True
    ) -> None:
        """Check that the beam is off, and the axes at rest; `braked`: what was on its way has not come there."""
        beam, moves = self.beam, self.moves
        assert beam[-1] == ("is", False), (beam[-4:], self.tail)
        if self.phase not in ("preparing", "darks", "moving"):
            assert ("is", True) in beam
        last = {move[0]: move for move in moves}
        assert all(stop_s <= ended_s for _, _, _, stop_s, *_ in last.values()), (last, ended_s)
        if braked and self.phase in MOVING:
            under_way = [m for m in moves if self.is_long(m) and m[2] <= signal_s < m[3]]
            assert under_way, "nothing moved when the signal came"
            for axis, _, _, _, origin, target in under_way:
                _, kind, _, rest_s, _, rest = last[axis]
                assert kind == "Braking", self.tail
                assert rest_s < signal_s + STOPS_S
                assert abs(rest - origin) < abs(target - origin)


def _lines(path: Path) -> Iterator[Any]:
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
