"""Subscribers that read in a thread of their own, and the frames that contract tests publish."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from concertino import frames as concertino_frames
from concertino.frames import FrameBatch, FrameStream, Ring, Subscription, subscribe

SHAPE = (8, 16)
Way = Literal["direct", "memory", "wire"]


def make_stream(way: Way, address: str = "tcp://127.0.0.1:0", **options: Any) -> FrameStream:
    """Make a stream that subscribers of this process reach in one of the three ways there are.

    Parameters
    ----------
    way : {"direct", "memory", "wire"}
        As those of this process do, as those of another one, or as those of another computer.
    address, **options
        Of `FrameStream`.
    """
    if way == "wire":  # what is not shared cannot be lent
        options["ring"] = Ring(options["shape"], options["dtype"], options["ring_bytes"])
    stream = FrameStream(address, **options)
    if way != "direct":
        concertino_frames._direct.hide(stream)
    return stream


def numbered_frames(
    start: int,
    count: int,
    shape: tuple[int, int] = SHAPE,
    dtype: DTypeLike = np.uint16,
) -> NDArray[Any]:
    """Return frames that tell which they are: frame ``i`` is filled with ``i`` modulo 251.

    Parameters
    ----------
    start, count : int
        Index of the first frame, and how many.
    shape : tuple of int
        Frame shape (height, width) in pixels.
    dtype : dtype
        Type of a pixel.

    Returns
    -------
    ndarray, shape (count, height, width)
    """
    values = (np.arange(start, start + count) % 251).astype(dtype)
    return np.broadcast_to(values[:, np.newaxis, np.newaxis], (count, *shape))


def check_batch(batch: FrameBatch, start: int) -> None:
    """Assert that a batch of `numbered_frames` begins at `start` and has the right pixels."""
    expected = numbered_frames(start, len(batch), batch.frames.shape[1:], batch.frames.dtype)
    assert batch.start == start
    assert len(batch) == len(batch.timestamps) == len(batch.numbers) == len(batch.checksums) > 0
    np.testing.assert_array_equal(batch.frames, expected)


def eventually(condition: Callable[[], bool], timeout_s: float = 8.0) -> None:
    """Wait until a condition holds: what a subscriber says takes time to reach the publisher."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within its time"
        time.sleep(0.001)


def take(subscription: Subscription, stop: int) -> list[FrameBatch]:
    """Read, checking each frame, until frame ``stop - 1`` has come; acknowledge nothing."""
    batches: list[FrameBatch] = []
    while not batches or batches[-1].stop < stop:
        batch = subscription.read(timeout_s=10)
        assert batch is not None, f"the stream ended before frame {stop - 1}"
        check_batch(batch, batches[-1].stop if batches else batch.start)
        batches.append(batch)
    return batches


def drain(subscription: Subscription) -> int:
    """Read to the end, checking each frame; return the index after the last one.

    A subscriber that gets every frame acknowledges each.
    """
    stop: int | None = None
    while (batch := subscription.read(timeout_s=10)) is not None:
        if subscription.delivery == "every":
            check_batch(batch, batch.start if stop is None else stop)
            subscription.acknowledge(batch.stop)
        stop = batch.stop
    return stop or 0


class Reader:
    """Reads and acknowledges a stream in a thread until its end, checking each frame.

    Parameters
    ----------
    address : str
        Of the stream.
    name : str
        Of the subscriber.
    each : callable, optional
        Called with the subscription and each batch before it is acknowledged.
    **options
        For `subscribe`.
    """

    def __init__(
        self,
        address: str,
        name: str = "reader",
        each: Callable[[Subscription, FrameBatch], None] | None = None,
        **options: Any,
    ) -> None:
        self.subscription = subscribe(address, name=name, **options)
        self.count = 0
        self.error: BaseException | None = None
        self._each = each
        self._thread = threading.Thread(target=self._run, name=f"test reader {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self.subscription as subscription:
                for batch in subscription:
                    if subscription.delivery == "every":
                        check_batch(batch, self.count)
                    if self._each is not None:
                        self._each(subscription, batch)
                    if subscription.delivery == "every":
                        subscription.acknowledge(batch.stop)
                    self.count += len(batch)
                subscription.finish()
        except BaseException as error:
            self.error = error

    def join(self, timeout_s: float = 20.0) -> None:
        """Wait for the end of the stream and raise what went wrong."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"{self.subscription} did not come to its end"
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.join()
