"""Tango servers without a database, in processes of their own, that can be killed, frozen and started again."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tango

from tests.ports import free_port

PATIENCE_S = 60.0


class Server:
    """A process of `motion_server.py`."""

    def __init__(self) -> None:
        self._port = free_port()
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("motion_server.py")), str(self._port)],
            stdout=subprocess.DEVNULL,
        )
        until_s = time.monotonic() + PATIENCE_S
        while True:
            # One that is asked too early is asked again: Tango remembers a failure for a second.
            with suppress(tango.DevFailed):
                self.device("t/valves/1").ping()
                return
            assert self._process.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.1)

    def address(self, device: str) -> str:
        return f"tango://127.0.0.1:{self._port}/{device}#dbase=no"

    def device(self, name: str) -> Any:
        return tango.DeviceProxy(self.address(name))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def restore(self) -> None:
        """Have it run and answer again, if it does not."""
        if self._process.poll() is not None:
            self.start()
        self.thaw()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """Return two: one for motors, one for the beam."""
    started = Server(), Server()
    yield started
    for server in started:
        server.kill()
