"""The session's end of the line to a guard: a child process, or one on another computer."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from concertino._errors import ParameterError

_END_S = 2.0
_CONNECT_S = 3.0
_ADDRESS = re.compile(r"(?:tcp://)?(?P<host>[^:/]+|\[[^]]+\]):(?P<port>\d{1,5})")


class Link(Protocol):
    """A line to a guard."""

    pid: int | None

    def send(self, line: bytes) -> None:
        """Send a line, or nothing when the guard takes none; never waits."""

    def lines(self) -> Iterator[bytes]:
        """Yield what the guard says until it ends."""

    def cut(self) -> None:
        """End it by force."""

    def ended(self) -> str:
        """Clear up after the last line; return how it ended, as a part of a sentence."""


class ChildLink:
    """Starts the guard as a process of its own.

    Raises
    ------
    OSError
        If that is not possible.
    """

    def __init__(self) -> None:
        # Of a session of its own: what the terminal sends to this process group does not reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "concertino.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        self.pid: int | None = self._process.pid
        self._lock = threading.Lock()
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    def send(self, line: bytes) -> None:
        """Send a line; nothing when the process has ended, or stands still and its pipe is full."""
        with self._lock, suppress(OSError, ValueError):
            assert self._process.stdin is not None
            os.write(self._process.stdin.fileno(), line)

    def lines(self) -> Iterator[bytes]:
        """Yield what the process says."""
        assert self._process.stdout is not None
        with self._process.stdout as said:
            buffer = b""
            while part := said.read(4096):
                *lines, buffer = (buffer + part).split(b"\n")
                yield from lines

    def cut(self) -> None:
        """Kill it."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)

    def ended(self) -> str:
        """Return its exit code."""
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.cut()
            code = self._process.wait(_END_S)
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.close()
        return f"The guard process ended with {code}"


class NetworkLink:
    """A connection to ``concertino guard`` on another computer.

    Parameters
    ----------
    address : str
        ``tcp://host:port``.

    Raises
    ------
    OSError
        If nobody listens there.
    """

    pid: int | None = None

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket = socket.create_connection(host_and_port(address), _CONNECT_S)
        self._socket.settimeout(None)
        self._lock = threading.Lock()

    def send(self, line: bytes) -> None:
        """Send a line; nothing when the network takes none."""
        with self._lock, suppress(OSError, ValueError):
            self._socket.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def lines(self) -> Iterator[bytes]:
        """Yield what the guard says."""
        buffer = b""
        with suppress(OSError):
            while part := self._socket.recv(4096):
                *lines, buffer = (buffer + part).split(b"\n")
                yield from lines

    def cut(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def ended(self) -> str:
        """Close the connection and say so."""
        with self._lock:
            self._socket.close()
        return f"The connection to the guard at {self._address} broke"


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of ``tcp://host:port``.

    Raises
    ------
    ParameterError
        If it has not this form.

    Examples
    --------
    >>> host_and_port("tcp://beamline-pc:60650")
    ('beamline-pc', 60650)
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise ParameterError(
            f"guard: {address!r} was given as the address of a guard; give tcp://HOST:PORT."
        )
    return match["host"].strip("[]"), int(match["port"])
