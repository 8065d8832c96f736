"""Contract of frame transports: which frames a subscriber gets, and when."""

import json
import time
from collections.abc import Callable

import numpy as np
import pytest

from concertino import FrameStreamError
from concertino.frames import Claim, FrameStream, frame_checksum, subscribe

from .readers import SHAPE, Reader, check_batch, eventually, numbered_frames, take

Make = Callable[..., FrameStream]


class DeliveryContract:
    """Every frame in order, or only the newest."""

    def test_every_frame_arrives_once_and_in_order(self, make: Make) -> None:
        stream = make(capacity=8)
        with Reader(stream.address) as reader:
            for start in range(0, 60, 3):
                stream.publish(numbered_frames(start, 3))
            ledger = stream.end()
        assert reader.count == 60
        ledger.check()

    def test_a_frame_carries_its_time_its_number_and_its_checksum(self, make: Make) -> None:
        stream = make()
        frames = numbered_frames(5, 3)
        with subscribe(stream.address, name="reader") as reader:
            stream.publish(frames, timestamps=[10, 20, 30], numbers=[7, 9, 10])
            batch = reader.read()
            assert batch is not None
            assert (batch.start, batch.stop, len(batch)) == (0, 3, 3)
            assert batch.timestamps.tolist() == [10, 20, 30]
            assert batch.numbers.tolist() == [7, 9, 10]
            expected = [frame_checksum(np.ascontiguousarray(frame)) for frame in frames]
            assert batch.checksums.tolist() == expected
            arrays = (batch.timestamps, batch.numbers, batch.checksums)
            assert [array.dtype.str for array in arrays] == ["<i8", "<i8", "<u8"]
            reader.acknowledge(3)
            reader.finish()

    def test_times_and_numbers_have_defaults(self, make: Make) -> None:
        stream = make()
        before = time.time_ns()
        reader = subscribe(stream.address, name="reader")
        stream.publish(numbered_frames(0, 2))
        stream.note_dropped([2])
        stream.publish(numbered_frames(2, 1)[0])
        batches = take(reader, 3)
        assert [n for batch in batches for n in batch.numbers] == [0, 1, 3]
        assert all(np.all(batch.timestamps >= before) for batch in batches)
        reader.close()

    @pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i4", "f4", "f8"])
    def test_pixels_of_any_kind_arrive_as_they_are(self, make: Make, dtype: str) -> None:
        stream = make(dtype=dtype)
        with Reader(stream.address) as reader:
            assert reader.subscription.dtype == np.dtype(dtype)
            assert reader.subscription.shape == SHAPE
            stream.publish(numbered_frames(0, 5, dtype=dtype))
            stream.end().check()

    def test_frames_of_a_subscriber_that_wants_each_cannot_be_written(self, make: Make) -> None:
        stream = make()
        stream.publish(numbered_frames(0, 2))
        reader = subscribe(stream.address, name="reader")
        batch = reader.read()
        assert batch is not None
        with pytest.raises(ValueError, match="read-only"):
            batch.frames[0, 0, 0] = 1
        reader.close()

    def test_a_read_takes_no_more_frames_than_it_asks_for(self, make: Make) -> None:
        stream = make(capacity=8)
        stream.publish(numbered_frames(0, 7))
        reader = subscribe(stream.address, name="reader")
        seen = 0
        while seen < 7:
            batch = reader.read(max_frames=3)
            assert batch is not None
            assert len(batch) <= 3
            check_batch(batch, seen)
            seen = batch.stop
        reader.close()

    def test_frames_stay_as_they_are_until_they_are_acknowledged(self, make: Make) -> None:
        stream = make(capacity=4)
        reader = subscribe(stream.address, name="reader")
        stream.publish(numbered_frames(0, 4))
        held = take(reader, 4)
        with pytest.raises(FrameStreamError, match="no free slot"):
            stream.reserve(timeout_s=0.05)
        for batch in held:
            check_batch(batch, batch.start)
        reader.acknowledge(1)
        stream.publish(numbered_frames(4, 1))
        frames = np.concatenate([batch.frames for batch in held])[1:]
        np.testing.assert_array_equal(frames, numbered_frames(1, 3))
        take(reader, 5)
        reader.close()

    def test_reading_waits_no_longer_than_it_is_told(self, make: Make) -> None:
        stream = make(name="camera/darks")
        reader = subscribe(stream.address, name="reader")
        begin = time.monotonic()
        with pytest.raises(
            TimeoutError,
            match=r"No frame on stream camera/darks within 0\.1 s; 0 were published\.",
        ):
            reader.read(timeout_s=0.1)
        assert 0.09 < time.monotonic() - begin < 2
        stream.publish(numbered_frames(0, 1))
        batch = reader.read(timeout_s=5)
        assert batch is not None
        check_batch(batch, 0)
        reader.close()

    def test_several_subscribers_get_every_frame_each(self, make: Make) -> None:
        stream = make(capacity=8)
        readers = [Reader(stream.address, f"reader {index}") for index in range(4)]
        for start in range(0, 50, 5):
            stream.publish(numbered_frames(start, 5))
        ledger = stream.end()
        for reader in readers:
            reader.join()
            assert reader.count == 50
        ledger.check()
        assert {s.digest for s in ledger.subscribers} == {ledger.digest}

    def test_latest_gets_the_newest_frame_only(self, make: Make) -> None:
        stream = make(capacity=4)
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        with pytest.raises(TimeoutError):
            viewer.read(timeout_s=0)
        stream.publish(numbered_frames(0, 10))
        batch = viewer.read(timeout_s=5)
        assert batch is not None
        check_batch(batch, 9)
        assert len(batch) == 1
        with pytest.raises(TimeoutError, match="No frame on stream"):
            viewer.read(timeout_s=0.02)
        stream.publish(numbered_frames(10, 3))
        newer = viewer.read(timeout_s=0)
        assert newer is not None
        check_batch(newer, 12)
        viewer.close()

    def test_latest_gets_a_copy_that_lasts(self, make: Make) -> None:
        stream = make(capacity=2)
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        stream.publish(numbered_frames(0, 1))
        batch = viewer.read(timeout_s=5)
        stream.publish(numbered_frames(1, 20))
        assert batch is not None
        check_batch(batch, 0)
        viewer.close()

    def test_latest_waits_for_a_frame_that_is_newer(self, make: Make) -> None:
        stream = make(capacity=4)
        seen: list[int] = []
        with Reader(
            stream.address, delivery="latest", each=lambda _, batch: seen.append(batch.start)
        ):
            for index in range(5):
                stream.publish(numbered_frames(index, 1))
                eventually(lambda index=index: bool(seen) and seen[-1] == index)  # type: ignore[misc]
            stream.end()
        assert seen == sorted(set(seen))

    def test_latest_is_not_fetched_more_often_than_it_may(self, make: Make) -> None:
        stream = make(capacity=4)
        began_s, index = time.monotonic(), 0
        with Reader(stream.address, delivery="latest", refresh_hz=20.0) as reader:
            while time.monotonic() < began_s + 0.2 or reader.count < 3:
                stream.publish(numbered_frames(index, 1))
                index += 1
            stream.end()
        assert reader.count < index
        assert (reader.count - 1) / 20 <= time.monotonic() - began_s

    def test_latest_never_slows_the_publisher(self, make: Make) -> None:
        stream = make(capacity=2)
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        stream.publish(numbered_frames(0, 200))
        assert stream.published == stream.acknowledged == 200
        ledger = stream.end()
        ledger.check()
        viewer.close()

    def test_claims_stand_in_the_order_they_were_made(self, make: Make) -> None:
        stream = make()
        first = Claim("file:///data/1/", "image/tiff", {"template": "f_{:06d}.tif"}, "synced")
        second = Claim("file:///export.h5", "application/x-hdf5", {"chunk_shape": [1, 8, 16]})
        writer = subscribe(stream.address, name="writer", claim=first)
        assert list(stream.claims) == [first]
        export = subscribe(stream.address, name="export")
        export.claim(second)
        assert list(stream.claims) == [first, second]
        assert json.loads(json.dumps(stream.claims[1].parameters)) == second.parameters
        writer.close()
        export.close()

    def test_a_subscriber_may_join_late_while_the_first_frame_is_held(self, make: Make) -> None:
        stream = make(capacity=8, name="camera/flats")
        stream.publish(numbered_frames(0, 8))
        with Reader(stream.address) as reader:
            stream.publish(numbered_frames(8, 8))
            stream.end().check()
        assert reader.count == 16
        other = make(capacity=8, name="camera/flats")
        other.publish(numbered_frames(0, 10))
        with pytest.raises(
            FrameStreamError,
            match=r"Subscriber 'late' wants every frame of stream camera/flats but came late: "
            r"frames 0 to 1 are gone from the ring of 8 frames\. Subscribe before the camera "
            r"starts, or give the stream a larger ring_bytes\.",
        ):
            subscribe(other.address, name="late")
        subscribe(other.address, name="viewer", delivery="latest").close()

    def test_subscribers_of_a_stream_have_different_names(self, make: Make) -> None:
        stream = make(name="camera/darks")
        first = subscribe(stream.address, name="writer")
        with pytest.raises(
            FrameStreamError,
            match="Frame stream camera/darks has a subscriber 'writer' already; give each "
            "subscriber its own name",
        ):
            subscribe(stream.address, name="writer")
        first.close()

    def test_there_are_two_kinds_of_delivery(self, make: Make) -> None:
        stream = make(name="camera/darks")
        with pytest.raises(
            FrameStreamError,
            match="Subscriber 'reader' of frame stream camera/darks asked for delivery 'all'; "
            "there are 'every' and 'latest'",
        ):
            subscribe(stream.address, name="reader", delivery="all")  # type: ignore[arg-type]

    def test_a_stream_that_is_gone_is_not_found(self, make: Make) -> None:
        stream = make()
        stream.end()
        stream.close()
        with pytest.raises(FrameStreamError, match="'reader' found no frame stream at"):
            subscribe(stream.address, name="reader", timeout_s=0.2)

    def test_frames_that_do_not_fit_the_stream_are_refused(self, make: Make) -> None:
        stream = make(name="camera/darks")
        with pytest.raises(
            FrameStreamError,
            match=r"camera/darks takes frames of shape \(8, 16\) and type uint16, and was given "
            r"\(2, 8, 15\) of uint16",
        ):
            stream.publish(np.zeros((2, 8, 15), np.uint16))
        with pytest.raises(FrameStreamError, match=r"was given \(8, 16\) of float64"):
            stream.publish(np.zeros((8, 16)))
        assert stream.published == 0
