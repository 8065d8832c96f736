"""Connections to a publisher that are not admitted yet: they may neither send much nor stay."""

from __future__ import annotations

import logging
import os
import socket as sockets
import struct
import time
from contextlib import suppress
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from ._monitor import monitor

_LOG = logging.getLogger(__name__)
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
#: Keys are exchanged and hello is said in much less.
_STRANGER_BYTES = 2**20
_STRANGERS = 64
_PATIENCE_S = 10.0
#: Of what the system tells about a TCP connection (Linux 4.1): where the count of bytes received is.
_INFO_BYTES, _RECEIVED = 136, 128


@dataclass
class _Stranger:
    """A connection, on a file descriptor of our own."""

    line: sockets.socket
    since_s: float

    def received(self) -> int:
        """Return the bytes that came; 0 where the system does not tell."""
        with suppress(OSError):
            info = self.line.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _INFO_BYTES)
            if len(info) == _INFO_BYTES:
                return int(struct.unpack_from("=Q", info, _RECEIVED)[0])
        return 0


def _is_connected(line: sockets.socket) -> bool:
    return not line.getsockopt(sockets.SOL_SOCKET, sockets.SO_ACCEPTCONN)


class Door:
    """Watches the connections to one ROUTER socket until they are admitted, and cuts those off that never are.

    ZeroMQ bounds a message but not how many parts it has, of which all wait in memory for the last one: that
    is why bytes are counted. Used by one thread.

    Parameters
    ----------
    socket : zmq.Socket
        Before it is bound.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self.monitor = monitor(socket, _EVENTS)
        self._strangers: dict[int, _Stranger] = {}
        self._open = False
        #: How long one may stay, in seconds: an admitted one whose line was cut says hello again by then.
        self.patience_s = _PATIENCE_S

    @property
    def waiting(self) -> bool:
        """Whether somebody is there who is not admitted."""
        return bool(self._strangers)

    def be_patient(self, timeout_s: float) -> None:
        """Give those whose line was cut as much time as subscribers may be silent, in seconds."""
        self.patience_s = max(_PATIENCE_S, timeout_s)

    def look(self) -> None:
        """Take note of who came and left; cut off who sent too much or stayed too long."""
        with suppress(zmq.Again):
            while True:
                event = recv_monitor_message(self.monitor, zmq.NOBLOCK)
                number = int(event["value"])
                self.forget(number)
                if event["event"] == zmq.EVENT_ACCEPTED and not self._open:
                    self._note(number)
        now_s = time.monotonic()
        for number, stranger in list(self._strangers.items()):
            received = stranger.received()
            if received > _STRANGER_BYTES:
                self._cut(number, f"sent {received} bytes without being admitted")
            elif now_s - stranger.since_s > self.patience_s:
                self._cut(number, f"was not admitted within {self.patience_s:g} s")
        while len(self._strangers) > _STRANGERS:
            self._cut(
                next(iter(self._strangers)), f"was one of more than {_STRANGERS} not admitted"
            )

    def admit(self, number: int) -> None:
        """Watch a connection no more; all are let in when it is not known which one it is (negative)."""
        if number < 0:
            self.leave_open()
        self.forget(number)

    def forget(self, number: int) -> None:
        """Watch a connection no more."""
        stranger = self._strangers.pop(number, None)
        if stranger is not None:
            stranger.line.close()

    def leave_open(self) -> None:
        """Watch nobody from now on: it cannot be told on which connection a message came."""
        self._open = True
        for number in list(self._strangers):
            self.forget(number)

    def close(self) -> None:
        """Watch no more; the socket must be open."""
        self.leave_open()
        self._socket.disable_monitor()
        self.monitor.close(0)

    def _note(self, number: int) -> None:
        # The connection may be gone already, and its number that of anything else by now.
        try:
            copy = os.dup(number)
        except OSError:
            return
        try:
            line = sockets.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
            return
        if self._is_ours(line):
            self._strangers[number] = _Stranger(line, time.monotonic())
        else:
            line.close()

    def _is_ours(self, line: sockets.socket) -> bool:
        """Whether a socket is a connection that was made to where this one listens."""
        with suppress(OSError, ValueError, zmq.ZMQError):
            if line.type != sockets.SOCK_STREAM or not _is_connected(line):
                return False
            endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
            if line.family in (sockets.AF_INET, sockets.AF_INET6):
                return int(line.getsockname()[1]) == int(endpoint.rpartition(":")[2])
        return False

    def _cut(self, number: int, why: str) -> None:
        stranger = self._strangers[number]
        with suppress(OSError):
            _LOG.warning("A connection from %s %s; it was cut.", stranger.line.getpeername(), why)
        with suppress(OSError):
            # What it still sends is answered by a reset.
            at_once = struct.pack("ii", 1, 0)
            stranger.line.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, at_once)
            stranger.line.shutdown(sockets.SHUT_RDWR)
        self.forget(number)
