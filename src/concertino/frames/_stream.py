"""The publisher's side of a frame stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from concertino._errors import FrameStreamError

from ._direct import hide, show
from .core._batch import Claim
from .core._flow import Flow
from .core._ledger import Ledger
from .core._ring import Ring
from .core._shared_ring import ring_for
from .processes._tcp import serve

_POLL_S = 0.1


class FrameStream:
    """Publishes the frames of one camera for one stream of one run.

    One thread publishes. Frames go through a ring of fixed size: the publisher waits when a
    subscriber that wants every frame is a whole ring behind, so none is ever lost silently.

    Parameters
    ----------
    address : str
        Where it listens, ``tcp://host:port/name``: by default for the processes of this computer only. Port 0
        takes a free one; a name ``*``, or none at a free port, becomes one that nobody guesses.
    shape : tuple of int
        Frame shape (height, width) in pixels.
    dtype : dtype
        Type of a pixel.
    name : str, optional
        Name in messages; the address by default.
    ring_bytes : int
        Memory for frames in bytes. At least two frames are held.
    timeout_s : float
        How long a subscriber that has frames to handle may give no sign of life, in seconds.
    patience_s : float, optional
        How long in all a subscriber that is not necessary may hold up the publisher before it is detached, in seconds;
        a third of `timeout_s` by default.
    ring : Ring, optional
        A ring to use again, of a stream that is closed, if it fits. Of a `Ring` nothing is lent to other
        processes: the pixels travel to all of them.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.frames import FrameStream, subscribe
    >>> with FrameStream(shape=(4, 6), dtype=np.uint16) as stream:
    ...     reader = subscribe(stream.address, name="reader")
    ...     stream.publish(np.ones((3, 4, 6), np.uint16))
    ...     batch = reader.read()
    ...     reader.acknowledge(batch.stop)
    ...     print(batch.start, batch.stop, stream.acknowledged)
    0 3 3
    """

    def __init__(
        self,
        address: str = "tcp://127.0.0.1:0",
        *,
        shape: tuple[int, int],
        dtype: DTypeLike,
        name: str = "",
        ring_bytes: int = 256 * 2**20,
        timeout_s: float = 30.0,
        patience_s: float | None = None,
        ring: Ring | None = None,
    ) -> None:
        self.ring = ring_for(shape, dtype, ring_bytes, ring)
        self.name = name or address
        self.timeout_s = timeout_s
        self.triggered = 0
        self.discarded = 0
        self.recorded = 0
        patience_s = timeout_s / 3 if patience_s is None else patience_s
        self.flow = Flow(self.name, self.ring.capacity, timeout_s, patience_s)
        self.changed = threading.Condition()
        self._dropped: list[int] = []
        self._loss = ""
        self._digest = 0
        self._listeners: list[Callable[[], None]] = []
        self._open = True
        self.ring.begin()
        self._gate = serve(self, address)
        self.address = self._gate.address
        self.name = self.flow.label = name or self.address
        show(self)

    @property
    def shape(self) -> tuple[int, int]:
        """Frame shape (height, width) in pixels."""
        return self.ring.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        return self.ring.dtype

    @property
    def capacity(self) -> int:
        """Frames that the ring holds."""
        return self.ring.capacity

    @property
    def published(self) -> int:
        """Frames published so far."""
        return self.flow.published

    @property
    def digest(self) -> int:
        """Of the frames published so far; see `extend_digest`."""
        return self._digest

    @property
    def acknowledged(self) -> int:
        """Frames that all necessary subscribers that want each frame declared safe."""
        with self.changed:
            return self.flow.acknowledged

    @property
    def dropped(self) -> tuple[int, ...]:
        """The camera's numbers of frames that it exposed and lost."""
        return tuple(self._dropped)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What subscribers said about where the frames are stored, in the order they said it."""
        with self.changed:
            return tuple(claim for _, claim in self.flow.claims)

    @property
    def error(self) -> BaseException | None:
        """Why the stream failed, or None."""
        with self.changed:
            self.flow.check_silence()
            return self.flow.error

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody wants every frame."""
        with self.changed:
            return any(p.delivery == "every" for p in self.flow.parties)

    @property
    def watched(self) -> bool:
        """Whether anybody takes frames, every one or the newest."""
        with self.changed:
            return any(p.state == "open" for p in self.flow.parties)

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Have a function called, in any thread, when a subscriber did something."""
        self._listeners.append(listener)

    def notify(self) -> None:
        """Tell the listeners that a subscriber did something."""
        for listener in self._listeners:
            listener()

    def reserve(self, count: int = 1, timeout_s: float | None = None) -> NDArray[Any]:
        """Return free slots to write frames into, then call `commit`.

        Parameters
        ----------
        count : int
            Frames wanted. Fewer may be given: at least one, contiguous in memory.
        timeout_s : float, optional
            How long to wait for a free slot, in seconds; as long as it takes by default, which a
            subscriber's silence bounds.

        Returns
        -------
        ndarray, shape (n, height, width)
            Writable, ``1 <= n <= count``.

        Raises
        ------
        SubscriberFailedError, SubscriberSilentError
            If a subscriber that wants every frame failed or died.
        FrameStreamError
            If the stream has ended, or no slot became free within `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        flow = self.flow
        with self.changed:
            while True:
                self.check_open()
                credit = flow.credit
                if credit > 0:
                    break
                flow.check_silence()
                if flow.error is None:
                    if deadline is not None and time.monotonic() >= deadline:
                        raise FrameStreamError(
                            f"Frame stream {self.name}: no free slot within {timeout_s:g} s; the ring "
                            f"of {self.capacity} frames is full and {flow.slowest}. Give a larger "
                            "ring_bytes or a lower frame rate."
                        )
                    flow.wants_credit = True
                    self._gate.wake()
                    began_s, blocking = time.monotonic(), flow.blocking
                    self.changed.wait(_POLL_S)
                    flow.hold_up(blocking, time.monotonic() - began_s)
            flow.wants_credit = False
            slots = self.ring.writable(flow.published, max(1, min(count, credit)))
            flow.reserve(len(slots))
            return slots

    def commit(
        self,
        count: int,
        timestamps: ArrayLike | None = None,
        numbers: ArrayLike | None = None,
    ) -> None:
        """Publish the first `count` of the slots that were reserved last.

        Parameters
        ----------
        count : int
            Frames written; may be fewer than were reserved.
        timestamps : array_like of int, shape (count,), optional
            Time of each exposure in nanoseconds since the epoch; now by default.
        numbers : array_like of int, shape (count,), optional
            The camera's frame numbers; by default they go on from the frames before.
        """
        if not 0 <= count <= self.flow.reserved:
            raise FrameStreamError(
                f"Frame stream {self.name} was told to publish {count} frames; {self.flow.reserved} "
                "slots are reserved. Reserve slots for as many first."
            )
        self.ring.sum_up(self.flow.published, count, self.flow.written_rows)
        self.seal(count, timestamps, numbers)

    def seal(self, count: int, timestamps: ArrayLike | None, numbers: ArrayLike | None) -> None:
        """Publish frames that lie in the ring and are summed up; see `commit`."""
        flow = self.flow
        start = flow.published
        if count:
            if timestamps is None:
                timestamps = time.time_ns()
            if numbers is None:
                first = start + len(self._dropped)
                numbers = np.arange(first, first + count)
            self._digest = self.ring.seal(start, count, timestamps, numbers, self._digest)
        with self.changed:
            flow.publish(count)
            flow.look()
            self.changed.notify_all()
        self.ring.announce(flow.published)
        self._gate.wake()

    def publish(
        self,
        frames: NDArray[Any],
        *,
        timestamps: Sequence[int] | NDArray[np.int64] | None = None,
        numbers: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        """Copy frames into the ring and publish them.

        Parameters
        ----------
        frames : ndarray, shape (height, width) or (n, height, width)
            Of the stream's dtype.
        timestamps, numbers : array_like of int, shape (n,), optional
            See `commit`.

        Raises
        ------
        FrameStreamError
            If the frames do not fit the stream, or as `reserve` does.
        """
        frames = np.asarray(frames)
        batch = frames[np.newaxis] if frames.ndim == 2 else frames
        if batch.shape[1:] != self.shape or batch.dtype != self.dtype:
            raise FrameStreamError(
                f"Frame stream {self.name} takes frames of shape {self.shape} and type "
                f"{self.dtype}, and was given {frames.shape} of {frames.dtype}. Make a new stream "
                "for others."
            )
        done = 0
        while done < len(batch):
            slots = self.reserve(len(batch) - done)
            stop = done + len(slots)
            first = self.flow.published
            for offset in range(len(slots)):
                self.ring.write(first + offset, batch[done + offset])
            self.seal(
                len(slots),
                None if timestamps is None else timestamps[done:stop],
                None if numbers is None else numbers[done:stop],
            )
            done = stop

    def note_dropped(self, numbers: Sequence[int], why: str = "") -> None:
        """Record the camera's numbers of frames that were exposed and lost, and why if it is known."""
        self._dropped.extend(int(number) for number in numbers)
        self._loss = self._loss or why

    def fail(self, error: BaseException) -> None:
        """End the stream with an error.

        Subscribers take what was published before; then they are told.
        """
        with self.changed:
            self.flow.end(error)
            self.changed.notify_all()
        self._gate.wake()

    def end(self, timeout_s: float | None = None) -> Ledger:
        """Say that all frames are published and wait until every subscriber has done its work.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait, in seconds; bounded by the subscribers' silence only by default.

        Returns
        -------
        Ledger
            The account of the stream. Call its `check` to have differences raised.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        flow = self.flow
        with self.changed:
            flow.end()
            self.changed.notify_all()
        self._gate.wake()
        with self.changed:
            while any(p.paces for p in flow.parties):
                flow.check_silence()
                if deadline is not None and time.monotonic() >= deadline:
                    for party in flow.parties:
                        if party.paces:
                            flow.fail_party(party, f"not finished within {timeout_s:g} s", "silent")
                    break
                self.changed.wait(_POLL_S)
            return self.ledger()

    def ledger(self) -> Ledger:
        """Return the account of the stream as it is now."""
        with self.changed:
            flow = self.flow
            return Ledger(
                self.address, self.name, self.triggered,
                max(flow.published + len(self._dropped) + self.discarded, self.recorded),
                flow.published,
                tuple(self._dropped),
                f"{self._digest:016x}",
                tuple(p.ledger() for p in flow.parties),
                "" if flow.error is None else str(flow.error),
                self.discarded, self.recorded, self._loss,
            )  # fmt: skip

    def close(self) -> None:
        """Make the stream unreachable; subscribers that still read are told that it is gone."""
        if not self._open:
            return
        self._open = False
        with self.changed:
            ended = self.flow.ended
        if not ended:
            self.fail(FrameStreamError(f"Frame stream {self.name} was closed before its end."))
        hide(self)
        self._gate.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            self.fail(error)
        self.close()

    def __repr__(self) -> str:
        height, width = self.shape
        return (
            f"<FrameStream {self.address} {height} × {width} {self.dtype}, {self.published} "
            f"published, ring of {self.capacity}>"
        )

    def check_open(self) -> None:
        """Raise what ended the stream, if it has ended."""
        if self.flow.error is not None:
            raise self.flow.error
        if self.flow.ended or not self._open:
            raise FrameStreamError(
                f"Frame stream {self.name} has ended after {self.flow.published} frames; "
                "make a new stream for more."
            )
