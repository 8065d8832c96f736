"""Connections that are cut, silenced and made again: a subscriber goes on as if nothing had been."""

import threading
import time
from collections.abc import Iterator

import pytest

from concertino import FrameStreamError, SubscriberSilentError
from concertino.frames import FrameStream, Ring, subscribe
from tests.frames.contract.readers import (
    Reader,
    check_batch,
    drain,
    eventually,
    numbered_frames,
    take,
)
from tests.frames.line import Line

pytestmark = pytest.mark.disturbed_by_load(
    "who gives no sign of life for a short time-out counts as dead, and gets no processor in time"
)

SHAPE = (64, 128)


@pytest.fixture
def stream(request: pytest.FixtureRequest) -> Iterator[FrameStream]:
    timeout_s = getattr(request, "param", 8.0)
    with FrameStream(
        ring=Ring(SHAPE, "u2", 2**22),  # what is not shared travels
        shape=SHAPE,
        dtype="u2",
        ring_bytes=2**22,
        timeout_s=timeout_s,
        name="camera/darks",
    ) as stream:
        yield stream


@pytest.fixture
def line(stream: FrameStream) -> Iterator[Line]:
    line = Line(stream.address)
    yield line
    line.close()


def test_a_line_that_is_cut_in_mid_stream_loses_nothing(stream: FrameStream, line: Line) -> None:
    with Reader(line.address) as reader:
        for start in range(0, 600, 5):
            stream.publish(numbered_frames(start, 5, SHAPE))
            if start in (100, 101, 300, 450):
                eventually(lambda start=start: stream.acknowledged > start // 2)  # type: ignore[misc]
                line.cut()
        stream.end().check()
    assert reader.count == 600


def test_a_line_that_stays_down_for_a_while_loses_nothing(stream: FrameStream, line: Line) -> None:
    with Reader(line.address) as reader:
        stream.publish(numbered_frames(0, 20, SHAPE))
        line.down = True
        line.cut()
        stream.publish(numbered_frames(20, 20, SHAPE))
        time.sleep(0.8)
        line.down = False
        stream.publish(numbered_frames(40, 20, SHAPE))
        stream.end().check()
    assert reader.count == 60


def test_frames_in_hand_stay_valid_when_the_line_is_cut(stream: FrameStream, line: Line) -> None:
    reader = subscribe(line.address, name="reader")
    stream.publish(numbered_frames(0, 10, SHAPE))
    held = reader.read(max_frames=4, timeout_s=5)
    assert held is not None
    line.cut()
    check_batch(held, 0)
    reader.acknowledge(held.stop)
    batches = take(reader, 10)
    line.cut()
    reader.acknowledge(batches[-1].stop)
    # Nothing more comes: what was said into the dead line is said again.
    with pytest.raises(TimeoutError):
        reader.read(timeout_s=1.5)
    eventually(lambda: stream.acknowledged == 10)
    reader.close()


def test_the_last_words_are_said_again_when_the_line_is_cut(
    stream: FrameStream, line: Line
) -> None:
    reader = subscribe(line.address, name="reader")
    stream.publish(numbered_frames(0, 10, SHAPE))
    ending = threading.Thread(target=stream.end)
    ending.start()
    assert drain(reader) == 10
    line.cut()
    reader.finish()
    ending.join(8)
    stream.ledger().check()


@pytest.mark.parametrize("stream", [1.2], indirect=True)
def test_a_dead_line_is_noticed_on_both_sides(line: Line, stream: FrameStream) -> None:
    reader = Reader(line.address)
    stream.publish(numbered_frames(0, 2, SHAPE))
    eventually(lambda: stream.acknowledged == 2)
    line.dead = True
    begin = time.monotonic()
    stream.publish(numbered_frames(2, 10, SHAPE))
    with pytest.raises(
        FrameStreamError,
        match=r"The publisher of frame stream camera/darks gave no sign of life for \d\.\d s: its "
        r"process died, was stopped or cannot be reached\. Frames that were received are whole; see in the log of that process why it ended\.",
    ):
        reader.join()
    assert time.monotonic() - begin < 8
    eventually(lambda: isinstance(stream.error, SubscriberSilentError))


def test_a_viewer_goes_on_after_a_cut(stream: FrameStream, line: Line) -> None:
    viewer = subscribe(line.address, name="viewer", delivery="latest")
    stream.publish(numbered_frames(0, 3, SHAPE))
    first = viewer.read(timeout_s=5)
    assert first is not None
    line.cut()
    stream.publish(numbered_frames(3, 4, SHAPE))
    second = viewer.read(timeout_s=8)
    assert second is not None
    check_batch(second, 6)
    viewer.close()
