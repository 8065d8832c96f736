"""Frames that wait in a stream's ring until it is known whether they are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._clocks import HostTimes

from ._stream import FrameStream


class PreTriggerBuffer:
    """Exposes into the ring of a stream without publishing: new frames overwrite the oldest.

    `publish` makes some of those that are still there the first frames of the stream, where they
    lie: nothing is copied. After that the stream is used as any other.

    Parameters
    ----------
    stream : FrameStream
        On which nothing was published yet.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.frames import FrameStream, PreTriggerBuffer
    >>> with FrameStream(shape=(2, 2), dtype=np.uint16, ring_bytes=4 * 8) as stream:
    ...     held = PreTriggerBuffer(stream)
    ...     for number in range(10):
    ...         held.slots(1)[...] = number
    ...         held.keep(1, [1000 * number], [number])
    ...     print(held.first, held.stop)
    ...     held.publish(8, 10)
    ...     print(stream.published, stream.discarded)
    6 10
    2 8
    """

    def __init__(self, stream: FrameStream) -> None:
        self._stream = stream
        self._ring = stream.ring
        self._stop = 0
        self._written = 0  # position after the last slot that was given
        self._dropped: deque[tuple[int, int]] = deque()
        self._let_go = 0

    @property
    def first(self) -> int:
        """Position of the oldest frame that is still in the ring, counted from the first exposed."""
        return max(0, self._stop - self._ring.capacity)

    @property
    def stop(self) -> int:
        """Position after the newest frame."""
        return self._stop

    def slots(self, count: int) -> NDArray[Any]:
        """Return slots for the next frames; the frames that were there are let go.

        Parameters
        ----------
        count : int
            Frames wanted. Fewer may be given: at least one, contiguous in memory.

        Returns
        -------
        ndarray, shape (n, height, width)
            Writable, ``1 <= n <= count``.

        Raises
        ------
        FrameStreamError
            If the stream has ended or failed.
        """
        self._stream.check_open()
        slots = self._ring.writable(self._stop, max(1, min(count, self._ring.capacity)))
        self._written = self._stop + len(slots)
        return slots

    def keep(
        self, count: int, timestamps: ArrayLike, numbers: ArrayLike, dropped: Sequence[int] = ()
    ) -> None:
        """Hold the first `count` of the slots given last.

        Parameters
        ----------
        count : int
            Frames written.
        timestamps, numbers : array_like of int, shape (count,)
            As for `FrameStream.commit`.
        dropped : sequence of int
            The camera's numbers of frames exposed and lost before these.
        """
        self._dropped.extend((self._stop, int(number)) for number in dropped)
        ring = self._ring
        if count:
            ring.sum_up(self._stop, count)
            place = ring.place(self._stop)
            ring.timestamps[place : place + count] = timestamps
            ring.numbers[place : place + count] = numbers
            self._stop += count
        while self._dropped and self._dropped[0][0] < self.first:
            self._dropped.popleft()
            self._let_go += 1
        # Until some are published nothing of it is kept.
        self._stream.discarded = self._stop + len(self._dropped) + self._let_go

    def position_after(self, time: HostTimes) -> int:
        """Return the position of the first frame held that was exposed after a time."""
        positions = np.arange(self.first, self._stop)
        times = self._ring.timestamps[positions % self._ring.capacity]
        return self.first + int(np.searchsorted(times, time.ns, side="right"))

    def publish(self, first: int, stop: int) -> None:
        """Make the frames at positions ``[first, stop)`` the first of the stream.

        All others are let go, and so are frames that the camera lost before the first.
        """
        ring, stream = self._ring, self._stream
        assert self.first <= first <= stop <= self._stop
        end = stop if stop < self._stop else stop + 1
        lost = [number for position, number in self._dropped if first < position < end]
        stream.discarded = (
            self._stop + len(self._dropped) + self._let_go - (stop - first) - len(lost)
        )
        stream.note_dropped(lost)
        ring.place_first(first)
        # Who maps the ring judges by it whether a frame, counted from the first, was written over.
        ring.warn(self._written - first)
        while stream.published < stop - first:
            start = stream.published
            _, slots = ring.readable(start, stop - first)
            stream.seal(
                slots.stop - slots.start, ring.timestamps[slots].copy(), ring.numbers[slots].copy()
            )
