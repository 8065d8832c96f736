"""What became of the attempts to reach a publisher, as its ZeroMQ socket tells."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from ._addresses import parse_address
from ._keys import KEYS_VARIABLE
from ._monitor import monitor

_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
#: ZeroMQ that means to connect anew says so at once; it does not where the other side broke its protocol.
_RETRY_S = 2.0
_MECHANISM_MISMATCH = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)


@dataclass(frozen=True)
class Peering:
    """With whom a subscriber would speak.

    Parameters
    ----------
    address : str
        Of the stream.
    encrypted : bool
        Whether it speaks with keys.
    not_allowed : str
        What to say when the publisher does not allow its key.
    """

    address: str
    encrypted: bool = False
    not_allowed: str = ""


class Handshake:
    """Watches one socket that connects.

    Parameters
    ----------
    socket : zmq.Socket
        Before it connects, so that nothing is missed.
    peering : Peering
        With whom.

    Attributes
    ----------
    problem : str
        Why no publisher will ever be reached by this socket; empty when it may.
    """

    def __init__(self, socket: zmq.Socket[bytes], peering: Peering) -> None:
        self._socket = socket
        self._peering = peering
        self._monitor = monitor(socket, _EVENTS)
        self._connected = False
        self._spoken = False
        self._failed = False
        self._cut = False
        self._dropped_s: float | None = None
        self.problem = ""

    def look(self, wait_s: float = 0.0) -> None:
        """Take note of what happened; wait for it at most so long, in seconds."""
        if wait_s and not self._monitor.poll(int(1000 * wait_s)):
            return
        with suppress(zmq.Again):
            while True:
                event = recv_monitor_message(self._monitor, zmq.NOBLOCK)
                self._note(event["event"], event["value"])
        given_up = self._dropped_s is not None and time.monotonic() - self._dropped_s > _RETRY_S
        if given_up and not self.problem:
            self.problem = self._nonsense()

    def found(self) -> str:
        """Say what was found at the address, when nobody answered."""
        if self.problem:
            return self.problem
        if self._dropped_s is not None:
            return self._nonsense()
        if self._spoken:
            return (
                "A ZeroMQ program is there that does not answer: its process is stopped, or it serves "
                "no frame stream; compare the address with the one in the descriptor."
            )
        if self._cut:
            hint = (
                "its key is not the one in the address, or it has no keys"
                if self._peering.encrypted
                else "a tunnel whose publisher is away, or a program that serves no frame stream"
            )
            return f"Somebody listens there, but cut the connection before a word: perhaps {hint}."
        if self._connected:
            return (
                "The connection was made, but nothing was said: the process there is stopped, or it "
                "serves no frame stream."
            )
        where = parse_address(self._peering.address)
        if not where.is_known:
            return f"This computer knows no host {where.host}. Check the name, or use the host's IP address."
        found = "It has ended, or its process or computer cannot be reached: nothing listens there."
        if where.is_local:
            found += (
                " Only its own computer reaches it at that address; for others have it published at "
                "stream_address='tcp://HOST:0'."
            )
        return found

    def close(self) -> None:
        """Watch no more; the socket must be open."""
        self._socket.disable_monitor()
        self._monitor.close(0)

    def _note(self, event: int, value: int) -> None:
        if event == zmq.EVENT_CONNECTED:
            self._connected, self._spoken, self._failed = True, False, False
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._spoken, self._cut = True, False
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            # The line was cut; ZeroMQ connects anew.
            self._cut = self._failed = True
        elif event == zmq.EVENT_CONNECT_RETRIED:
            self._dropped_s = None
        elif self.problem:
            pass
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self.problem = self._peering.not_allowed or self._keys_differ()
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            # ZeroMQ gives such a connection up for good: nothing can be sent any more.
            self.problem = (
                self._keys_differ() if value == _MECHANISM_MISMATCH else self._no_stream()
            )
        elif event == zmq.EVENT_DISCONNECTED:
            if not (self._failed or self._spoken):
                self.problem = self._no_stream()
            self._dropped_s = time.monotonic()
            self._spoken = False

    def _keys_differ(self) -> str:
        if self._peering.encrypted:
            return (
                f"Whoever listens at {self._peering.address} does not encrypt, though the address has "
                f"a key. Start the publisher with {KEYS_VARIABLE} set, and use the address it then shows."
            )
        return (
            f"Whoever listens at {self._peering.address} encrypts, but the address has no key. Use the "
            "address as the publisher shows it, with # and its key, and set "
            f"{KEYS_VARIABLE} to a folder of keys that it allows."
        )

    def _no_stream(self) -> str:
        return (
            f"At {self._peering.address} listens another program, not a frame stream: it cannot be shaken "
            "hands with. Use the address in the descriptor, and check what listens at that port."
        )

    def _nonsense(self) -> str:
        return (
            f"Whoever listens at {self._peering.address} sent what no frame stream sends, and the "
            "connection was given up. Check what listens at that port."
        )
