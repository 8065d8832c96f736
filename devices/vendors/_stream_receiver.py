"""A connection to a sender of ZeroMQ messages, that notices when the sender is gone."""

import threading
import time
from typing import Literal

import zmq
from zmq.utils.monitor import recv_monitor_message

from concertino import CameraError

Pattern = Literal["pull", "sub"]

_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
_SOCKETS = {"pull": zmq.PULL, "sub": zmq.SUB}
_SLICE_MS = 50


class StreamReceiver:
    """Receives messages of several parts; used by one thread at a time, closed by any.

    Parameters
    ----------
    address : str
        Where the sender listens, such as ``"tcp://dcu.facility:31001"``.
    pattern : {"pull", "sub"}
        ``"pull"`` for a sender that gives each message to one receiver (PUSH), ``"sub"`` for one that gives
        it to all (PUB).
    sender : str
        Who sends, for errors.
    """

    def __init__(self, address: str, pattern: Pattern, sender: str) -> None:
        self._address = address
        self._pattern = pattern
        self._sender = sender
        self._lock = threading.Lock()
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._gone = False

    def open(self, messages: int, within_s: float) -> None:
        """Connect, and wait until the sender knows it.

        Parameters
        ----------
        messages : int
            How many may wait here; a sender that gives more waits, or loses them.
        within_s : float
            How long it may take, in seconds.

        Raises
        ------
        CameraError
            If nobody answers.
        """
        self.close()
        with self._lock:
            self._gone = False
            socket: zmq.Socket[bytes] = zmq.Context.instance().socket(_SOCKETS[self._pattern])
            self._socket = socket
            socket.linger = 0
            socket.rcvhwm = messages
            socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
            socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
            if self._pattern == "sub":
                socket.setsockopt(zmq.SUBSCRIBE, b"")
            self._monitor = socket.get_monitor_socket(_EVENTS)
            try:
                socket.connect(self._address)
            except zmq.ZMQError as error:
                raise CameraError(
                    f"{self._sender} cannot be connected to ({error}). Give an address such as "
                    "'tcp://host:31001'."
                ) from error
            known = self._is_known(within_s)
        if not known:
            self.close()
            raise CameraError(
                f"{self._sender} did not answer within {within_s:g} s. Check the address, that the detector's "
                "stream is enabled, and that the network lets it through."
            )

    def receive(self, within_s: float) -> list[zmq.Frame] | None:
        """Wait for a message, and return its parts; None if none came, or it was closed.

        Raises
        ------
        CameraError
            If the sender is gone, and all that it had sent was received.
        """
        with self._lock:
            if self._socket is None:
                return None
            if not self._socket.poll(min(_SLICE_MS, round(1000 * within_s))):
                if not self._gone:
                    self._look()
                    return None
                # Said by another way than the messages, so look once more whether there are any.
                if not self._socket.poll(0):
                    raise CameraError(
                        f"{self._sender} closed the connection while more frames were due. Check that the "
                        "detector and its server are alive, and take the scan again."
                    )
            return self._socket.recv_multipart(copy=False)

    def close(self) -> None:
        """Disconnect; what was not received yet is given up."""
        with self._lock:
            if self._socket is None:
                return
            if self._monitor is not None:
                self._socket.disable_monitor()
                self._monitor.close(0)
            self._socket.close(0)
            self._socket = self._monitor = None

    def _is_known(self, within_s: float) -> bool:
        assert self._monitor is not None
        deadline_s = time.monotonic() + within_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            if self._monitor.poll(round(1000 * left_s)):
                event = recv_monitor_message(self._monitor)["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    return True
        return False

    def _look(self) -> None:
        """Notice whether the sender has left."""
        assert self._monitor is not None
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            self._gone = event == zmq.EVENT_DISCONNECTED or self._gone
