"""Each frame of a stream in another process, in order, once."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino._errors import FrameStreamError

from ._batch import FrameBatch
from ._connection import Connection
from ._flow import check_acknowledgement
from ._remote_channel import Hello, RemoteChannel
from ._ring import extend_digest
from ._wire import Message, ProtocolError, count_of, pixels, unpack_frames


@dataclass
class _Digests:
    """The digests after each of some consecutive frames."""

    start: int
    values: NDArray[np.uint64]

    @property
    def stop(self) -> int:
        return self.start + len(self.values)


class EveryChannel(RemoteChannel):
    """Reads each frame from the publisher's memory, or from the messages that bring it."""

    def __init__(
        self, connection: Connection, hello: Hello, resume: bool, timeout_s: float | None
    ) -> None:
        super().__init__(connection, hello, resume, timeout_s)
        self._arrived = self._read = self._safe = self._start
        self._digest = self._safe_digest = self._start_digest
        # Messages that were taken, of which the publisher does not know yet.
        self._owed = 0
        self._digests: deque[_Digests] = deque()
        self._aside: deque[tuple[Message, memoryview | None]] = deque()
        self._pending: FrameBatch | None = None

    def receive(self, max_frames: int | None, timeout_s: float | None) -> FrameBatch | None:
        if self._pending is None:
            self._pending = self._arriving(timeout_s)
        batch = self._pending
        if batch is None:
            return None
        if max_frames is not None and max_frames < len(batch):
            batch, self._pending = _part(batch, max_frames)
        else:
            self._pending = None
        self._read = batch.stop
        return batch

    def _arriving(self, timeout_s: float | None) -> FrameBatch | None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if self._owed:
            # Credit that no acknowledgement took along.
            self._connection.send("credit", messages=self._take_owed())
        while True:
            if self._aside:
                message, payload = self._aside.popleft()
            elif self._end is not None:
                self._check_end(self._end)
                return None
            else:
                received = self._next_message(deadline)
                if received is None:
                    raise self._late(timeout_s)
                message, payload = received
            if message["kind"] == "frames" and message["start"] == self._arrived:
                return self._batch(message, payload)
            # Frames that do not follow: what came before was lost with a connection. The publisher
            # sends it again once we have introduced ourselves again.

    def _batch(self, message: Message, payload: memoryview | None) -> FrameBatch:
        try:
            count = count_of(message)
            if payload is not None:
                frames = pixels(payload, count, self.shape, self.dtype)
            elif self._shared is not None:
                slot = message["start"] % self._capacity
                frames = self._shared[slot : slot + count]
            else:
                raise ProtocolError("frames came without pixels")
            batch = unpack_frames(message, frames)
        except (KeyError, TypeError, ValueError, ProtocolError) as error:
            raise self._malformed(error) from error
        self._owed += 1
        self._arrived = batch.stop
        self._published = max(self._published, batch.stop)
        digests = extend_digest(self._digest, batch.checksums)
        self._digest = int(digests[-1])
        self._digests.append(_Digests(batch.start, digests))
        return batch

    def _check_end(self, end: Message) -> None:
        failure = self._failure()
        if failure is not None:
            raise failure
        if (self._arrived, self._digest) != (end["count"], end["digest"]):
            raise FrameStreamError(
                f"Frame stream {self.label} ended with {end['count']} frames of digest "
                f"{end['digest']:016x}; {self._arrived} of digest {self._digest:016x} arrived."
            )

    def acknowledge(self, stop: int) -> None:
        check_acknowledgement(self.label, self._hello.name, stop, self._read, self._safe)
        if stop == self._safe:
            return
        while self._digests[0].stop < stop:
            self._digests.popleft()
        oldest = self._digests[0]
        self._safe = stop
        self._safe_digest = int(oldest.values[stop - 1 - oldest.start])
        self._say_safe()

    def _say_safe(self) -> None:
        self._connection.send(
            "acknowledge", stop=self._safe, digest=self._safe_digest, messages=self._take_owed()
        )

    def _take_owed(self) -> int:
        owed, self._owed = self._owed, 0
        return owed

    def _return(self) -> None:
        super()._return()
        self._owed = 0
        # The last acknowledgement may have been lost with the connection.
        self._say_safe()

    def _next_start(self) -> int | None:
        return self._arrived

    def _set_aside(self, message: Message, payload: memoryview | None) -> None:
        if message["kind"] == "end":
            self._end = message
        elif message["kind"] == "frames":
            self._aside.append((message, payload))


def _part(batch: FrameBatch, count: int) -> tuple[FrameBatch, FrameBatch]:
    """Return the first `count` frames of a batch, and the others."""
    halves = [
        FrameBatch(
            batch.start + (part.start or 0),
            batch.frames[part],
            batch.timestamps[part],
            batch.numbers[part],
            batch.checksums[part],
        )
        for part in (slice(0, count), slice(count, None))
    ]
    return halves[0], halves[1]
