"""Real servers in processes of their own, on free ports."""

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


class Process:
    """A process by its number; one that has ended and that nobody has waited for lives no more."""

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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts ``concertino tango KIND`` and waits until it answers."""
    started: list[Server] = []
    processes: list[subprocess.Popen[bytes]] = []

    def begin(kind: str, *options: str) -> Server:
        port = free_port()
        log, out = tmp_path / f"{kind}_{port}.log", tmp_path / f"{kind}_{port}.out"
        # Not forked from a process that has imported all of it: one in fifty of such forks never came up.
        command = [sys.executable, "-c", PROGRAM, "tango", kind, "--port", str(port), *options]
        with out.open("wb") as output:
            begun = subprocess.Popen(
                [*command, "--log", str(log)],
                cwd=tmp_path,  # a server that is given no directory makes one where it is
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        processes.append(begun)
        server = Server(Process(begun.pid), f"127.0.0.1:{port}", kind, log)
        started.append(server)
        deadline_s = time.monotonic() + 60
        # Nobody asks it before: Tango remembers a failure for a second.
        while READY not in out.read_text():
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
    for process in processes:
        process.wait()
