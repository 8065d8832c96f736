"""A subscriber's connection to a publisher in another process: messages, and whether it is alive."""

from __future__ import annotations

import math
import os
import threading
import time

import zmq

from concertino._errors import FrameStreamError

from ._wire import Message, ProtocolError, pack, unpack

_BEAT_S = 1.0
_SLICE_S = 0.05
_LAST_LOOK_MS = 200


class Connection:
    """Sends and receives messages on one DEALER socket, and asks the publisher for signs of life.

    Parameters
    ----------
    socket : zmq.Socket
        Connected.
    refused : str, optional
        What to say when the publisher does not allow the socket's key.
    """

    def __init__(self, socket: zmq.Socket[bytes], refused: str = "") -> None:
        self._socket = socket
        self._refused = refused
        # Only those with keys can be refused before a word was said.
        self._monitor = (
            socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH) if refused else None
        )
        # Reading belongs to one thread; saying that one failed may come from another.
        self._lock = threading.Lock()
        self._beat_s = _BEAT_S
        self._asked_s: float | None = None
        self._said_s = time.monotonic()
        self._shut_out = False
        self.label = "?"
        self.timeout_s = math.inf
        self.memory: str | None = None
        self.lost = False

    def attend(self, label: str, timeout_s: float, memory: str | None) -> None:
        """From now on, find the publisher dead when it is silent for longer than its time-out."""
        self.label, self.timeout_s, self.memory = label, timeout_s, memory
        self._beat_s = min(_BEAT_S, timeout_s / 4)

    @property
    def pending(self) -> bool:
        """Whether a message is there."""
        with self._lock:
            return self._socket.closed or bool(int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN)

    def send(self, kind: str, **fields: object) -> None:
        """Send a message."""
        with self._lock:
            if not self._socket.closed and not self._shut_out:
                self._socket.send(pack(kind, **fields))

    def get(self, wait_s: float | None) -> tuple[Message, memoryview | None] | None:
        """Return the next message and its pixels, or None if none came.

        Parameters
        ----------
        wait_s : float or None
            How long to wait, in seconds; None for as long as the publisher lives.

        Raises
        ------
        FrameStreamError
            If the publisher is dead, or what came is no message.
        """
        deadline = math.inf if wait_s is None else time.monotonic() + wait_s
        while True:
            left_s = deadline - time.monotonic()
            received = self._poll(min(max(left_s, 0.0), _SLICE_S))
            if received is not None:
                return received
            self._keep_alive()
            if left_s <= 0:
                return None

    def close(self) -> None:
        """Close the socket; what was sent still leaves."""
        with self._lock:
            if self._monitor is not None and not self._socket.closed:
                self._socket.disable_monitor()
                self._monitor.close()
            self._socket.close()

    def _poll(self, wait_s: float) -> tuple[Message, memoryview | None] | None:
        with self._lock:
            if self._socket.closed:
                raise FrameStreamError(f"Frame stream {self.label} was left; nothing can be read.")
            if not self._socket.poll(math.ceil(1000 * wait_s)):
                return None
            frames = self._socket.recv_multipart(copy=False)
        self._asked_s = None
        if len(frames) > 2:
            raise ProtocolError(f"A message of {len(frames)} parts arrived; there are one or two.")
        message = unpack(frames[0].buffer)
        return message, frames[1].buffer if len(frames) == 2 else None

    def _keep_alive(self) -> None:
        now_s = time.monotonic()
        if self._monitor is not None and self._monitor.poll(0):
            self._shut_out = self.lost = True
            raise FrameStreamError(self._refused)
        if now_s - self._said_s < self._beat_s:
            return
        self._said_s = now_s
        self.send("alive")
        if self.memory is not None and not os.path.lexists(self.memory):
            self._find_dead(f"The publisher of frame stream {self.label} is gone")
        if self._asked_s is None:
            self._asked_s = now_s
        elif now_s - self._asked_s > self.timeout_s:
            self._find_dead(
                f"The publisher of frame stream {self.label} gave no sign of life for "
                f"{now_s - self._asked_s:.1f} s"
            )

    def _find_dead(self, what: str) -> None:
        # Its last words may just be arriving.
        with self._lock:
            if self._socket.poll(_LAST_LOOK_MS):
                return
        self.lost = True
        raise FrameStreamError(
            f"{what}: its process died, was stopped or cannot be reached. Frames that were received "
            "are whole."
        )
