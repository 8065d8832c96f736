"""Each frame of a stream in another process, in order, once."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino._errors import FrameStreamError
from concertino.frames.core._batch import FrameBatch
from concertino.frames.core._flow import check_acknowledgement
from concertino.frames.core._messages import (
    Acknowledge,
    Credit,
    End,
    Frames,
    FromPublisher,
    More,
    ProtocolError,
    Wait,
    Welcome,
)
from concertino.frames.core._ring import extend_digest
from concertino.frames.sockets._connection import Connection, Received

from ._hello import Hello
from ._remote_channel import RemoteChannel
from ._wire import count_of, pixels, unpack_frames

_SHORT_NAP_S = 50e-6
_WATCH_S = 1e-3
_HEARD_AT_ONCE = 64
_REASON_S = 2.0


@dataclass
class _Digests:
    """The digests after each of some consecutive frames."""

    start: int
    values: NDArray[np.uint64]

    @property
    def stop(self) -> int:
        return self.start + len(self.values)


class EveryChannel(RemoteChannel):
    """Hands on frames, and knows the digest of all that may be acknowledged."""

    def __init__(self, connection: Connection, hello: Hello, welcome: Welcome) -> None:
        super().__init__(connection, hello, welcome)
        self._arrived = self._read = self._safe = welcome.start
        self._digest = self._safe_digest = welcome.digest
        self._digests: deque[_Digests] = deque()
        self._pending: FrameBatch | None = None

    def receive(self, max_frames: int | None, timeout_s: float | None) -> FrameBatch | None:
        if self._pending is None:
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            self._pending = self._arriving(deadline, timeout_s)
            if self._pending is None:
                return None
            self._note(self._pending)
        batch = self._pending
        if max_frames is not None and max_frames < len(batch):
            batch, self._pending = _split(batch, max_frames)
        else:
            self._pending = None
        self._read = batch.stop
        return batch

    @abstractmethod
    def _arriving(self, deadline: float | None, timeout_s: float | None) -> FrameBatch | None:
        """Return the frames that follow, or None at the end."""

    def _note(self, batch: FrameBatch) -> None:
        self._arrived = batch.stop
        self._published = max(self._published, batch.stop)
        digests = extend_digest(self._digest, batch.checksums)
        self._digest = int(digests[-1])
        self._digests.append(_Digests(batch.start, digests))

    def _check_end(self, end: End) -> None:
        failure = self._failure()
        if failure is not None:
            raise failure
        if (self._arrived, self._digest) != (end.count, end.digest):
            raise FrameStreamError(
                f"Frame stream {self.label} ended with {end.count} frames of digest "
                f"{end.digest:016x}; {self._arrived} of digest {self._digest:016x} arrived. Read the frames from where they are stored."
            )

    def acknowledge(self, stop: int) -> None:
        check_acknowledgement(self.label, self._hello.name, stop, self._read, self._safe)
        if stop == self._safe:
            return
        self._check_intact(self._safe)
        while self._digests[0].stop < stop:
            self._digests.popleft()
        oldest = self._digests[0]
        self._safe = stop
        self._safe_digest = int(oldest.values[stop - 1 - oldest.start])
        self._say_safe()

    @property
    def intact(self) -> bool:
        if self._ring is None or self._safe >= self._read:
            return not self._given_up
        return not self._given_up and self._ring.intact(self._safe)

    def _check_intact(self, first: int) -> None:
        """Refuse frames that others may have been written over while they were looked at."""
        if self._ring is None or self._ring.intact(first):
            return
        # It was given up before, and the message that says why is on its way, which raises.
        deadline = time.monotonic() + _REASON_S
        while self._next_message(deadline) is not None:
            pass
        self._given_up = True
        raise FrameStreamError(
            f"Frames from {first} on of frame stream {self.label} were overwritten while "
            f"{self._hello.name!r} had not acknowledged them: the publisher has given it up. Throw "
            "away what was computed from them, and acknowledge sooner or give the stream a larger "
            "ring_bytes."
        )

    def _say_safe(self) -> None:
        self._connection.send(Acknowledge(self._safe, self._safe_digest, self._take_owed()))

    def _take_owed(self) -> int:
        """Return how many messages with frames were taken since the last time."""
        return 0

    def _return(self) -> None:
        super()._return()
        self._take_owed()
        # The last acknowledgement may have been lost with the connection.
        self._say_safe()

    def _received(self) -> int:
        return self._read

    def _next_start(self) -> int | None:
        return self._arrived

    def _set_aside(self, message: FromPublisher, payload: memoryview | None) -> None:
        if isinstance(message, End):
            self._end = message


class SharedChannel(EveryChannel):
    """Finds the frames in the publisher's ring; asks only when there are none."""

    def __init__(self, connection: Connection, hello: Hello, welcome: Welcome) -> None:
        super().__init__(connection, hello, welcome)
        self._asked = False

    def _arriving(self, deadline: float | None, timeout_s: float | None) -> FrameBatch | None:
        while True:
            for _ in range(_HEARD_AT_ONCE):
                if not self._connection.pending:
                    break
                self._hear(deadline=0.0)
            batch = self._find()
            if batch is not None:
                return batch
            if self._end is not None:
                self._check_end(self._end)
                return None
            if deadline is not None and time.monotonic() >= deadline:
                raise self._late(timeout_s)
            if self._watch(deadline):
                continue
            if not self._asked:
                self._connection.send(Wait(self._arrived))
                self._asked = True
            if not self._hear(deadline) and self._find() is None:
                raise self._late(timeout_s)

    def _hear(self, deadline: float | None) -> bool:
        received = self._next_message(deadline)
        if received is not None and isinstance(received[0], More):
            self._asked = False
        return received is not None

    def _find(self) -> FrameBatch | None:
        assert self._ring is not None
        published = self._ring.published
        if published < 0:
            raise FrameStreamError(
                f"Frame stream {self.label} is over: its ring serves another stream by now. "
                f"{self._arrived} frames were received; subscribe to the new stream for more."
            )
        self._published = published
        if published <= self._arrived:
            return None
        frames = self._ring.readable(self._arrived, published)
        self._check_intact(self._arrived)
        return FrameBatch(self._arrived, *frames)

    def _watch(self, deadline: float | None) -> bool:
        """Look into the ring for a moment: in a quick stream the next frame is almost there."""
        assert self._ring is not None
        begin_s = time.monotonic()
        stop_s = begin_s + _WATCH_S if deadline is None else min(begin_s + _WATCH_S, deadline)
        while time.monotonic() < stop_s:
            time.sleep(_SHORT_NAP_S)
            if self._ring.published != self._arrived or self._connection.pending:
                return True
        return False

    def _return(self) -> None:
        super()._return()
        self._connection.send(Wait(self._arrived))
        self._asked = True


class WireChannel(EveryChannel):
    """Gets the frames in messages, against credit."""

    def __init__(self, connection: Connection, hello: Hello, welcome: Welcome) -> None:
        super().__init__(connection, hello, welcome)
        # Messages that were taken, of which the publisher does not know yet.
        self._owed = 0
        self._aside: deque[Received] = deque()

    def _arriving(self, deadline: float | None, timeout_s: float | None) -> FrameBatch | None:
        if self._owed:
            # Credit that no acknowledgement took along.
            self._connection.send(Credit(self._take_owed()))
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
            if isinstance(message, Frames) and message.start == self._arrived:
                return self._batch(message, payload)
            # Frames that do not follow: what came before was lost with a connection. The publisher
            # sends it again once we have introduced ourselves again.
            if deadline is not None and time.monotonic() >= deadline:
                raise self._late(timeout_s)

    def _batch(self, message: Frames, payload: memoryview | None) -> FrameBatch:
        try:
            if payload is None:
                raise ProtocolError("Frames came without pixels.")
            frames = pixels(payload, count_of(message), self.shape, self.dtype)
            batch = unpack_frames(message, frames)
        except ProtocolError as error:
            raise self._malformed(error) from error
        self._owed += 1
        return batch

    def _take_owed(self) -> int:
        owed, self._owed = self._owed, 0
        return owed

    def _set_aside(self, message: FromPublisher, payload: memoryview | None) -> None:
        super()._set_aside(message, payload)
        if isinstance(message, Frames):
            self._aside.append((message, payload))


def _split(batch: FrameBatch, count: int) -> tuple[FrameBatch, FrameBatch]:
    """Return the first `count` frames of a batch, and the others."""
    halves = [
        FrameBatch(
            batch.start + (half.start or 0),
            batch.frames[half],
            batch.timestamps[half],
            batch.numbers[half],
            batch.checksums[half],
        )
        for half in (slice(0, count), slice(count, None))
    ]
    return halves[0], halves[1]
