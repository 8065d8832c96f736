"""Programs that run a scan each, and what they leave behind."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from concertino.storage import Run, open_run
from tests.forked_programs import WAIT_S, Programs

PROGRAM = Path(__file__).with_name("program.py")
#: How long motors may go on after a signal, in seconds; the beam, which goes off first, takes part of it.
STOPS_S = 30.0
#: Phases in which an axis is on its way.
MOVING = ("moving", "projections")


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
