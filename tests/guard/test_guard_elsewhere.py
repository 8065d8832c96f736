"""A guard on another computer: a session that is cut off, strangers at its port, and its command."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from concertino import ParameterError, SessionError
from concertino.guard import CommandSwitch, serve_guard, untold_reports
from concertino.session import open_session
from concertino.storage import open_run

from .conftest import HERE, Bench, eventually

pytestmark = pytest.mark.disturbed_by_load(
    "the beam must be off two seconds after a death, by processes that need a processor"
)

PROGRAM = "from concertino.cli import main; main()"


class Command:
    """``concertino guard`` in a process of its own."""

    def __init__(self, root: Path, journal: Path, port: int = 0) -> None:
        self.reports = root / "reports"
        self.log = root / "guard.txt"
        file = root / "guard.json"
        switch = {
            "name": "front end", "function": "file_beam:switch_off", "arguments": {"path": str(journal)},
        }  # fmt: skip
        file.write_text(json.dumps(switch))
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-c", PROGRAM, "guard", str(file),
                    "--listen", f"tcp://127.0.0.1:{port}", "-d", str(self.reports),
                ],
                stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )  # fmt: skip
        said = eventually(lambda: "connected" in self.said and self.said, "it does not listen")
        self.address = said.partition("sessions that call ")[2].split()[0]

    @property
    def said(self) -> str:
        return self.log.read_text()

    def end(self, number: int = signal.SIGKILL) -> int:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(240)


Start = Callable[..., Command]


@pytest.fixture
def start(bench: Bench) -> Iterator[Start]:
    """Return a function that starts ``concertino guard``."""
    started: list[Command] = []

    def begin(port: int = 0) -> Command:
        made = Command(bench.root, bench.journal().path, port)
        started.append(made)
        return made

    yield begin
    for command in started:
        command.end()


def away(command: Command, **more: Any) -> dict[str, Any]:
    """How a session uses only the guard elsewhere."""
    return {"guard": False, "guard_at": command.address, **more}


def test_a_session_that_is_killed(bench: Bench, start: Start) -> None:
    command = start()
    subject = bench.subject(bench.beam("file"), open=away(command))
    bench.journal().wait(True)
    killed_s = subject.signal(signal.SIGKILL)
    assert bench.journal().wait(False) - killed_s < 2.0
    (report,) = eventually(
        lambda: [one for one in untold_reports(command.reports) if one.done], "no report"
    )
    assert f"process {subject.pid}, died, ended without closing, or lost the network at" in (
        report.sentence()
    )
    assert "front end was switched off by file_beam:switch_off" in command.said


def test_the_next_start_records_what_a_guard_elsewhere_did(bench: Bench, start: Start) -> None:
    """Also when the guard's own process ended meanwhile, and only once."""
    first = start()
    subject = bench.subject(bench.beam("file"), open=away(first))
    bench.journal().wait(True)
    subject.signal(signal.SIGKILL)
    eventually(lambda: "front end was switched off" in first.said, "it does not say so")
    first.end()
    second = start(int(first.address.rpartition(":")[2]))
    for times in (1, 0):
        with open_session(
            subject.directory, catalog=False, progress=False, **away(second)
        ) as session:
            assert session.guard.wait(240)
            assert len(session.guard.reports) == times
        if times:
            (report,) = session.guard.reports
            assert f"process {subject.pid}, died" in report.sentence()
            assert "during scan_0001" in report.sentence()
            said = "its guard: front end was switched off by file_beam:switch_off"
            assert said in open_run(subject.directory / "scan_0001").reason
            eventually(lambda: not list(second.reports.glob(".guard/*.json")), "it was not heard")


def test_a_session_elsewhere_is_told_nothing_of_others(bench: Bench, start: Start) -> None:
    command = start()
    subject = bench.subject(bench.beam("file"), open=away(command))
    bench.journal().wait(True)
    subject.signal(signal.SIGKILL)
    eventually(lambda: "front end was switched off" in command.said, "it does not say so")
    with open_session(
        bench.root / "other", catalog=False, progress=False, **away(command)
    ) as session:
        assert session.guard.wait(240)
        assert session.guard.reports == ()


def test_a_computer_that_is_gone(bench: Bench, start: Start) -> None:
    """Of a computer that dies nothing comes any more, not even the end of the connection."""
    command = start()
    subject = bench.subject(bench.beam("file"), open=away(command, guard_silence_s=3.0))
    bench.journal().wait(True)
    stopped_s = subject.signal(signal.SIGSTOP)
    off_s = bench.journal().wait(False)
    assert 1.9 < off_s - stopped_s < 5.0
    subject.signal(signal.SIGCONT)  # It was only asleep.
    subject.said("closed")
    assert "was not heard of for 3 s" in subject.errors


def test_a_session_that_closes_leaves_the_beam_as_it_is(bench: Bench, start: Start) -> None:
    command = start()
    with open_session(
        bench.root / "data", catalog=False, progress=False, **away(command)
    ) as session:
        assert session.guard.wait(240)
        eventually(lambda: "is guarded" in command.said, "it does not say so")
    eventually(lambda: "has closed; the beam stays as it is." in command.said, "it does not say so")
    assert bench.journal().lines() == []
    assert command.end(signal.SIGINT) == 0


def test_a_guard_that_dies_and_comes_again(
    bench: Bench, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start()
    port = int(first.address.rpartition(":")[2])
    with open_session(bench.root / "data", catalog=False, progress=False, **away(first)) as session:
        assert session.guard.wait(240)
        first.end()
        said = f"The connection to the guard at {first.address} broke."
        eventually(lambda: said in capsys.readouterr().err, "the session does not say so")
        assert not session.guard.wait(0)
        start(port)
        assert session.guard.wait(240)
    assert bench.journal().lines() == []


def test_a_guard_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_session(
        tmp_path, catalog=False, progress=False, guard=False, guard_at="tcp://127.0.0.1:1"
    ) as session:
        assert not session.guard.wait(2)
    said = capsys.readouterr().err
    assert "The guard at tcp://127.0.0.1:1 cannot be reached: " in said


JUNK = [
    b"", b"\n", b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 3_000_000, b"[1]\n", b"{\n", b'{"close": 1}\n',
    b'{"alive": {"loop_s": 1e9, "runs": []}}\n',
    b'{"watch": {"session": "x", "silence_s": NaN, "loop_silence_s": 1}}\n',
    b'{"watch": {"session": "x", "silence_s": 1e999, "loop_silence_s": 1}}\n',
]  # fmt: skip


def test_strangers_switch_nothing(bench: Bench, start: Start) -> None:
    command = start()
    host, _, port = command.address.removeprefix("tcp://").partition(":")
    for junk in JUNK:
        with suppress(OSError), socket.create_connection((host, int(port)), 10) as stranger:
            stranger.sendall(junk)
        time.sleep(0.1)
        assert command.process.poll() is None, junk[:100]
    time.sleep(0.5)
    assert "Traceback" not in command.said
    assert bench.journal().lines() == []
    with open_session(
        bench.root / "data", catalog=False, progress=False, **away(command)
    ) as session:
        assert session.guard.wait(240)


def test_a_stranger_can_have_beams_of_the_guard_switched_off_and_nothing_else(
    bench: Bench, start: Start
) -> None:
    command = start()
    host, _, port = command.address.removeprefix("tcp://").partition(":")
    made = bench.root / "made"
    asked = {
        "watch": {
            "session": "x", "silence_s": 5, "loop_silence_s": 5, "directory": str(bench.root),
            "path": [], "pid": 1, "terminal": str(made),
        },
        "beams": {"mine": {"command": ["touch", str(made)]}},
        "alive": {"loop_s": 0, "runs": [str(bench.root)]},
    }  # fmt: skip
    with socket.create_connection((host, int(port)), 10) as stranger:
        stranger.sendall(json.dumps(asked).encode() + b"\n")
        eventually(lambda: "x is guarded" in command.said, "it was not heard")
    bench.journal().wait(False)
    assert not made.exists()
    assert not (bench.root / ".guard").exists()
    assert not (bench.root / "beam_guard.json").exists()


@pytest.mark.parametrize(
    "address", ["localhost", "tcp://:5", "ipc://x", "tcp://a:99999", "udp://a:1"]
)
def test_what_is_no_address(tmp_path: Path, address: str) -> None:
    with pytest.raises(
        ParameterError, match="was given as the address of a guard; give tcp://HOST:PORT"
    ):
        open_session(tmp_path, catalog=False, guard_at=address)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SessionError, match="Give an address of this computer and a port that is free"
        ):
            serve_guard(f"tcp://127.0.0.1:{port}", {"beam": CommandSwitch(("true",))})
