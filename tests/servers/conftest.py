"""Real servers in processes of their own, on free ports."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from concertino import ConcertinoError
from concertino._tango_client import TangoClient
from tests.forked_programs import Programs
from tests.ports import free_port

READY = "Ready to accept request"
PROGRAM = "from concertino.cli import main; main()"


@dataclass
class Server:
    """A server's process and where it listens."""

    pid: int
    address: str
    kind: str
    log: Path


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    """Return what starts servers in processes of their own."""
    begun = Programs(Path(__file__).with_name("server_program.py"))
    yield begun
    begun.close()


@pytest.fixture
def start(tmp_path: Path, programs: Programs) -> Iterator[Start]:
    """Return a function that starts ``concertino tango KIND`` and waits until it answers."""
    started: list[int] = []

    def begin(kind: str, *options: str) -> Server:
        port = free_port()
        log, out = tmp_path / f"{kind}_{port}.log", tmp_path / f"{kind}_{port}.out"
        out.touch()
        pid = programs.start(
            {
                "arguments": ["tango", kind, "--port", str(port), *options, "--log", str(log)],
                # A server that is given no directory makes one where it is.
                "directory": str(tmp_path),
                "out": str(out),
                "environment": dict(os.environ),
                "path": [place for place in sys.path if place],
            }
        )
        server = Server(pid, f"127.0.0.1:{port}", kind, log)
        started.append(pid)
        deadline_s = time.monotonic() + 240
        # Nobody asks it before: Tango remembers a failure for a second.
        while READY not in out.read_text():
            assert programs.code(pid) is None, out.read_text()
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
    for pid in started:
        if programs.code(pid) is None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            programs.wait(pid)
