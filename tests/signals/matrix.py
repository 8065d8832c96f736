"""Each signal in each phase of a scan to each program that may run one: the cases, and what is right of each."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from concertino.storage import open_run
from tests.forked_programs import Programs
from tests.ports import free_port
from tests.queue_servers import Requests, redis

from .programs import Case

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
    assert case.stopped(), case.tail
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
    assert run.exit_status == "abort", (run.stop, case.tail)
    assert run.stop["reason"] in [f"ended by {name}" for name in names], case.tail


def _in_process(case: Case, cell: Cell) -> None:
    pid = case.start(case.kind)
    case.until(case.in_phase, cell.phase)
    children = children_of(pid) if case.kind == "child" else []
    assert len(children) == (case.kind == "child")
    signal_s = _send(case, [*children, pid], cell)
    code, ended_s = case.programs.wait(pid), time.time()
    # A script that Ctrl-C ends is killed by it in the eyes of its shell, as any of Python's.
    by_ctrl_c = cell.number == signal.SIGINT and cell.host != "command"
    assert code == (-signal.SIGINT if by_ctrl_c else 128 + cell.number), (code, case.tail)
    case.check_beam_and_motors(signal_s, ended_s)
    _check_stop(case, cell)
    for child in children:
        assert not lives(child)
        for row in case.run.ledger():
            if row["role"] == "every":
                assert len(case.run.frames(row["stream"]).read()) == row["acknowledged"]


def _in_queue(case: Case, cell: Cell) -> None:
    control, info = free_port(), free_port()
    with redis() as address, Requests(control, lambda: case.tail) as requests:
        ask = requests.ask
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
            assert case.programs.wait(server) == 0, case.tail
            assert not any(map(lives, known)), case.tail
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
            assert case.programs.wait(server) == 0, case.tail


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
    session = case.start("tango", port=port)
    case.until(case.in_phase, cell.phase)
    signal_s = _send(case, [server], cell)
    assert (code := case.programs.wait(server)) == 0, (code, case.tail)
    if cell.phase == "paused":
        # The session is paused with the beam off, and notices when it goes on: what a person does ends it here.
        os.kill(session, signal.SIGTERM)
    code, ended_s = case.programs.wait(session), time.time()
    # The session's run fails at its next document, before which the stage may come to where it was sent.
    case.check_beam_and_motors(signal_s, ended_s, braked=cell.phase != "moving")
    assert case.stopped(), case.tail
    if (
        cell.phase == "preparing"
        and not (case.directory / "there/scan_0001/documents.jsonl").exists()
    ):
        return  # It was ended before it heard of the run.
    there = open_run(case.directory / "there" / "scan_0001")
    assert there.stop is not None
    reason = f"the server was ended by {cell.number.name}"
    if cell.phase == "paused":
        assert code == 128 + signal.SIGTERM, case.tail
    elif cell.phase != "clean-up":
        assert code == 1, case.tail
        assert case.run.exit_status == "fail"
        assert case.run.stop is not None
        # It may be gone before the session asks it why.
        said = case.run.stop["reason"]
        assert reason in said or "does not answer" in said, said
    if cell.phase != "clean-up":
        assert there.stop["exit_status"] != "success"
        assert there.stop["reason"] == reason


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
