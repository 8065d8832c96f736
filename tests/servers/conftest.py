"""Real servers in processes of their own, on free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from concertino import ConcertinoError
from concertino._tango_client import TangoClient

READY = "Ready to accept request"
PROGRAM = "from concertino.cli import main; main()"
_FORKS = Path(__file__).with_name("fork_program.py")


class Process:
    """A process that another one has started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def lives(self) -> bool:
        """Whether it has not ended."""
        try:
            return ") Z " not in Path(f"/proc/{self.pid}/stat").read_text()
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        """End it, and wait for that."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        while self.lives():
            time.sleep(0.005)


@dataclass
class Server:
    """A server's process and where it listens."""

    process: Process
    address: str
    kind: str
    log: Path


Start = Callable[..., Server]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="session")
def forks() -> Iterator["subprocess.Popen[str]"]:
    """Return the process that has imported what servers need, and forks."""
    begun = subprocess.Popen(
        [sys.executable, str(_FORKS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with begun:
        yield begun
        assert begun.stdin is not None
        begun.stdin.close()


@pytest.fixture
def start(tmp_path: Path, forks: "subprocess.Popen[str]") -> Iterator[Start]:
    """Return a function that starts ``concertino tango KIND`` and waits until it answers."""
    started: list[Server] = []

    def begin(kind: str, *options: str) -> Server:
        port = free_port()
        log, out = tmp_path / f"{kind}_{port}.log", tmp_path / f"{kind}_{port}.out"
        arguments = ["tango", kind, "--port", str(port), *options, "--log", str(log)]
        assert forks.stdin is not None
        assert forks.stdout is not None
        # A server that is given no directory makes one where it is.
        case = {
            "arguments": arguments,
            "directory": str(tmp_path),
            "out": str(out),
            "path": sys.path,
        }
        forks.stdin.write(json.dumps(case) + "\n")
        forks.stdin.flush()
        server = Server(Process(int(forks.stdout.readline())), f"127.0.0.1:{port}", kind, log)
        started.append(server)
        deadline_s = time.monotonic() + 60
        # Nobody asks it before: Tango remembers a failure for a second.
        while not out.exists() or READY not in out.read_text():
            assert server.process.lives(), out.read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        while True:
            try:
                TangoClient(server.address, kind).state()
            except ConcertinoError:
                assert time.monotonic() < deadline_s
                time.sleep(1.1)
            else:
                return server

    yield begin
    for server in started:
        server.process.kill()
