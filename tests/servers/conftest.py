"""Real servers in processes of their own, on free ports."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from concertino import ConcertinoError
from concertino._tango_client import TangoClient

READY = "Ready to accept request"
PROGRAM = "from concertino.cli import main; main()"


@dataclass
class Server:
    """A server's process and where it listens."""

    process: "subprocess.Popen[bytes]"
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

    def begin(kind: str, *options: str) -> Server:
        port = free_port()
        log, out = tmp_path / f"{kind}_{port}.log", tmp_path / f"{kind}_{port}.out"
        # Not forked from a process that has imported all of it: one in fifty of such forks never came up.
        command = [sys.executable, "-c", PROGRAM, "tango", kind, "--port", str(port), *options]
        with out.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--log", str(log)],
                cwd=tmp_path,  # a server that is given no directory makes one where it is
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        server = Server(process, f"127.0.0.1:{port}", kind, log)
        started.append(server)
        deadline_s = time.monotonic() + 60
        # Nobody asks it before: Tango remembers a failure for a second.
        while READY not in out.read_text():
            assert process.poll() is None, out.read_text()
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
        server.process.wait()
