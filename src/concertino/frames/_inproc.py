"""Frame streams within one process: subscribers read the publisher's ring directly."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from concertino._errors import FrameStreamError

from ._batch import Claim, Delivery, FrameBatch
from ._flow import Party, given_up, taken_over
from ._ring import frame_checksum
from ._transport import Channel, Endpoint, Transport, register_transport

if TYPE_CHECKING:
    from ._stream import FrameStream

_COPY_ATTEMPTS = 3


class InprocChannel(Channel):
    """A subscriber's direct view of a stream in the same process."""

    def __init__(self, stream: FrameStream, party: Party) -> None:
        self._stream = stream
        self._flow = stream.flow
        self._party = party
        self._turn = party.turn
        self._seen = -1
        self.shape = stream.shape
        self.dtype = stream.dtype

    @property
    def given_up(self) -> bool:
        return self._party.turn == self._turn and self._party.state in ("failed", "silent")

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
                self._check_turn()
                seen = party.received if party.delivery == "every" else self._seen + 1
                if flow.published > seen:
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
            if party.turn == self._turn:
                party.waiting = False

    @property
    def intact(self) -> bool:
        return self._party.turn == self._turn and self._party.state in ("open", "finished")

    def _check_turn(self) -> None:
        party = self._party
        if party.turn != self._turn:
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
            self._check_turn()
            self._flow.acknowledge(self._party, stop, self._stream.ring.digest_after(stop))
            self._stream.changed.notify_all()
        self._stream.notify()

    def claim(self, claim: Claim) -> None:
        with self._stream.changed:
            self._flow.claims.append((self._party.name, claim))
        self._stream.notify()

    def fail(self, reason: str) -> None:
        with self._stream.changed:
            if self._party.turn == self._turn:
                self._flow.fail_party(self._party, reason)
            self._stream.changed.notify_all()
        self._stream.notify()

    def finish(self) -> None:
        with self._stream.changed:
            if self._party.state == "open" and self._party.turn == self._turn:
                self._party.state = "finished"
            self._stream.changed.notify_all()
        self._stream.notify()

    def alive(self) -> None:
        self._party.sign()


class InprocEndpoint(Endpoint):
    """A stream's entry in the table of this process."""

    def __init__(self, transport: InprocTransport, address: str) -> None:
        self._transport = transport
        self.address = address

    def wake(self) -> None:
        """Do nothing: subscribers wait for the stream's own condition."""

    def close(self) -> None:
        self._transport.withdraw(self.address)


class InprocTransport(Transport):
    """Finds streams of this process by their address."""

    def __init__(self) -> None:
        self._streams: dict[str, FrameStream] = {}
        self._lock = threading.Lock()

    def serve(self, stream: FrameStream, address: str) -> Endpoint:
        with self._lock:
            if address in self._streams:
                raise FrameStreamError(
                    f"There is a frame stream at {address} already; close it first."
                )
            self._streams[address] = stream
        return InprocEndpoint(self, address)

    def withdraw(self, address: str) -> None:
        """Forget a stream."""
        with self._lock:
            self._streams.pop(address, None)

    def connect(
        self,
        address: str,
        *,
        name: str,
        delivery: Delivery,
        resume: bool,
        timeout_s: float | None,
        necessary: bool = True,
    ) -> Channel:
        with self._lock:
            stream = self._streams.get(address)
        if stream is None:
            raise FrameStreamError(
                f"Subscriber {name!r} found no frame stream at {address} in this process; it has "
                "ended, or it lives in another process and needs an ipc:// or tcp:// address."
            )
        with stream.changed:
            party = stream.flow.resume(name, delivery) if resume else None
            if party is None:
                party = stream.flow.join(name, delivery, necessary)
            else:
                stream.changed.notify_all()
            return InprocChannel(stream, party)


register_transport("inproc", InprocTransport())
