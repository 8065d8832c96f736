"""Flow control: who has had which frames, and how many more the publisher may send.

Pure bookkeeping, without threads, memory or sockets: the owner holds a lock around every call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from concertino._errors import FrameStreamError, SubscriberFailedError, SubscriberSilentError

from ._batch import Claim, Delivery
from ._ledger import SubscriberLedger
from ._rows import Rows, joined

LOG = logging.getLogger(__name__)

#: A watch that looks less often than this does not look.
_UNWATCHED_S = 1.0
#: A wait that seems longer than this was this process's own, which stood still.
_LONGEST_WAIT_S = 0.2


def check_acknowledgement(
    label: str, name: str, stop: int, received: int, acknowledged: int
) -> None:
    """Raise `FrameStreamError` unless frames ``[0, stop)`` were received, and no fewer safe before."""
    if not acknowledged <= stop <= received:
        raise FrameStreamError(
            f"Subscriber {name!r} of frame stream {label} acknowledged frames up to {stop}; it has "
            f"received {received} and acknowledged {acknowledged}."
        )


def given_up(label: str, party: SubscriberState) -> str:
    """Say that a subscriber was given up, and why."""
    return f"Subscriber {party.name!r} of frame stream {label} was given up: {party.reason}. Subscribe again to go on."


def taken_over(label: str, name: str) -> str:
    """Say that another connection goes on for a subscriber."""
    return (
        f"Subscriber {name!r} of frame stream {label} was resumed by another, which alone "
        "gets frames; close this one."
    )


@dataclass(eq=False)
class SubscriberState:
    """What the publisher knows of one subscriber.

    One that was resumed is `replaced` by another, which goes on from its numbers. While it is `waiting` for frames it is no less alive than the publisher. The stream fails with one that
    is `necessary`, and goes on without one that is not, which may hold it up for a while only: of what
    the publisher waited for it in all, `held_up_s`, that counts which no necessary one caused as well,
    `patience_used_s`. One with `rows` needs no others.
    """

    name: str
    delivery: Delivery
    necessary: bool = True
    rows: Rows | None = None
    held_up_s: float = 0.0
    patience_used_s: float = 0.0
    received: int = 0
    acknowledged: int = 0
    digest: int = 0
    state: str = "open"
    reason: str = ""
    waiting: bool = False
    last_sign_s: float = field(default_factory=time.monotonic)

    @property
    def verb(self) -> str:
        """What it did, for messages."""
        return {
            "open": "is there already",
            "finished": "has finished",
            "failed": "failed",
            "silent": "was silent for too long",
        }[self.state]

    @property
    def paces(self) -> bool:
        """Whether the publisher waits for this subscriber."""
        return self.delivery == "every" and self.state == "open"

    def sign(self) -> None:
        """Note that the subscriber is alive."""
        self.last_sign_s = time.monotonic()

    def ledger(self) -> SubscriberLedger:
        """Return the subscriber's line of the ledger."""
        return SubscriberLedger(
            self.name,
            self.delivery,
            self.received,
            self.acknowledged,
            f"{self.digest:016x}",
            self.state,
            self.reason,
            self.necessary,
            self.held_up_s,
        )


@dataclass(eq=False)
class Flow:
    """The state of one stream: the publisher's counts and its subscribers.

    Parameters
    ----------
    label : str
        Name of the stream in messages.
    capacity : int
        Frames that the ring holds.
    timeout_s : float
        How long a subscriber that has frames to handle may be silent, in seconds.
    patience_s : float
        How long in all one that is not necessary may hold up the publisher, in seconds.

    Of the frames reserved last `written_rows` are written, or all; of frames before `partial` some may be missing.
    """

    label: str
    capacity: int
    timeout_s: float
    patience_s: float
    published: int = 0
    reserved: int = 0
    written_rows: Rows | None = None
    partial: int = 0
    wants_credit: bool = False
    ended: bool = False
    error: BaseException | None = None
    parties: list[SubscriberState] = field(default_factory=list)
    claims: list[tuple[str, Claim]] = field(default_factory=list)
    looked_s: float = field(default_factory=time.monotonic)
    _alone_since_s: float = 0.0

    @property
    def oldest(self) -> int:
        """Index of the oldest frame that is whole in the ring."""
        return max(0, self.published + self.reserved - self.capacity)

    @property
    def acknowledged(self) -> int:
        """Frames that all necessary subscribers that want each frame declared safe."""
        counts = [p.acknowledged for p in self.parties if p.delivery == "every" and p.necessary]
        return min(counts, default=self.published)

    @property
    def credit(self) -> int:
        """Frames that may be reserved before one is overwritten that somebody still needs."""
        held = min((p.acknowledged for p in self.parties if p.paces), default=self.published)
        return self.capacity - (self.published - held)

    @property
    def newest(self) -> int:
        """Index of the newest frame, if it is there with all its rows; else -1."""
        return self.published - 1 if self.published > self.partial else -1

    def reserve(self, count: int) -> None:
        """Note how many frames are about to be written, all rows of them unless others are chosen."""
        self.reserved, self.written_rows = count, None
        self.partial = min(self.partial, self.published)

    def choose_rows(self, count: int) -> Rows | None:
        """Return which rows of the next frames are needed by those who are there now; only these are written then."""
        needed = [party.rows for party in self.parties if party.state == "open"]
        if needed and None not in needed:
            self.written_rows = joined([part for rows in needed for part in rows or ()])
            self.partial = self.published + count
        return self.written_rows

    def join(
        self, name: str, delivery: Delivery, necessary: bool = True, rows: Rows | None = None
    ) -> SubscriberState:
        """Admit a subscriber.

        Raises
        ------
        FrameStreamError
            If its name is taken or frames that it would need are gone.
        """
        if any(p.name == name and p.state == "open" for p in self.parties):
            raise FrameStreamError(
                f"Frame stream {self.label} has a subscriber {name!r} already; "
                "give each subscriber its own name."
            )
        if delivery not in ("every", "latest"):
            raise FrameStreamError(
                f"Subscriber {name!r} of frame stream {self.label} asked for delivery "
                f"{delivery!r}; there are 'every' and 'latest'."
            )
        gone = max(self.oldest, self.partial)
        if delivery == "every" and gone > 0:
            raise FrameStreamError(
                f"Subscriber {name!r} wants every frame of stream {self.label} but came late: "
                f"frames 0 to {gone - 1} are gone from the ring of {self.capacity} frames. "
                "Subscribe before the camera starts, or give the stream a larger ring_bytes."
            )
        party = SubscriberState(name, delivery, necessary, rows)
        self.parties.append(party)
        return party

    def resume(
        self, name: str, delivery: Delivery, start: int | None = None
    ) -> SubscriberState | None:
        """Let a subscriber that was lost go on, with the first frame it has not acknowledged.

        Parameters
        ----------
        name, delivery : str
            Which one.
        start : int, optional
            A later frame to go on with, when only its connection was lost.

        Returns
        -------
        SubscriberState or None
            None if there was no such subscriber, so that it may join.

        Raises
        ------
        FrameStreamError
            If it was given up, or has finished.
        """
        known = [p for p in self.parties if p.name == name and p.delivery == delivery]
        if not known:
            return None
        party = known[-1]
        if party.state != "open":
            reason = f": {party.reason}" if party.reason else ""
            raise FrameStreamError(
                f"Subscriber {name!r} of frame stream {self.label} cannot go on: it {party.verb}"
                f"{reason}. Subscribe again, under another name."
            )
        if start is not None and not party.acknowledged <= start <= self.published:
            raise FrameStreamError(
                f"Subscriber {name!r} of frame stream {self.label} cannot go on with frame {start}; "
                f"it has acknowledged {party.acknowledged} of {self.published}."
            )
        received = party.received
        if delivery == "every":
            received = party.acknowledged if start is None else start
        again = replace(party, received=received, waiting=False)
        again.sign()
        self.parties[self.parties.index(party)] = again
        party.state = "replaced"
        return again

    def publish(self, count: int) -> None:
        """Note that so many more frames are there."""
        for party in self.parties:
            if self._waits(party):
                # It had nothing to do until now: its time-out starts here.
                party.sign()
        self.reserved = 0
        self.published += count

    def look(self) -> None:
        """See to the subscribers' silence now and then; called often, by who publishes."""
        if time.monotonic() - self.looked_s > _UNWATCHED_S / 2:
            self.check_silence()

    def end(self, error: BaseException | None = None) -> None:
        """Note that no more frames come."""
        if self.error is None:
            self.error = error
        self.reserved = 0
        if not self.ended:
            self.ended = True
            self._alone_since_s = time.monotonic()
            for party in self.parties:
                if self._waits(party):
                    # For the others time runs already: they have frames to handle.
                    party.sign()

    def acknowledge(self, party: SubscriberState, stop: int, digest: int) -> None:
        """Note that a subscriber declared frames ``[0, stop)``, which have a digest, safe.

        Raises
        ------
        FrameStreamError
            If it never received them, or takes an acknowledgement back.
        """
        check_acknowledgement(self.label, party.name, stop, party.received, party.acknowledged)
        if stop > party.acknowledged:
            party.acknowledged, party.digest = stop, digest
        party.sign()

    def fail_party(self, party: SubscriberState, reason: str, state: str = "failed") -> None:
        """Note that a subscriber failed; the stream fails with one that is necessary."""
        if party.state != "open":
            return
        reason = reason.rstrip(".")  # It becomes part of sentences.
        party.state, party.reason = state, reason
        if party.delivery != "every" or self.error is not None:
            return
        if not party.necessary:
            LOG.warning(
                "Subscriber %r of frame stream %s was detached, and the scan goes on without it: %s. "
                "Of %d frames published, it has had %d.",
                party.name, self.label, reason, self.published, party.acknowledged,
            )  # fmt: skip
            return
        kind = SubscriberSilentError if state == "silent" else SubscriberFailedError
        verb = "is silent" if state == "silent" else "failed"
        self.error = kind(
            f"Subscriber {party.name!r} of frame stream {self.label} {verb}: {reason}. "
            f"Of {self.published} frames published, it has {party.acknowledged} safe."
        )

    @property
    def slowest(self) -> str:
        """Of those that pace the publisher, who is behind most, in words."""
        party = min((p for p in self.parties if p.paces), key=lambda p: p.acknowledged)
        return f"{party.name!r} has {party.acknowledged} of {self.published} safe"

    @property
    def blocking(self) -> list[SubscriberState]:
        """Subscribers for which the publisher waits now."""
        return [p for p in self.parties if p.paces and self._needs_all(p)]

    def hold_up(self, blocking: Sequence[SubscriberState], waited_s: float) -> None:
        """Note that the publisher waited for a free slot; detach who may not hold it up for longer.

        Parameters
        ----------
        blocking : sequence of SubscriberState
            For whom, when it began to wait.
        waited_s : float
            How long, in seconds.
        """
        for party in blocking:
            party.held_up_s += waited_s
        necessary, now_s = [p for p in blocking if p.necessary], time.monotonic()
        if any(p.paces and self._needs_all(p) for p in necessary):
            return
        # From when those who are necessary had made room, it waited for the others alone.
        alone_s = min([waited_s, _LONGEST_WAIT_S, *(now_s - p.last_sign_s for p in necessary)])
        for party in [p for p in blocking if not p.necessary]:
            party.patience_used_s += alone_s
            if party.patience_used_s > self.patience_s and party.paces:
                self.fail_party(
                    party,
                    f"it held up the camera for {self.patience_s:.3g} s in all, being a whole ring of "
                    f"{self.capacity} frames behind; give it less to do, give the camera a larger "
                    "ring_bytes, or make it necessary=True",
                )

    def _leave_lookers(self, now_s: float) -> None:
        """Detach who is not necessary, and not done for long after those who are; once all is published."""
        waiting = [p for p in self.parties if p.paces]
        if any(p.necessary for p in waiting):
            self._alone_since_s = now_s
        limit_s = max(self.patience_s, self.timeout_s)
        if now_s - self._alone_since_s > limit_s:
            for party in waiting:
                self.fail_party(
                    party, f"it was not done {limit_s:.3g} s after all frames were safe"
                )

    def _waits(self, party: SubscriberState) -> bool:
        """Whether it has nothing to do until more frames come."""
        if party.acknowledged == self.published:
            return True
        return party.waiting and party.received == self.published

    def _needs_all(self, party: SubscriberState) -> bool:
        return self.published - party.acknowledged >= self.capacity

    def check_silence(self) -> None:
        """Fail every subscriber that has frames to handle and gave no sign for too long.

        Whoever watches must look now and then. When nobody looked for long, perhaps because this
        process was stopped, what the subscribers said meanwhile has not been heard yet.
        """
        now = time.monotonic()
        unwatched_s, self.looked_s = now - self.looked_s, now
        if unwatched_s > max(_UNWATCHED_S, self.timeout_s / 2):
            for party in self.parties:
                party.last_sign_s = min(now, party.last_sign_s + unwatched_s)
            self._alone_since_s = min(now, self._alone_since_s + unwatched_s)
            return
        for party in self.parties:
            if not self.ended and self._waits(party):
                continue
            if party.paces and now - party.last_sign_s > self.timeout_s:
                self.fail_party(
                    party,
                    f"no sign of it for {now - party.last_sign_s:.1f} s "
                    f"(its time-out is {self.timeout_s:g} s)",
                    state="silent",
                )
        if self.ended:
            self._leave_lookers(now)
