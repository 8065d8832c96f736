"""Frame streams within one process: subscribers read the publisher's ring directly."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from concertino._errors import FrameStreamError

from ._batch import Claim, Delivery, FrameBatch
from ._flow import Party
from ._transport import Channel, Transport, register_transport

if TYPE_CHECKING:
    from ._stream import FrameStream

_COPY_ATTEMPTS = 3


class InprocChannel(Channel):
    """A subscriber's direct view of a stream in the same process."""

    def __init__(self, stream: FrameStream, party: Party) -> None:
        self._stream = stream
        self._flow = stream.flow
        self._party = party
        self._seen = -1
        self.shape = stream.shape
        self.dtype = stream.dtype

    def receive(self, max_frames: int | None, timeout_s: float | None) -> FrameBatch | None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        every = self._party.delivery == "every"
        with self._stream.changed:
            while True:
                self._party.sign()
                if self._party.state not in ("open", "finished"):
                    raise FrameStreamError(
                        f"Subscriber {self._party.name!r} of frame stream {self._flow.label} was "
                        f"given up: {self._party.reason}."
                    )
                published = self._flow.published
                first = self._party.received if every else published - 1
                if first < published and first > self._seen:
                    break
                if self._flow.ended:
                    if self._flow.error is not None:
                        raise FrameStreamError(
                            f"Frame stream {self._flow.label} failed after {published} frames: "
                            f"{self._flow.error}"
                        ) from self._flow.error
                    return None
                wait_s = None if deadline is None else deadline - time.monotonic()
                if wait_s is not None and wait_s <= 0:
                    raise TimeoutError(
                        f"No frame on stream {self._flow.label} within {timeout_s:g} s; "
                        f"{published} were published."
                    )
                self._stream.changed.wait(wait_s)
            if not every:
                return self._copy_newest()
            stop = published if max_frames is None else min(published, first + max_frames)
            batch = self._view(first, stop)
            self._party.received = batch.stop
            self._seen = batch.stop - 1
            self._party.digest.update(batch.checksums.tobytes())
            return batch

    def _view(self, start: int, stop: int) -> FrameBatch:
        ring = self._stream.ring
        frames, slots = ring.readable(start, stop)
        return FrameBatch(
            start, frames, ring.timestamps[slots], ring.numbers[slots], ring.checksums[slots]
        )

    def _copy_newest(self) -> FrameBatch:
        """Copy the newest frame; the lock is held, and given up while copying."""
        for attempt in range(_COPY_ATTEMPTS):
            index = self._flow.published - 1
            view = self._view(index, index + 1)
            last = attempt == _COPY_ATTEMPTS - 1
            if not last:
                self._stream.changed.release()
            try:
                copy = FrameBatch(
                    index,
                    view.frames.copy(),
                    view.timestamps.copy(),
                    view.numbers.copy(),
                    view.checksums.copy(),
                )
            finally:
                if not last:
                    self._stream.changed.acquire()
            if index >= self._flow.oldest:
                break
        self._seen = index
        self._party.received += 1
        self._party.digest.update(copy.checksums.tobytes())
        return copy

    def acknowledge(self, stop: int) -> None:
        with self._stream.changed:
            self._flow.acknowledge(self._party, stop)
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


class InprocTransport(Transport):
    """Finds streams of this process by their address."""

    def __init__(self) -> None:
        self._streams: dict[str, FrameStream] = {}
        self._lock = threading.Lock()

    def serve(self, stream: FrameStream, address: str) -> str:
        with self._lock:
            if address in self._streams:
                raise FrameStreamError(
                    f"There is a frame stream at {address} already; close it first."
                )
            self._streams[address] = stream
        return address

    def withdraw(self, stream: FrameStream) -> None:
        with self._lock:
            self._streams.pop(stream.address, None)

    def connect(
        self, address: str, *, name: str, delivery: Delivery, timeout_s: float | None
    ) -> Channel:
        with self._lock:
            stream = self._streams.get(address)
        if stream is None:
            raise FrameStreamError(
                f"Subscriber {name!r} found no frame stream at {address} in this process; it has "
                "ended, or it lives in another process and needs an ipc:// or tcp:// address."
            )
        with stream.changed:
            return InprocChannel(stream, stream.flow.join(name, delivery))


register_transport("inproc", InprocTransport())
