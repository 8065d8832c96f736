"""A model of frame streams that Hypothesis compares with a real transport, operation by operation."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from concertino import FrameStreamError, SubscriberFailedError
from concertino.frames import Ledger, Subscription, subscribe

from .readers import SHAPE, Way, check_batch, eventually, make_stream, numbered_frames

CAPACITY = 4
_BYTES = CAPACITY * SHAPE[0] * SHAPE[1] * 2
_SOON_S = 10.0


@dataclass(eq=False)
class ModelReader:
    """What a subscriber should have seen."""

    subscription: Subscription
    name: str
    every: bool
    received: int = 0
    acknowledged: int = 0
    state: str = "open"

    @property
    def paces(self) -> bool:
        """Whether the publisher must wait for it."""
        return self.every and self.state == "open"


class FrameStreamMachine(RuleBasedStateMachine):
    """Publishes, reads, acknowledges, fails and resumes in any order, and compares with a model.

    A subclass says how the stream is reached; its attribute ``TestCase`` is what pytest collects.

    Attributes
    ----------
    way : str
        As of `make_stream`.
    nothing_s : float
        How long to wait, in seconds, to be sure that nothing comes.
    """

    way: ClassVar[Way]
    nothing_s: ClassVar[float] = 0.0

    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.stream = make_stream(
            self.way,
            shape=SHAPE,
            dtype="u2",
            name="machine",
            ring_bytes=_BYTES,
            timeout_s=60.0,
        )
        self.published = 0
        self.ended = False
        self.failed = ""
        self.failed_late = False
        self.parties: list[ModelReader] = []
        self.ledgers: list[Ledger] = []
        self.ending: threading.Thread | None = None

    @property
    def credit(self) -> int:
        """Frames that the publisher may still put into the ring."""
        held = min((p.acknowledged for p in self.parties if p.paces), default=self.published)
        return CAPACITY - (self.published - held)

    @precondition(lambda self: not self.ended)
    @rule(count=st.integers(1, CAPACITY + 1))
    def publish(self, count: int) -> None:
        """Publish what there is credit for; beyond it, be refused."""
        if self.failed:
            with pytest.raises(SubscriberFailedError, match=self.failed):
                self.stream.reserve(timeout_s=0)
            return
        if self.credit == 0:
            with pytest.raises(FrameStreamError, match="no free slot within 0 s"):
                self.stream.reserve(timeout_s=0)
            return
        if any(p.paces for p in self.parties):
            count = min(count, self.credit)
        self.stream.publish(numbered_frames(self.published, count))
        self.published += count

    @precondition(lambda self: not self.ended and len(self.parties) < 5)
    @rule(target=readers, every=st.booleans())
    def join(self, every: bool) -> ModelReader | None:
        """Subscribe; too late for every frame once the first is gone."""
        name = f"reader {len(self.parties)}"
        delivery = "every" if every else "latest"
        if every and self.published > CAPACITY:
            with pytest.raises(FrameStreamError, match="came late"):
                subscribe(self.stream.address, name=name)
            return None
        subscription = subscribe(self.stream.address, name=name, delivery=delivery)  # type: ignore[arg-type]
        reader = ModelReader(subscription, name, every)
        self.parties.append(reader)
        return reader

    @rule(reader=readers, most=st.none() | st.integers(1, CAPACITY))
    def read(self, reader: ModelReader | None, most: int | None) -> None:
        """Read: the frames that follow, the newest one, the end, or nothing yet."""
        if reader is None or reader.state != "open":
            return
        behind = self.published - reader.received
        if behind == 0 and not self.ended:
            with pytest.raises(TimeoutError):
                reader.subscription.read(most, timeout_s=self.nothing_s)
        elif behind == 0 and self.failed_late:
            # The end may have reached it before another reader failed.
            with contextlib.suppress(FrameStreamError):
                assert reader.subscription.read(most, timeout_s=_SOON_S) is None
        elif behind == 0 and self.failed:
            with pytest.raises(FrameStreamError, match=self.failed):
                reader.subscription.read(most, timeout_s=_SOON_S)
        elif behind == 0:
            assert reader.subscription.read(most, timeout_s=_SOON_S) is None
        else:
            batch = reader.subscription.read(most, timeout_s=_SOON_S)
            assert batch is not None
            assert len(batch) <= (behind if most is None else most)
            check_batch(batch, reader.received if reader.every else self.published - 1)
            reader.received = batch.stop

    @rule(reader=readers, count=st.integers(-1, CAPACITY + 1))
    def acknowledge(self, reader: ModelReader | None, count: int) -> None:
        """Acknowledge what was received; nothing else."""
        if reader is None or not reader.paces:
            return
        stop = reader.acknowledged + count
        if reader.acknowledged <= stop <= reader.received:
            reader.subscription.acknowledge(stop)
            reader.acknowledged = stop
        else:
            with pytest.raises(FrameStreamError, match=f"acknowledged frames up to {stop};"):
                reader.subscription.acknowledge(stop)

    @rule(reader=readers)
    def resume(self, reader: ModelReader | None) -> None:
        """Come back as another connection, at the first frame that was not acknowledged."""
        if reader is None or not reader.paces:
            return
        self.acknowledgements_arrive()
        old = reader.subscription
        reader.subscription = subscribe(self.stream.address, name=reader.name, resume=True)
        reader.received = reader.acknowledged
        old.close()

    @rule(reader=readers, fails=st.booleans())
    def leave(self, reader: ModelReader | None, fails: bool) -> None:
        """Fail or finish."""
        if reader is None or reader.state != "open":
            return
        if fails:
            reader.subscription.fail("it broke")
            reader.state = "failed"
            if reader.every and not self.failed:
                self.failed, self.failed_late = "it broke", self.ended
                eventually(lambda: self.stream.error is not None)
        else:
            reader.subscription.finish()
            reader.state = "finished"

    @precondition(lambda self: not self.ended)
    @rule(fails=st.booleans())
    def end(self, fails: bool) -> None:
        """End the stream well or badly; the end waits for its subscribers."""
        self.ended = True
        if fails:
            self.stream.fail(RuntimeError("the camera broke"))
            self.failed = self.failed or "the camera broke"
        self.ending = threading.Thread(target=lambda: self.ledgers.append(self.stream.end()))
        self.ending.start()
        eventually(lambda: self.stream.flow.ended)

    @rule()
    def wait(self) -> None:
        """Do nothing, which is always possible."""

    @invariant()
    def acknowledgements_arrive(self) -> None:
        """The publisher counts as safe what all have acknowledged."""
        expected = min((p.acknowledged for p in self.parties if p.every), default=self.published)
        eventually(lambda: self.stream.acknowledged == expected)
        assert self.stream.published == self.published
        for party in self.parties:
            eventually(lambda party=party: self._state(party) == party.state)  # type: ignore[misc]

    def _state(self, party: ModelReader) -> str:
        return next(s.state for s in self.stream.ledger().subscribers if s.name == party.name)

    def teardown(self) -> None:
        """Let everybody read to the end, and compare the ledger with the model."""
        if not self.ended:
            self.end(fails=False)
        for party in self.parties:
            while party.state == "open":
                self.read(party, None)
                if party.every:
                    self.acknowledge(party, party.received - party.acknowledged)
                if party.received == self.published:
                    self.leave(party, fails=False)
        assert self.ending is not None
        self.ending.join(_SOON_S)
        assert len(self.ledgers) == 1
        self.acknowledgements_arrive()
        ledger = self.stream.ledger()
        self.stream.close()
        lines = [(s.name, s.acknowledged) for s in ledger.subscribers]
        assert lines == [(p.name, p.acknowledged) for p in self.parties]
        assert self.failed in ledger.reason
        complete = [p for p in self.parties if p.every and p.acknowledged == self.published]
        digests = {s.digest for s in ledger.subscribers if s.name in {p.name for p in complete}}
        assert digests <= {ledger.digest}
