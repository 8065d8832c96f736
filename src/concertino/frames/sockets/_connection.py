"""A subscriber's connection to a publisher in another process: messages, and whether it is alive."""

from __future__ import annotations

import math
import os
import threading
import time

import zmq

from concertino._errors import FrameStreamError
from concertino.frames.core._messages import (
    Alive,
    FromPublisher,
    Message,
    ProtocolError,
    from_publisher,
    pack,
)

from ._handshake import Handshake, Peering

_BEAT_S = 1.0
_SLICE_S = 0.05
_LAST_LOOK_MS = 200
_EVENT_S = 0.2

Received = tuple[FromPublisher, memoryview | None]


class Connection:
    """Sends and receives messages on one DEALER socket, and asks the publisher for signs of life.

    Nothing here blocks: what cannot be sent or received raises within its time.

    Parameters
    ----------
    socket : zmq.Socket
        Connected.
    peering : Peering
        With whom it speaks.
    """

    def __init__(self, socket: zmq.Socket[bytes], peering: Peering) -> None:
        self._socket = socket
        self._handshake = Handshake(socket, peering)
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

    def send(self, message: Message) -> None:
        """Send a message.

        Raises
        ------
        FrameStreamError
            If ZeroMQ gave the connection up, so that it can never leave.
        """
        with self._lock:
            if self._socket.closed or self._shut_out:
                return
            try:
                self._socket.send(pack(message), zmq.NOBLOCK)
                return
            except zmq.Again:
                self._handshake.look(_EVENT_S)
        self._give_up()

    def get(self, wait_s: float | None) -> Received | None:
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

    def found(self) -> str:
        """Say what was found at the address, when nobody answered."""
        with self._lock:
            if not self._socket.closed:
                self._handshake.look()
        return self._handshake.found()

    def close(self) -> None:
        """Close the socket; what was sent still leaves."""
        with self._lock:
            if not self._socket.closed:
                self._handshake.close()
            self._socket.close()

    def _poll(self, wait_s: float) -> Received | None:
        with self._lock:
            if self._socket.closed:
                raise FrameStreamError(
                    f"Frame stream {self.label} was left, and nothing can be read; subscribe again "
                    "to read on."
                )
            if not self._socket.poll(math.ceil(1000 * wait_s)):
                return None
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None
        self._asked_s = None
        if len(frames) > 2:
            raise ProtocolError(f"A message of {len(frames)} parts arrived; there are one or two.")
        message = from_publisher(frames[0].buffer)
        return message, frames[1].buffer if len(frames) == 2 else None

    def _keep_alive(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            if not self._socket.closed:
                self._handshake.look()
        if self._handshake.problem:
            self._give_up()
        if now_s - self._said_s < self._beat_s:
            return
        self._said_s = now_s
        self.send(Alive())
        if self.memory is not None and not os.path.lexists(self.memory):
            self._find_dead(f"The publisher of frame stream {self.label} is gone")
        if self._asked_s is None:
            self._asked_s = now_s
        elif now_s - self._asked_s > self.timeout_s:
            self._find_dead(
                f"The publisher of frame stream {self.label} gave no sign of life for "
                f"{now_s - self._asked_s:.1f} s"
            )

    def _give_up(self) -> None:
        self._shut_out = self.lost = True
        raise FrameStreamError(self._handshake.found())

    def _find_dead(self, what: str) -> None:
        # Its last words may just be arriving.
        with self._lock:
            if self._socket.poll(_LAST_LOOK_MS):
                return
        self.lost = True
        raise FrameStreamError(
            f"{what}: its process died, was stopped or cannot be reached. Frames that were received "
            "are whole; see in the log of that process why it ended."
        )
