"""What the publisher does for one connection of one subscriber in another process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from concertino._errors import FrameStreamError
from concertino.frames.core._batch import Claim
from concertino.frames.core._flow import SubscriberState, given_up, taken_over
from concertino.frames.core._messages import (
    MOST_UNDER_WAY,
    Acknowledge,
    Alive,
    Bye,
    Claimed,
    ClaimFrames,
    Credit,
    End,
    Fail,
    Finish,
    FromSubscriber,
    Heartbeat,
    Message,
    More,
    Newest,
    Nothing,
    Refusal,
    Wait,
    shortened,
)

from ._wire import frames_header

if TYPE_CHECKING:
    from concertino.frames.core._published import PublishedStream

#: Header and, where there are, pixels.
Outgoing = tuple[Message, memoryview | bytes | None]

_MESSAGE_BYTES = 2 * 2**20
_COPY_ATTEMPTS = 3


@dataclass(eq=False)
class SubscriberConnection:
    """One connection: what it may be sent, and what it says.

    Parameters
    ----------
    stream : PublishedStream
        What it reads.
    party : SubscriberState
        The subscriber.
    shares_memory : bool
        Whether it maps the ring, so that pixels need not travel.
    credit : int
        How many messages with frames it may be sent before it says that it took one.
    """

    stream: PublishedStream
    party: SubscriberState
    shares_memory: bool
    credit: int
    told_end: bool = False
    wanted: Newest | Wait | None = None

    @property
    def every(self) -> bool:
        """Whether it wants each frame."""
        return self.party.delivery == "every"

    @property
    def hungry(self) -> bool:
        """Whether it could be sent a frame if there were one."""
        if self.every and not self.shares_memory:
            return self.credit > 0
        return self.wanted is not None

    def take(self, message: FromSubscriber) -> Iterator[Outgoing]:
        """Act on what the subscriber says, and yield the answer; the stream's lock is held.

        Raises
        ------
        FrameStreamError
            If it may not say so.
        """
        flow, party = self.stream.flow, self.party
        if party.state == "replaced":
            raise FrameStreamError(taken_over(flow.label, party.name))
        if party.state in ("failed", "silent") and not isinstance(message, Finish | Fail):
            raise FrameStreamError(given_up(flow.label, party))
        party.sign()
        if isinstance(message, Acknowledge):
            self._give(message.messages)
            self._acknowledge(message.stop, message.digest)
        elif isinstance(message, Credit):
            self._give(message.messages)
        elif isinstance(message, Newest):
            self._want(message, "latest")
        elif isinstance(message, Wait):
            self._want(message, "every")
            party.received = min(max(party.received, message.stop), flow.published)
        elif isinstance(message, Alive):
            yield Heartbeat(flow.published), None
        elif isinstance(message, ClaimFrames):
            claim = Claim(message.uri, message.mimetype, message.parameters, message.durability)
            flow.claims.append((party.name, claim))
            yield Claimed(), None
        elif isinstance(message, Finish):
            if party.state == "open":
                party.state = "finished"
                party.received = max(party.received, min(message.received, flow.published))
            yield Bye(), None
        elif isinstance(message, Fail):
            flow.fail_party(party, message.reason)
            self.told_end = True
            yield Bye(), None
        else:
            raise FrameStreamError(
                f"Subscriber {party.name!r} of frame stream {flow.label} introduced itself again "
                "without need."
            )

    def _give(self, messages: int) -> None:
        self.credit = min(self.credit + messages, MOST_UNDER_WAY)

    def _want(self, message: Newest | Wait, delivery: str) -> None:
        if self.party.delivery != delivery:
            raise FrameStreamError(
                f"Subscriber {self.party.name!r} of frame stream {self.stream.flow.label} takes the "
                f"{self.party.delivery} frame and said {message.kind!r}, which is for {delivery!r}."
            )
        self.wanted = message

    def _acknowledge(self, stop: int, digest: int) -> None:
        flow, party = self.stream.flow, self.party
        if self.shares_memory:
            # It took what it found; that it was right the digest says.
            party.received = max(party.received, min(stop, flow.published))
        if party.acknowledged < stop <= party.received:
            expected = self.stream.ring.digest_after(stop)
            if digest != expected:
                raise FrameStreamError(
                    f"Subscriber {party.name!r} of frame stream {flow.label} acknowledged frames up to "
                    f"{stop} with digest {digest:016x}; {expected:016x} was published."
                )
        flow.acknowledge(party, stop, digest)

    def due(self) -> Iterator[Outgoing]:
        """Yield what the subscriber is to be sent now."""
        if self.party.state in ("failed", "silent"):
            if not self.told_end:
                # Not when it next says something: what it looks at may be overwritten from now on.
                self.told_end = True
                yield Refusal(shortened(given_up(self.stream.flow.label, self.party))), None
        elif not self.every:
            yield from self._newest_frame()
        elif self.shares_memory:
            yield from self._word_of_frames()
        else:
            yield from self._every_frame()

    def _word_of_frames(self) -> Iterator[Outgoing]:
        flow = self.stream.flow
        if isinstance(self.wanted, Wait) and flow.published > self.wanted.stop:
            self.wanted = None
            yield More(flow.published), None
        if flow.ended and not self.told_end:
            yield self.end()

    def _every_frame(self) -> Iterator[Outgoing]:
        stream, flow, party = self.stream, self.stream.flow, self.party
        ring = stream.ring
        at_once = max(1, _MESSAGE_BYTES // ring.frame_bytes)
        while party.paces and self.credit > 0 and party.received < flow.published:
            with stream.changed:
                start = party.received
                frames, slots = ring.readable(start, min(flow.published, start + at_once))
                party.received = start + len(frames)
            header = frames_header(
                start, ring.timestamps[slots], ring.numbers[slots], ring.checksums[slots]
            )
            self.credit -= 1
            yield header, _octets(frames)
        if flow.ended and party.received == flow.published and not self.told_end:
            yield self.end()

    def _newest_frame(self) -> Iterator[Outgoing]:
        wanted, flow = self.wanted, self.stream.flow
        if not isinstance(wanted, Newest):
            return
        if flow.newest > wanted.seen:
            self.wanted = None
            inline = not self.shares_memory or wanted.inline
            yield self.newest(wanted.id, inline=inline)
        elif flow.ended:
            self.wanted = None
            yield self.end()
        elif not wanted.wait:
            self.wanted = None
            yield Nothing(wanted.id, flow.published), None

    def newest(self, request: int, *, inline: bool) -> Outgoing:
        """Return the newest frame: its pixels, or where they lie as long as they do."""
        stream, flow, ring = self.stream, self.stream.flow, self.stream.ring
        for attempt in range(_COPY_ATTEMPTS):
            with stream.changed:
                index = flow.published - 1
                frames, slots = ring.readable(index, index + 1)
                header = frames_header(
                    index,
                    ring.timestamps[slots],
                    ring.numbers[slots],
                    ring.checksums[slots],
                    id=request,
                    inline=inline,
                )
                if inline and attempt == _COPY_ATTEMPTS - 1:
                    copy = frames.copy()
                    break
            if not inline:
                break
            # Nobody holds this slot: the copy counts only if it was not written meanwhile.
            copy = frames.copy()
            if index >= flow.oldest:
                break
        self.party.received += 1
        return header, _octets(copy) if inline else None

    def end(self) -> Outgoing:
        """Return the message that no more frames come."""
        flow = self.stream.flow
        self.told_end = True
        return (
            End(
                count=flow.published,
                digest=self.stream.ring.digest_after(flow.published),
                reason=None if flow.error is None else shortened(str(flow.error)),
            ),
            None,
        )


def _octets(frames: Any) -> memoryview:
    return memoryview(frames.reshape(-1)).cast("B")
