"""Each signal in each phase of a scan to each program that may run one: the cases, and what is right of each."""

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from concertino.storage import Run, open_run

PROGRAM = Path(__file__).with_name("program.py")
WAIT_S = 90.0
#: How long motors may go on after a signal, in seconds; the beam, which goes off first, takes part of it.
STOPS_S = 30.0
#: What a program says when it has heard a signal, and how long that is waited for, in seconds.
HEARD = ("Interrupted: the beam goes off", "the beam goes off, then the run ends")
HEARD_S = 20.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Another one follows each, while the clean-up goes on.
SECOND = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGINT,
    signal.SIGHUP: signal.SIGTERM,
}
#: What goes on when the signal comes.
PHASES = ("preparing", "darks", "moving", "flats", "projections", "paused", "clean-up")
#: Phases in which an axis is on its way.
MOVING = ("moving", "projections")
#: A command; a script; a program at whose prompt somebody sits; a script whose writer is a process, which gets the
#: signal, too; the worker of a queue server; a queue server, and all its processes at once, as of a service that is
#: stopped; and a Tango server that writes for a session, which gets no signal itself.
HOSTS = ("command", "script", "prompt", "child", "worker", "queue server", "service", "tango")
QUEUE = ("worker", "queue server", "service")


class Cell(NamedTuple):
    """One case."""

    host: str
    phase: str
    number: signal.Signals

    def __str__(self) -> str:
        return f"{self.host}, {self.phase}, {self.number.name}"


def all_cells() -> list[Cell]:
    """Return every case that there is: at a prompt, SIGINT pauses and ends nothing."""
    return [
        Cell(host, phase, number)
        for host in HOSTS
        for phase in PHASES
        for number in SIGNALS
        if (host, number) != ("prompt", signal.SIGINT)
    ]


def pairwise_cells() -> list[Cell]:
    """Return cases in which every two of host, phase and signal meet; of a queue server's hosts one in each phase."""
    chosen = []
    rows = [(host,) for host in HOSTS if host not in QUEUE] + [QUEUE]
    for row, hosts in enumerate(rows):
        for column, phase in enumerate(PHASES):
            host = hosts[column % len(hosts)]
            signals = SIGNALS[1:] if host == "prompt" else SIGNALS
            # Each of the queue server's hosts comes three times or twice, and not with one signal only.
            turn = row + column + column // len(SIGNALS)
            chosen.append(Cell(host, phase, signals[turn % len(signals)]))
    return chosen


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
            "flat_position": 40.0 if phase == "moving" else 0.5,
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
                f"ended before {what}: {self.out}"
            )
            assert time.monotonic() < deadline_s, f"no {what}: {self.out}"
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
        said = [path.read_text(errors="replace") for path in self.directory.glob("*.txt")]
        return "\n".join(said)[-2000:]

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
                os.killpg(pid, signal.SIGKILL)

    def check_beam_and_motors(
        self, signal_s: float, ended_s: float, *, braked: bool = True
    ) -> None:
        """Check that the beam is off, and the axes at rest; `braked`: what was on its way has not come there."""
        beam, moves = self.beam, self.moves
        assert beam[-1] == ("is", False), (beam[-4:], self.out)
        if self.phase not in ("preparing", "darks", "moving"):
            assert ("is", True) in beam
        last = {move[0]: move for move in moves}
        assert all(stop_s <= ended_s for _, _, _, stop_s, *_ in last.values()), (last, ended_s)
        if braked and self.phase in MOVING:
            under_way = [m for m in moves if self.is_long(m) and m[2] <= signal_s < m[3]]
            assert under_way, "nothing moved when the signal came"
            for axis, _, _, _, origin, target in under_way:
                _, kind, _, rest_s, _, rest = last[axis]
                assert kind == "Braking", self.out
                assert rest_s < signal_s + STOPS_S
                assert abs(rest - origin) < abs(target - origin)


def _lines(path: Path) -> Iterator[Any]:
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def run_cell(programs: Programs, directory: Path, cell: Cell) -> None:
    """Play a case, and check what its end left behind."""
    kind = {**dict.fromkeys(QUEUE, "queue"), "prompt": "script"}.get(cell.host, cell.host)
    case = Case(programs, directory, kind, cell.phase, prompt=cell.host == "prompt")
    try:
        {"queue": _in_queue, "tango": _in_tango}.get(kind, _in_process)(case, cell)
    finally:
        case.kill()


def _send(case: Case, pids: list[int], cell: Cell) -> float:
    """Send both signals to some processes; return when, in seconds since the epoch."""
    begin_s = time.time()
    for pid in pids:
        os.kill(pid, cell.number)
    # Of two that are pending, the system may deliver the second first.
    heard_s = time.monotonic() + HEARD_S
    while time.monotonic() < heard_s and not any(words in case.out for words in HEARD):
        if cell.host == "tango" or any(case.programs.code(pid) is not None for pid in case.pids):
            break
        time.sleep(0.01)
    time.sleep(0.1)
    for pid in pids:
        with suppress(ProcessLookupError):  # It has ended already.
            os.kill(pid, SECOND[cell.number])
    return begin_s


def _check_stop(case: Case, cell: Cell) -> None:
    assert case.stopped(), case.out
    run = case.run
    assert run.stop is not None
    if cell.phase == "clean-up":  # all frames have been taken
        assert run.exit_status in ("success", "abort"), run.stop
        return
    names = ["Ctrl-C" if cell.number == signal.SIGINT else cell.number.name]
    if cell.host in ("queue server", "service") and cell.number == signal.SIGINT:
        names.append(
            "SIGTERM"
        )  # The server passes on what ends a worker, which may hear of that first.
    assert run.exit_status == "abort", (run.stop, case.out)
    assert run.stop["reason"] in [f"ended by {name}" for name in names], case.out


def _in_process(case: Case, cell: Cell) -> None:
    pid = case.start(case.kind, stream_address="ipc://" if case.kind == "child" else "")
    case.until(case.in_phase, cell.phase)
    children = children_of(pid) if case.kind == "child" else []
    assert len(children) == (case.kind == "child")
    signal_s = _send(case, [*children, pid], cell)
    code, ended_s = case.programs.wait(pid), time.time()
    # A script that Ctrl-C ends is killed by it in the eyes of its shell, as any of Python's.
    by_ctrl_c = cell.number == signal.SIGINT and cell.host != "command"
    assert code == (-signal.SIGINT if by_ctrl_c else 128 + cell.number), (code, case.out)
    case.check_beam_and_motors(signal_s, ended_s)
    _check_stop(case, cell)
    for child in children:
        assert not lives(child)
        for row in case.run.ledger():
            if row["role"] == "every":
                assert len(case.run.frames(row["stream"]).read()) == row["acknowledged"]


def _in_queue(case: Case, cell: Cell) -> None:
    control, info = free_port(), free_port()
    with redis() as address, Requests(control, case) as ask:
        server = case.start("queue", redis=address, control=control, info=info)
        case.until(lambda: ask("status", quietly=True), "queue server")
        assert ask("environment_open")["success"]
        idle = {"worker_environment_exists": True, "manager_state": "idle"}
        case.until(lambda: ask("status").items() >= idle.items(), "worker")
        given: dict[str, Any] = {"item": _item(case), "user": "test", "user_group": "primary"}
        # The worker is ready a moment before its plans are known.
        case.until(lambda: ask("queue_item_add", **given)["success"], "item in the queue")
        known = set(children_of(server))
        assert ask("queue_start")["success"]
        if cell.phase == "paused":
            case.until(
                lambda: case.beam[-1:] == [("is", True)] and '"name":"projections"' in case.said,
                "beam",
            )
            assert ask("re_pause", option="deferred")["success"]
        case.until(case.in_phase, cell.phase)
        worker = max(known)  # the youngest
        pids = {"worker": [worker], "queue server": [server], "service": [server, *known]}[
            cell.host
        ]
        signal_s = _send(case, pids, cell)
        if cell.host != "worker":
            assert case.programs.wait(server) == 0, case.out
            assert not any(map(lives, known)), case.out
        elif cell.number == signal.SIGINT:  # it ends the plan, not the worker
            case.until(case.stopped, "stop document")
            case.until(lambda: ask("status")["manager_state"] == "idle", "idle queue server")
            assert lives(worker)
        else:
            case.until(lambda: not lives(worker), "end of the worker")
        case.check_beam_and_motors(signal_s, time.time())
        _check_stop(case, cell)
        if cell.host == "worker":
            os.kill(server, signal.SIGTERM)
            assert case.programs.wait(server) == 0, case.out


def _item(case: Case) -> dict[str, Any]:
    return {
        "item_type": "plan",
        "name": "continuous_tomography",
        "args": ["camera", "rotation", "shutter", "sample_stage"],
        "kwargs": {
            "radio_position": 0.0, "flat_position": case.given["flat_position"], "num_darks": 30, "num_flats": 30,
            "num_projections": case.given["projections"],
        },
    }  # fmt: skip


def _in_tango(case: Case, cell: Cell) -> None:
    port = free_port()
    server = case.start("tango server", port=port, data="there")
    session = case.start("tango", port=port, stream_address="tcp://127.0.0.1:0")
    case.until(case.in_phase, cell.phase)
    signal_s = _send(case, [server], cell)
    assert (code := case.programs.wait(server)) == 0, (code, case.out)
    if cell.phase == "paused":
        # The session is paused with the beam off, and notices when it goes on: what a person does ends it here.
        os.kill(session, signal.SIGTERM)
    code, ended_s = case.programs.wait(session), time.time()
    # The session's run fails at its next document, before which the stage may come to where it was sent.
    case.check_beam_and_motors(signal_s, ended_s, braked=cell.phase != "moving")
    assert case.stopped(), case.out
    if (
        cell.phase == "preparing"
        and not (case.directory / "there/scan_0001/documents.jsonl").exists()
    ):
        return  # It was ended before it heard of the run.
    there = open_run(case.directory / "there" / "scan_0001")
    assert there.stop is not None
    reason = f"the server was ended by {cell.number.name}"
    if cell.phase == "paused":
        assert code == 128 + signal.SIGTERM, case.out
    elif cell.phase != "clean-up":
        assert code == 1, case.out
        assert case.run.exit_status == "fail"
        assert case.run.stop is not None
        # It may be gone before the session asks it why.
        said = case.run.stop["reason"]
        assert reason in said or "does not answer" in said, said
    if cell.phase != "clean-up":
        assert there.stop["exit_status"] != "success"
        assert there.stop["reason"] == reason


class Requests:
    """Requests to a queue server."""

    def __init__(self, port: int, case: Case) -> None:
        self._address, self._case = f"tcp://127.0.0.1:{port}", case
        self._context = zmq.Context()

    def __call__(self, method: str, *, quietly: bool = False, **params: Any) -> dict[str, Any]:
        with self._context.socket(zmq.REQ) as asking:
            asking.linger = 0
            asking.connect(self._address)
            asking.send_json({"method": method, "params": params})
            if asking.poll(500 if quietly else 60_000):
                answer: Any = asking.recv_json()
                return dict(answer)
        assert quietly, f"no answer to {method}: {self._case.out}"
        return {}

    def __enter__(self) -> "Requests":
        return self

    def __exit__(self, *error: object) -> None:
        self._context.term()


@contextmanager
def redis() -> Iterator[str]:
    """Serve a database for a queue server."""
    port = free_port()
    if (program := shutil.which("redis-server")) is not None:
        server = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(WAIT_S)
        return
    import fakeredis

    fake = fakeredis.TcpFakeServer(("127.0.0.1", port), server_type="redis")
    threading.Thread(target=fake.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{port}"
    fake.shutdown()
    fake.server_close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def lives(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for yet has."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [
        int(child)
        for children in Path(f"/proc/{pid}/task").glob("*/children")
        for child in children.read_text().split()
    ]
