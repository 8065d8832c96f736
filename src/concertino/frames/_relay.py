"""Carries frame streams from one network into another."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from concertino._errors import FrameStreamError

from ._routes import network_place

_LOG = logging.getLogger(__name__)
_BUFFER_BYTES = 2**20
_CONNECT_S = 5.0
_JOIN_S = 5.0
#: Each costs two threads and two buffers.
_MOST_CONNECTIONS = 100
#: A computer that is gone without a word is noticed after so long, in seconds.
_IDLE_S, _ASK_AGAIN_S, _ASKED = 10, 5, 3


class Relay:
    """Carries every connection that reaches it on to a publisher, and back what the publisher says.

    It holds no frame and acknowledges none: credit, acknowledgements, claims and the end pass through,
    so that the publisher's account is that of the subscribers beyond. What is encrypted stays so; the keys are
    theirs. When it dies the subscribers' lines are cut, and they go on when it is back in time. At most 100
    connections are carried at once; more are turned away.

    Parameters
    ----------
    publisher : str
        Where the publisher listens: ``tcp://host:port``.
    address : str
        Where subscribers reach the relay: ``tcp://host:port``; port 0 takes a free one.

    Attributes
    ----------
    address : str
        Where it is reached.

    Raises
    ------
    FrameStreamError
        If an address is malformed, or cannot be listened at.

    Examples
    --------
    >>> from concertino.frames import Relay
    >>> with Relay("tcp://127.0.0.1:5555", "tcp://127.0.0.1:0") as relay:
    ...     print(relay.address.rpartition(":")[0])
    tcp://127.0.0.1
    """

    def __init__(self, publisher: str, address: str) -> None:
        self._publisher = _split(network_place(publisher))
        free = address.endswith(":0")
        host, port = _split(network_place(address[:-1] + "1" if free else address))
        host = "" if host == "*" else host
        try:
            self._listener = socket.create_server(
                (host, 0 if free else port),
                family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            )
        except OSError as error:
            raise FrameStreamError(
                f"A relay cannot listen at {address}: {error.strerror or error}."
            ) from error
        shown = host or socket.gethostname()
        self.address = f"tcp://{shown}:{self._listener.getsockname()[1]}"
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._carried = 0
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    @property
    def carried(self) -> int:
        """Bytes that were carried, in both directions."""
        return self._carried

    @property
    def connections(self) -> int:
        """Subscribers that are connected now."""
        with self._lock:
            return len(self._ends) // 2

    def close(self) -> None:
        """Cut all connections and listen no more."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        carriers: list[threading.Thread] = []
        while not self._closed:
            try:
                near, peer = self._listener.accept()
            except OSError:
                break
            carriers = [thread for thread in carriers if thread.is_alive()]
            if len(carriers) >= _MOST_CONNECTIONS:
                _LOG.warning(
                    "%s is turned away: %d are connected already", peer[0], _MOST_CONNECTIONS
                )
                near.close()
                continue
            carrier = threading.Thread(
                target=self._serve, args=(near, peer[0]), name=f"relay {peer[0]}", daemon=True
            )
            carrier.start()
            carriers.append(carrier)
        for thread in carriers:
            thread.join(_JOIN_S)

    def _serve(self, near: socket.socket, who: str) -> None:
        """Connect to the publisher for one subscriber; carry until one of them leaves."""
        with near:
            try:
                far = socket.create_connection(self._publisher, timeout=_CONNECT_S)
            except OSError as error:
                # The subscriber tries again by itself.
                host, port = self._publisher
                _LOG.info("%s: no publisher at %s:%s: %s", who, host, port, error)
                return
            with far:
                for end in (near, far):
                    end.settimeout(None)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _keep_alive(end)
                with self._lock:
                    self._ends |= {near, far}
                _LOG.info("%s is connected", who)
                back = threading.Thread(
                    target=self._carry, args=(far, near), name=f"relay to {who}", daemon=True
                )
                back.start()
                self._carry(near, far)
                back.join()
                with self._lock:
                    self._ends -= {near, far}
                _LOG.info("%s has left", who)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        with suppress(OSError):
            while not self._closed and (count := source.recv_into(buffer)):
                sink.sendall(buffer[:count])
                with self._lock:
                    self._carried += count
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _keep_alive(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_AGAIN_S)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _ASKED)


def _split(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)
