"""Frames that wait in the ring until it is known whether they are wanted, whichever way they go."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from concertino import FrameStreamError
from concertino._clocks import HostTimes
from concertino.frames import (
    FrameStream,
    PreTriggerBuffer,
    RecordingTrigger,
    Ring,
    _direct,
    subscribe,
)

CAPACITY = 8
SHAPE = (3, 5)


@pytest.fixture(params=["direct", "memory", "wire"])
def stream(request: pytest.FixtureRequest) -> Iterator[FrameStream]:
    ring = Ring(SHAPE, np.uint16, CAPACITY * 30) if request.param == "wire" else None
    with FrameStream(shape=SHAPE, dtype=np.uint16, ring_bytes=CAPACITY * 30, ring=ring) as made:
        if request.param != "direct":
            _direct.hide(made)
        yield made


def expose(held: PreTriggerBuffer, count: int) -> None:
    """Hold frames whose pixels, numbers and times tell their position."""
    for _ in range(count):
        number = held.stop
        held.slots(1)[...] = number
        held.keep(1, [10 * number], [100 + number])


@pytest.mark.parametrize(("exposed", "first", "stop"), [(5, 1, 5), (8, 0, 8), (29, 22, 27)])
def test_what_is_published_comes_as_if_nothing_else_had_been(
    stream: FrameStream, exposed: int, first: int, stop: int
) -> None:
    readers = [subscribe(stream.address, name=name, verify=True) for name in ("one", "two")]
    got: dict[str, list[int]] = {reader.name: [] for reader in readers}

    def read(reader: object) -> None:
        subscription = next(r for r in readers if r is reader)
        for batch in subscription:
            for index, frame in enumerate(batch.frames):
                number = int(batch.numbers[index]) - 100
                assert (frame == number).all()
                assert batch.timestamps[index] == 10 * number
                got[subscription.name].append(number)
            subscription.acknowledge(batch.stop)
        subscription.finish()

    threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    held = PreTriggerBuffer(stream)
    expose(held, exposed)
    assert stream.published == 0
    assert stream.ledger().discarded == exposed
    held.publish(first, stop)
    # Then it goes on as any stream does, over the seam of the ring several times.
    for number in range(stop, stop + 3 * CAPACITY):
        stream.publish(
            np.full(SHAPE, number, np.uint16), timestamps=[10 * number], numbers=[100 + number]
        )
    ledger = stream.end(timeout_s=20)
    for thread in threads:
        thread.join(240)
    ledger.check()
    expected = list(range(first, stop + 3 * CAPACITY))
    assert got == {"one": expected, "two": expected}
    assert ledger.published == len(expected)
    assert ledger.discarded == exposed - (stop - first)
    assert ledger.exposed == ledger.published + ledger.discarded


def test_frames_are_whole_though_nothing_is_exposed_after_them(stream: FrameStream) -> None:
    # What was written while they waited, many laps of the ring, is nothing that came after them.
    reader = subscribe(stream.address, name="reader", verify=True)
    held = PreTriggerBuffer(stream)
    expose(held, 10 * CAPACITY)
    held.publish(10 * CAPACITY - 3, 10 * CAPACITY)
    got: list[int] = []
    while len(got) < 3:
        batch = reader.read(timeout_s=30)
        assert batch is not None
        assert reader.intact
        got += [int(frame[0, 0]) for frame in batch.frames]
        reader.acknowledge(batch.stop)
    assert got == [77, 78, 79]
    reader.close()


def test_the_ring_serves_the_next_stream_from_its_beginning(stream: FrameStream) -> None:
    held = PreTriggerBuffer(stream)
    expose(held, 13)
    held.publish(8, 13)
    stream.end()
    stream.close()
    with FrameStream(shape=SHAPE, dtype=np.uint16, ring=stream.ring,
                     ring_bytes=CAPACITY * 30) as after:  # fmt: skip
        assert after.ring is stream.ring
        _direct.hide(after)
        reader = subscribe(after.address, name="reader", verify=True)
        after.publish(np.arange(15, dtype=np.uint16).reshape(SHAPE))
        batch = reader.read(timeout_s=10)
        assert batch is not None
        assert (batch.start, int(batch.frames[0, 2, 4])) == (0, 14)
        reader.acknowledge(1)
        after.end(timeout_s=0)
        reader.close()


def test_frames_lost_among_those_kept_are_lost_and_others_let_go() -> None:
    with FrameStream(shape=SHAPE, dtype=np.uint16, ring_bytes=CAPACITY * 30) as stream:
        held = PreTriggerBuffer(stream)
        for number in range(20):
            dropped = [1000 + number] if number in (2, 9, 15) else []
            held.slots(1)[...] = number
            held.keep(1, [number], [number], dropped)
        held.publish(13, 20)
        ledger = stream.ledger()
    assert ledger.dropped == (1015,)
    assert ledger.discarded == 13 + 2
    assert ledger.exposed == 23
    stream.triggered = 8
    assert stream.ledger().differences() == ["the camera dropped 1 frames (numbers 1015)"]
    stream.triggered = 9
    assert stream.ledger().differences()[0] == (
        "9 frames were triggered but 8 exposed besides 15 let go"
    )


def test_the_first_frame_after_a_time() -> None:
    with FrameStream(shape=SHAPE, dtype=np.uint16, ring_bytes=CAPACITY * 30) as stream:
        held = PreTriggerBuffer(stream)
        expose(held, 21)
        assert [held.position_after(HostTimes(time)) for time in (0, 129, 130, 155, 200, 999)] == [
            13, 13, 14, 16, 21, 21,
        ]  # fmt: skip


def test_a_subscriber_that_fails_meanwhile_ends_the_waiting() -> None:
    with FrameStream(shape=SHAPE, dtype=np.uint16, ring_bytes=CAPACITY * 30) as stream:
        held = PreTriggerBuffer(stream)
        expose(held, 3)
        subscribe(stream.address, name="writer").fail("the disk is gone")
        with pytest.raises(FrameStreamError, match="the disk is gone"):
            held.slots(1)


def test_a_trigger_fires_once_and_only_when_armed() -> None:
    trigger = RecordingTrigger()
    assert not trigger.fire("too early")
    trigger.arm()
    assert trigger.armed
    threading.Timer(0.05, lambda: trigger.fire("now", time_ns=5, value=2.5)).start()
    event = trigger.wait(240)
    assert event is not None
    assert (event.reason, event.time_ns, event.value) == ("now", 5, 2.5)
    assert not trigger.fire("again")
    assert trigger.event == event
    trigger.arm()
    assert trigger.event is None
    assert trigger.wait(0) is None
    trigger.disarm()
    assert not trigger.fire("too late")
