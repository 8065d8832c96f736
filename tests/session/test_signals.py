"""Signals at each phase of a scan, to real processes: beam off, stop document, exit code."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from concertino.storage import Run, open_run

PROGRAM = Path(__file__).with_name("signal_program.py")
WAIT_S = 90.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What stands in the record when a phase has begun, and how long to wait then, in seconds.
PHASES = {
    "preparing": ('["start"', 0.0),
    "darks": ('"name":"darks"', 0.1),
    "flats": ('"name":"flats"', 0.1),
    "projections": ('"name":"projections"', 0.2),
    "paused": ('"name":"pauses"', 0.3),
    "clean-up": ('["event_page"', 0.0),  # the account of the frames, after the projections
}


class Programs:
    """Programs in processes of their own, started by one that has imported what they need."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        self._started: queue.Queue[int] = queue.Queue()
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
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        return self._started.get(timeout=WAIT_S)

    def code(self, pid: int) -> int | None:
        """Return the exit code of a program that has ended."""
        return self._codes.get(pid)

    def wait(self, pid: int, timeout_s: float = WAIT_S) -> int:
        """Return the exit code of a program, when it has ended."""
        with self._told:
            assert self._told.wait_for(lambda: pid in self._codes, timeout_s), "it did not end"
        return self._codes[pid]

    def close(self) -> None:
        """End them."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(WAIT_S)


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    started = Programs()
    yield started
    started.close()


class Case:
    """One program that gets a signal, and what it left behind."""

    def __init__(self, programs: Programs, directory: Path, **case: Any) -> None:
        self.directory = directory
        self._programs = programs
        self.phase = case["phase"]
        projections = 3 if self.phase == "clean-up" else 2000
        directory.mkdir(exist_ok=True)
        self.pid = programs.start({"projections": projections, "directory": str(directory), **case})
        self.ended = False

    def send_in_phase(self, number: int) -> None:
        """Send a signal when the phase has begun."""
        words, more_s = PHASES[self.phase]
        record = self.directory / "data" / "scan_0001" / "documents.jsonl"

        def begun() -> bool:
            said = record.read_text() if record.exists() else ""
            return words in (
                said.partition('"name":"projections"')[2] if words == '["event_page"' else said
            )

        self.until(begun)
        time.sleep(more_s)
        self.send(number)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for something."""
        deadline_s = time.monotonic() + WAIT_S
        while not true():
            assert self._programs.code(self.pid) is None, self.out
            assert time.monotonic() < deadline_s, self.out
            time.sleep(0.005)

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def off(self) -> bool:
        """Whether the run has ended with the beam off."""
        return self.beam[-1] == "OFF" and self.run.stop is not None

    def wait(self) -> int:
        """Return the exit code."""
        try:
            return self._programs.wait(self.pid)
        except AssertionError:
            os.kill(self.pid, signal.SIGKILL)
            raise

    @property
    def out(self) -> str:
        """What it printed."""
        return (self.directory / "out.txt").read_text()

    @property
    def beam(self) -> list[str]:
        """How the beam was switched."""
        return (self.directory / "beam.log").read_text().split()

    @property
    def run(self) -> Run:
        """The run that it took."""
        return open_run(self.directory / "data" / "scan_0001")

    def check(self, number: int, code: int) -> None:
        """Check what the end of the process left behind."""
        name = {signal.SIGINT: "Ctrl-C"}.get(signal.Signals(number), signal.Signals(number).name)
        assert self.beam[-1] == "OFF", (self.beam[-4:], self.out)
        assert "ON" in self.beam or self.phase in ("preparing", "darks")
        assert self.run.stop is not None, self.out
        if self.phase != "clean-up":
            assert self.run.exit_status == "abort", self.out
            assert self.run.stop["reason"] == f"ended by {name}"
        assert code == 128 + number, self.out


CASES = [
    pytest.param(kind, phase, id=f"{kind}-{phase}")
    for kind in ("command", "session")
    for phase in PHASES
    # Nobody is there to pause a command, and nothing makes its clean-up long.
    if kind == "session" or phase not in ("paused", "clean-up")
]


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_a_signal_ends_the_run_with_the_beam_off(
    programs: Programs, tmp_path: Path, kind: str, phase: str
) -> None:
    cases = {
        number: Case(programs, tmp_path / str(number), kind=kind, phase=phase) for number in SIGNALS
    }
    with ThreadPoolExecutor(len(cases)) as senders:
        list(senders.map(Case.send_in_phase, cases.values(), cases))
    for number, case in cases.items():
        code = case.wait()
        # A script that Ctrl-C ends is killed by it in the eyes of its shell, as any of Python's.
        expected = -number if (kind, number) == ("session", signal.SIGINT) else 128 + number
        assert code == expected, case.out
        case.check(number, 128 + number)


def test_more_signals_do_not_hurry_the_clean_up_away(programs: Programs, tmp_path: Path) -> None:
    case = Case(programs, tmp_path, kind="session", phase="projections", slow_beam_s=1.0)
    case.send_in_phase(signal.SIGTERM)
    for number in (*SIGNALS, *SIGNALS):
        time.sleep(0.1)
        case.send(number)
    assert case.wait() == 143
    case.check(signal.SIGTERM, 143)


def press_ctrl_c(
    programs: Programs, directory: Path, phase: str, presses: int, *, prompt: bool = False
) -> None:
    """Press Ctrl-C some times in quick succession, and check that the run ended with the beam off."""
    case = Case(programs, directory, kind="session", phase=phase, prompt=prompt)
    case.send_in_phase(signal.SIGINT)
    for _ in range(presses - 1):
        time.sleep(0.03)
        if programs.code(case.pid) is None:
            with contextlib.suppress(ProcessLookupError):
                case.send(signal.SIGINT)
    code = case.wait()
    assert case.off(), (case.beam[-4:], case.out)
    assert case.run.stop is not None
    if phase != "clean-up":
        assert code != 0, case.out
        assert case.run.exit_status == "abort", case.out


@pytest.mark.parametrize("prompt", [False, True])
def test_ctrl_c_may_be_pressed_as_often_as_one_likes(
    programs: Programs, tmp_path: Path, prompt: bool
) -> None:
    # `interrupt_runs.py` presses it once to twelve times in each phase.
    cases = [("darks", 12), ("projections", 4), ("paused", 12)]
    with ThreadPoolExecutor(len(cases)) as people:
        for done in [
            people.submit(press_ctrl_c, programs, tmp_path / phase, phase, presses, prompt=prompt)
            for phase, presses in cases
        ]:
            done.result()


def test_a_main_thread_in_c_code_does_not_keep_the_beam_on(
    programs: Programs, tmp_path: Path
) -> None:
    case = Case(programs, tmp_path, kind="session", phase="projections", deaf=True)
    case.send_in_phase(signal.SIGTERM)
    case.until(case.off)
    case.send(signal.SIGKILL)
    assert case.wait() == -signal.SIGKILL
    case.check(signal.SIGTERM, 143)


def test_under_nohup_a_closed_terminal_ends_nothing(programs: Programs, tmp_path: Path) -> None:
    case = Case(programs, tmp_path, kind="session", phase="projections", nohup=True)
    case.send_in_phase(signal.SIGHUP)
    time.sleep(0.5)
    assert case.beam[-1] == "ON"
    case.send(signal.SIGTERM)
    assert case.wait() == 143
    case.check(signal.SIGTERM, 143)


def test_a_lost_terminal_ends_the_run_though_nothing_can_be_printed(
    programs: Programs, tmp_path: Path
) -> None:
    ours, theirs = os.openpty()
    case = Case(
        programs, tmp_path, kind="session", phase="projections", terminal=os.ttyname(theirs)
    )
    (tmp_path / "out.txt").touch()
    os.close(theirs)
    words, more_s = PHASES["projections"]
    record = tmp_path / "data" / "scan_0001" / "documents.jsonl"
    case.until(lambda: record.exists() and words in record.read_text())
    time.sleep(more_s)
    os.close(ours)  # as when the window is closed, or ssh lost
    assert case.wait() == 129
    case.check(signal.SIGHUP, 129)


def test_a_session_that_nobody_closes_ends_its_run_at_exit(
    programs: Programs, tmp_path: Path
) -> None:
    case = Case(programs, tmp_path, kind="session", phase="projections", forgotten=True)
    case.send_in_phase(0)
    (tmp_path / "data" / "go").touch()
    assert case.wait() == 1
    assert "the script's mistake" in case.out
    assert case.off()
    assert case.run.stop is not None
    assert case.run.stop["reason"] == "the session was closed while the plan was running"


def test_a_service_that_stops_loses_no_frame_of_a_writer_in_a_process(
    programs: Programs, tmp_path: Path
) -> None:
    case = Case(programs, tmp_path, kind="child", phase="projections", stream_address="ipc://")
    case.send_in_phase(0)
    (child,) = (
        int(pid) for pid in Path(f"/proc/{case.pid}/task/{case.pid}/children").read_text().split()
    )
    for number in SIGNALS:
        os.kill(child, number)
    time.sleep(0.3)
    assert case.beam[-1] == "ON"  # it is for the plan to end
    case.send(signal.SIGTERM)
    assert case.wait() == 143
    case.check(signal.SIGTERM, 143)
    (row,) = (
        row for row in case.run.ledger()
        if row["stream"] == "projections" and row["role"] == "every"
    )  # fmt: skip
    assert len(case.run.frames("projections").read()) == row["acknowledged"] > 0
    assert not Path(f"/proc/{child}").exists()
