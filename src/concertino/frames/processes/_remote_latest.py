"""The newest frame of a stream in another process, whenever it is asked for."""

from __future__ import annotations

import time

import numpy as np

from concertino._errors import FrameStreamError
from concertino.frames.core._batch import FrameBatch
from concertino.frames.core._messages import (
    End,
    Frames,
    FromPublisher,
    Newest,
    Nothing,
    ProtocolError,
    Welcome,
)
from concertino.frames.core._ring import frame_checksum
from concertino.frames.sockets._connection import Connection, Received

from ._hello import Hello
from ._remote_channel import RemoteChannel
from ._wire import pixels, unpack_frames

_ANSWER_S = 1.0
_COPY_ATTEMPTS = 3


class LatestChannel(RemoteChannel):
    """Asks for the newest frame at each read, so that none waits in a queue and grows old."""

    def __init__(self, connection: Connection, hello: Hello, welcome: Welcome) -> None:
        super().__init__(connection, hello, welcome)
        self._seen = -1
        self._request = 0
        self._last: FrameBatch | None = None

    def receive(self, max_frames: int | None, timeout_s: float | None) -> FrameBatch | None:
        """Return the newest frame; with a time-out of 0 the publisher's answer is waited for."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        wait = timeout_s is None or timeout_s > 0
        failed_copies = 0
        while self._end is None:
            self._request += 1
            inline = failed_copies >= _COPY_ATTEMPTS
            self._connection.send(Newest(self._request, self._seen, wait, inline))
            message, payload = self._answer(deadline, timeout_s)
            if isinstance(message, Nothing):
                raise self._late(timeout_s)
            if isinstance(message, Frames):
                batch = self._batch(message, payload)
                if batch is not None:
                    return batch
                # The slot was written again while it was copied: the newest frame is another.
                failed_copies += 1
        if self._last is not None and self._last.start > self._seen:
            self._seen = self._last.start
            return self._last
        failure = self._failure()
        if failure is not None:
            raise failure
        return None

    def _answer(self, deadline: float | None, timeout_s: float | None) -> Received:
        """Return the answer to the last request; older answers are out of date."""
        if deadline is not None:
            deadline = max(deadline, time.monotonic() + min(_ANSWER_S, self._timeout_s))
            if timeout_s:
                deadline = min(deadline, time.monotonic() + timeout_s)
        while True:
            received = self._next_message(deadline)
            if received is None:
                raise self._late(timeout_s)
            message, payload = received
            if isinstance(message, End):
                return received
            if isinstance(message, Frames | Nothing) and message.id == self._request:
                return received
            self._set_aside(message, payload)
            if deadline is not None and time.monotonic() >= deadline:
                raise self._late(timeout_s)

    def _batch(self, message: Frames, payload: memoryview | None) -> FrameBatch | None:
        try:
            if payload is not None:
                frames = pixels(payload, 1, self.shape, self.dtype)
            elif self._ring is not None:
                frames = self._ring.readable(message.start, message.start + 1)[0].copy()
            else:
                raise ProtocolError("A frame came without pixels.")
            batch = unpack_frames(message, frames)
        except ProtocolError as error:
            raise self._malformed(error) from error
        if payload is None and frame_checksum(frames[0]) != int(batch.checksums[0]):
            return None
        self._seen = batch.start
        return batch

    def _next_start(self) -> int | None:
        return None

    def _return(self) -> None:
        super()._return()
        self._connection.send(Newest(self._request, self._seen, True, False))

    def _set_aside(self, message: FromPublisher, payload: memoryview | None) -> None:
        if isinstance(message, End):
            self._end = message
        elif isinstance(message, Frames) and message.id < 0:
            # The publisher's last word before it left.
            try:
                octets = memoryview(b"") if payload is None else payload
                frames = np.array(pixels(octets, 1, self.shape, self.dtype))
                self._last = unpack_frames(message, frames)
            except ProtocolError as error:
                raise self._malformed(error) from error

    def acknowledge(self, stop: int) -> None:
        raise FrameStreamError(
            f"Subscriber {self._hello.name!r} of frame stream {self.label} acknowledged frames up to "
            f"{stop}; it takes only the latest, which needs no acknowledgement."
        )
