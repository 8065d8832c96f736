"""Contract of frame transports: several subscribers share a stream."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import FrameStreamError, SubscriberFailedError
from concertino.frames import FrameStream, Part, frame_checksum, subscribe

from ._frame_readers import SHAPE, eventually

Make = Callable[..., FrameStream]
COUNT = 60


def _random_frames() -> NDArray[Any]:
    return np.random.default_rng(7).integers(0, 4096, (COUNT, *SHAPE), np.uint16)


class _PartReader:
    """Puts what one part gets where it belongs, in a thread."""

    def __init__(self, stream: FrameStream, part: Part, whole: NDArray[Any]) -> None:
        self.indices: list[int] = []
        self._subscription = subscribe(stream.address, name="worker", part=part)
        self._rows = part.rows(SHAPE[0])
        self._whole = whole
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._subscription as subscription:
            for batch in subscription:
                assert batch.frames.shape[1:] == subscription.shape
                for offset, frame in enumerate(batch.frames):
                    assert frame_checksum(frame) == int(batch.checksums[offset])
                self._whole[batch.start : batch.stop, self._rows] += batch.frames
                self.indices += range(batch.start, batch.stop)
                subscription.acknowledge(batch.stop)

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


class PartContract:
    """Each part gets what belongs to it, once; a frame is safe when all parts said so."""

    @pytest.mark.parametrize(
        "parts",
        [
            [Part(n, 3) for n in range(3)],
            [Part(n, 2, by="frames") for n in range(2)],
            [Part(n, 3, by="frames", at_once=7) for n in range(3)],
        ],
        ids=["rows", "frames", "frames, seven at once"],
    )
    @pytest.mark.parametrize("at_once", [1, 6])
    def test_parts_make_the_whole(self, make: Make, parts: list[Part], at_once: int) -> None:
        frames, whole = _random_frames(), np.zeros((COUNT, *SHAPE), np.uint16)
        stream = make(capacity=24)
        readers = [_PartReader(stream, part, whole) for part in parts]
        for start in range(0, COUNT, at_once):
            stream.publish(frames[start : start + at_once])
        ledger = stream.end()
        for reader in readers:
            reader.join()
        ledger.check()
        np.testing.assert_array_equal(whole, frames)
        taken = sorted(index for reader in readers for index in reader.indices)
        times = len(parts) if parts[0].by == "rows" else 1
        assert taken == sorted(times * list(range(COUNT)))
        assert [s.name for s in ledger.subscribers] == [
            f"worker {n + 1}/{len(parts)}" for n in range(len(parts))
        ]

    def test_a_frame_is_safe_when_all_parts_said_so(self, make: Make) -> None:
        stream = make()
        frames = _random_frames()
        upper, lower = (subscribe(stream.address, name="worker", part=Part(n, 2)) for n in range(2))
        stream.publish(frames[:4])
        for subscription in (upper, lower):
            batch = subscription.read(timeout_s=5)
            while batch is not None and batch.stop < 4:
                batch = subscription.read(timeout_s=5)
        upper.acknowledge(4)
        eventually(lambda: stream.ledger().subscribers[0].acknowledged == 4)
        assert stream.acknowledged == 0
        lower.acknowledge(3)
        eventually(lambda: stream.acknowledged == 3)
        lower.acknowledge(4)
        upper.finish()
        lower.finish()
        stream.end().check()

    @pytest.mark.parametrize("by", ["rows", "frames"])
    def test_a_part_that_nobody_takes_is_missed(self, make: Make, by: Any) -> None:
        stream = make()
        whole = np.zeros((COUNT, *SHAPE), np.uint16)
        reader = _PartReader(stream, Part(0, 2, by=by), whole)
        stream.publish(_random_frames()[:6])
        ledger = stream.end()
        reader.join()
        assert ledger.acknowledged == stream.acknowledged == 0
        assert ledger.differences() == ["nobody took the part worker 2/2"]

    def test_parts_must_agree(self, make: Make) -> None:
        stream = make()
        first = subscribe(stream.address, name="worker", part=Part(0, 2))
        with pytest.raises(FrameStreamError, match="divide the stream in the same way"):
            subscribe(stream.address, name="worker", part=Part(1, 3))
        with pytest.raises(FrameStreamError, match="has a subscriber 'worker 1/2' already"):
            subscribe(stream.address, name="worker", part=Part(0, 2))
        with pytest.raises(FrameStreamError, match="part of the newest frame"):
            subscribe(stream.address, name="viewer", delivery="latest", part=Part(0, 2))
        first.finish()

    @pytest.mark.parametrize("by", ["rows", "frames"])
    def test_a_part_that_fails_fails_the_stream(self, make: Make, by: Any) -> None:
        stream = make()
        one, other = (
            subscribe(stream.address, name="worker", part=Part(n, 2, by=by)) for n in range(2)
        )
        stream.publish(_random_frames()[:4])
        assert other.read(timeout_s=5) is not None
        other.fail("the disk is full")
        eventually(lambda: stream.error is not None)
        with pytest.raises(SubscriberFailedError, match=r"'worker 2/2'.*the disk is full"):
            stream.publish(_random_frames()[:1])
        one.fail("so it stops, too")
        assert stream.end().acknowledged == 0

    def test_a_part_goes_on_where_it_was_lost(self, make: Make) -> None:
        stream = make(capacity=32)
        frames, whole = _random_frames(), np.zeros((COUNT, *SHAPE), np.uint16)
        other = _PartReader(stream, Part(1, 2, by="frames", at_once=4), whole)
        part = Part(0, 2, by="frames", at_once=4)
        lost = subscribe(stream.address, name="worker", part=part)
        stream.publish(frames[:20])
        batch = lost.read(timeout_s=5)
        assert batch is not None
        assert batch.start == 0
        whole[: batch.stop] += batch.frames
        lost.acknowledge(batch.stop)
        stop = batch.stop
        eventually(lambda: stream.ledger().subscribers[1].acknowledged >= stop)
        again = subscribe(stream.address, name="worker", part=part, resume=True)

        def publish_the_rest() -> None:
            stream.publish(frames[20:])
            stream.end()

        publishing = threading.Thread(target=publish_the_rest)
        publishing.start()
        for batch in again:
            whole[batch.start : batch.stop] += batch.frames
            again.acknowledge(batch.stop)
        again.finish()
        publishing.join(10)
        lost.close()
        other.join()
        stream.ledger().check()
        np.testing.assert_array_equal(whole, frames)

    def test_a_part_whose_turn_is_far_away_is_not_silent(self, make: Make) -> None:
        stream = make(timeout_s=0.6)
        frames, whole = _random_frames(), np.zeros((COUNT, *SHAPE), np.uint16)
        readers = [
            _PartReader(stream, Part(n, 2, by="frames", at_once=COUNT // 2), whole)
            for n in range(2)
        ]
        for frame in frames:
            stream.publish(frame)
            time.sleep(0.03)
        ledger = stream.end()
        for reader in readers:
            reader.join()
        ledger.check()
        np.testing.assert_array_equal(whole, frames)
