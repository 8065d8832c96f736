"""Streams of this process: subscribers read the publisher's ring directly, without a message."""

from __future__ import annotations

import atexit
import os
import time
from typing import TYPE_CHECKING

from concertino._errors import FrameStreamError

from .core._batch import Claim, Delivery, FrameBatch
from .core._channel import Channel
from .core._flow import SubscriberState, given_up, taken_over
from .core._ring import frame_checksum
from .core._rows import Rows

if TYPE_CHECKING:
    from .core._published import PublishedStream

_COPY_ATTEMPTS = 3
_streams: dict[str, PublishedStream] = {}


def _forget() -> None:
    """Leave the streams of the parent to it: a forked child has copies that nobody publishes on."""
    for stream in _streams.values():
        atexit.unregister(stream.close)
    _streams.clear()


os.register_at_fork(after_in_child=_forget)


def show(stream: PublishedStream) -> None:
    """Let subscribers of this process find a stream by its address."""
    _streams[stream.address] = stream
    # Those elsewhere are told when this process ends, and its sockets are closed before ZeroMQ is.
    atexit.register(stream.close)


def hide(stream: PublishedStream) -> None:
    """Let nobody of this process find a stream any more."""
    _streams.pop(stream.address, None)
    atexit.unregister(stream.close)


def is_published_here(address: str) -> bool:
    """Tell whether a frame stream is published by this process, so that to subscribe takes no time."""
    return address in _streams


def enter_here(
    address: str,
    name: str,
    delivery: Delivery,
    resume: bool,
    necessary: bool,
    rows: Rows | None = None,
) -> DirectChannel | None:
    """Let a subscriber join a stream of this process, or go on with it; None if it is none.

    Raises
    ------
    FrameStreamError
        If the stream cannot serve this subscriber.
    """
    stream = _streams.get(address)
    if stream is None:
        return None
    with stream.changed:
        party = stream.flow.resume(name, delivery) if resume else None
        if party is None:
            party = stream.flow.join(name, delivery, necessary, rows)
        else:
            stream.changed.notify_all()
        return DirectChannel(stream, party)


class DirectChannel(Channel):
    """A subscriber's direct view of a stream in the same process."""

    def __init__(self, stream: PublishedStream, party: SubscriberState) -> None:
        self._stream = stream
        self._flow = stream.flow
        self._party = party
        self._seen = -1
        self.shape = stream.shape
        self.dtype = stream.dtype

    @property
    def given_up(self) -> bool:
        return self._party.state in ("failed", "silent")

    def receive(self, max_frames: int | None, timeout_s: float | None) -> FrameBatch | None:
        with self._stream.changed:
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            if (published := self._wait(deadline, timeout_s)) is not None:
                if self._party.delivery == "latest":
                    return self._copy_newest()
                first = self._party.received
                stop = published if max_frames is None else min(published, first + max_frames)
                batch = self._view(first, stop)  # as many as follow one another in the ring
                self._party.received = batch.stop
                return batch
            return None

    def _wait(self, deadline: float | None, timeout_s: float | None) -> int | None:
        """Return how many frames are published, once there are new ones; None at the end."""
        party, flow = self._party, self._flow
        try:
            while True:
                party.sign()
                self._check_state()
                every = party.delivery == "every"
                if flow.published > party.received if every else flow.newest > self._seen:
                    return flow.published
                if flow.ended:
                    if flow.error is not None:
                        raise FrameStreamError(
                            f"Frame stream {flow.label} failed after {flow.published} frames: "
                            f"{flow.error}"
                        ) from flow.error
                    return None
                wait_s = None if deadline is None else deadline - time.monotonic()
                if wait_s is not None and wait_s <= 0:
                    raise TimeoutError(
                        f"No frame on stream {flow.label} within {timeout_s:g} s; "
                        f"{flow.published} were published."
                    )
                party.waiting = True
                self._stream.changed.wait(wait_s)
        finally:
            party.waiting = False

    @property
    def intact(self) -> bool:
        return self._party.state in ("open", "finished")

    def _check_state(self) -> None:
        party = self._party
        if party.state == "replaced":
            raise FrameStreamError(taken_over(self._flow.label, party.name))
        if party.state not in ("open", "finished"):
            raise FrameStreamError(given_up(self._flow.label, party))

    def _view(self, start: int, stop: int) -> FrameBatch:
        ring = self._stream.ring
        frames, slots = ring.readable(start, stop)
        return FrameBatch(
            start,
            frames,
            ring.timestamps[slots].copy(),
            ring.numbers[slots].copy(),
            ring.checksums[slots].copy(),
        )

    def _copy_newest(self) -> FrameBatch | None:
        """Copy the newest frame; the lock is held, and given up while copying."""
        changed = self._stream.changed
        for attempt in range(_COPY_ATTEMPTS):
            index = self._flow.published - 1
            view = self._view(index, index + 1)
            last = attempt == _COPY_ATTEMPTS - 1
            if not last:
                changed.release()
            try:
                pixels = view.frames.copy()
            finally:
                if not last:
                    changed.acquire()
            if index >= self._flow.oldest:
                break
        self._seen = index
        if self._flow.ended and frame_checksum(pixels) != view.checksums[0]:
            return None  # The ring serves another stream already.
        self._party.received += 1
        return FrameBatch(index, pixels, view.timestamps, view.numbers, view.checksums)

    def acknowledge(self, stop: int) -> None:
        with self._stream.changed:
            self._check_state()
            self._flow.acknowledge(self._party, stop, self._stream.ring.digest_after(stop))
            self._stream.changed.notify_all()
        self._stream.notify()

    def claim(self, claim: Claim) -> None:
        with self._stream.changed:
            self._flow.claims.append((self._party.name, claim))
        self._stream.notify()

    def fail(self, reason: str) -> None:
        with self._stream.changed:
            self._flow.fail_party(self._party, reason)
            self._stream.changed.notify_all()
        self._stream.notify()

    def finish(self) -> None:
        with self._stream.changed:
            if self._party.state == "open":
                self._party.state = "finished"
            self._stream.changed.notify_all()
        self._stream.notify()

    def alive(self) -> None:
        self._party.sign()
