"""Contract of frame transports: credit and acknowledgement."""

import threading
import time
from collections.abc import Callable

import pytest

from concertino import FrameStreamError, ParameterError
from concertino.frames import FrameStream, subscribe

from .readers import Reader, eventually, numbered_frames, take

Make = Callable[..., FrameStream]


class FlowContract:
    """Who waits for whom."""

    def test_a_slow_subscriber_slows_the_publisher(self, make: Make) -> None:
        stream = make(capacity=2)
        with Reader(stream.address, each=lambda *_: time.sleep(0.02)):
            begin = time.monotonic()
            for index in range(12):
                stream.publish(numbered_frames(index, 1))
            # At most two frames are acknowledged after each sleep.
            assert time.monotonic() - begin > 0.08
            stream.end().check()

    def test_a_full_ring_is_told_in_numbers(self, make: Make) -> None:
        stream = make(capacity=4, name="camera/projections")
        reader = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 4))
        begin = time.monotonic()
        with pytest.raises(
            FrameStreamError,
            match=r"Frame stream camera/projections: no free slot within 0\.1 s; the ring of 4 "
            r"frames is full and 'writer' has 0 of 4 safe\. Give a larger ring_bytes or a lower "
            r"frame rate\.",
        ):
            stream.reserve(timeout_s=0.1)
        assert 0.09 < time.monotonic() - begin < 2
        reader.close()

    def test_a_waiting_publisher_goes_on_when_a_frame_is_acknowledged(self, make: Make) -> None:
        stream = make(capacity=2)
        reader = subscribe(stream.address, name="reader")
        stream.publish(numbered_frames(0, 2))
        done = threading.Event()

        def publish() -> None:
            stream.publish(numbered_frames(2, 1))
            done.set()

        publisher = threading.Thread(target=publish)
        publisher.start()
        assert not done.wait(0.05)
        batch = reader.read(max_frames=1)
        assert batch is not None
        assert not done.wait(0.05)
        reader.acknowledge(batch.stop)
        assert done.wait(8)
        publisher.join()
        reader.close()

    def test_slots_are_written_in_place(self, make: Make) -> None:
        stream = make(capacity=4)
        with Reader(stream.address) as reader:
            done = 0
            while done < 20:
                slots = stream.reserve(min(3, 20 - done))
                assert 1 <= len(slots) <= 3
                slots[...] = numbered_frames(done, len(slots))
                stream.commit(len(slots))
                done += len(slots)
            stream.end().check()
        assert reader.count == 20

    def test_fewer_frames_than_reserved_may_be_published(self, make: Make) -> None:
        stream = make(capacity=8, name="camera/darks")
        with Reader(stream.address) as reader:
            slots = stream.reserve(4)
            slots[:2] = numbered_frames(0, 2)
            stream.commit(2)
            stream.commit(0)
            with pytest.raises(
                FrameStreamError,
                match="camera/darks was told to publish 1 frames; 0 slots are reserved",
            ):
                stream.commit(1)
            stream.publish(numbered_frames(2, 1))
            stream.end().check()
        assert reader.count == 3

    def test_without_subscribers_frames_count_as_taken(self, make: Make) -> None:
        stream = make(capacity=2)
        stream.publish(numbered_frames(0, 30))
        assert (stream.published, stream.acknowledged) == (30, 30)
        assert not stream.has_subscribers
        stream.end().check()

    def test_safe_is_what_all_have_acknowledged(self, make: Make) -> None:
        stream = make(capacity=8)
        one, two = (subscribe(stream.address, name=name) for name in ("one", "two"))
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        assert stream.has_subscribers
        stream.publish(numbered_frames(0, 6))
        for reader in (one, two):
            take(reader, 6)
        assert stream.acknowledged == 0
        one.acknowledge(5)
        two.acknowledge(2)
        eventually(lambda: stream.acknowledged == 2)
        two.acknowledge(6)
        eventually(lambda: stream.acknowledged == 5)
        one.acknowledge(6)
        eventually(lambda: stream.acknowledged == 6)
        for reader in (one, two, viewer):
            reader.close()

    def test_only_frames_that_were_received_can_be_acknowledged(self, make: Make) -> None:
        stream = make(capacity=8, name="camera/darks")
        reader = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 4))
        batch = reader.read(max_frames=2)
        assert batch is not None
        for stop in (3, 4, 100):
            with pytest.raises(
                FrameStreamError,
                match=f"Subscriber 'writer' of frame stream camera/darks acknowledged frames up "
                f"to {stop}; it has received {batch.stop} and acknowledged 0",
            ):
                reader.acknowledge(stop)
        reader.acknowledge(2)
        reader.acknowledge(2)
        with pytest.raises(FrameStreamError, match="up to 1; it has received 2 and acknowledged 2"):
            reader.acknowledge(1)
        eventually(lambda: stream.acknowledged == 2)
        reader.close()

    def test_a_subscriber_may_leave_frames_open_up_to_the_whole_ring(self, make: Make) -> None:
        stream = make(capacity=16)
        reader = subscribe(stream.address, name="reader")
        stream.publish(numbered_frames(0, 16))
        take(reader, 16)
        reader.acknowledge(16)
        stream.publish(numbered_frames(16, 16))
        reader.close()

    def test_listeners_hear_of_what_subscribers_do(self, make: Make) -> None:
        stream = make()
        heard = threading.Event()
        stream.add_listener(heard.set)
        reader = subscribe(stream.address, name="reader")
        stream.publish(numbered_frames(0, 1))
        batch = reader.read()
        assert batch is not None
        heard.clear()
        reader.acknowledge(batch.stop)
        assert heard.wait(8)
        eventually(lambda: stream.acknowledged == 1)
        heard.clear()
        reader.fail("enough")
        assert heard.wait(8)

    def test_a_read_of_no_frames_is_refused(self, make: Make) -> None:
        stream = make()
        reader = subscribe(stream.address, name="reader")
        with pytest.raises(ParameterError, match="max_frames: 0 was given; give 1 or more"):
            reader.read(max_frames=0)
        reader.close()

    def test_a_pace_of_no_frames_is_refused(self, make: Make) -> None:
        stream = make()
        with pytest.raises(
            ParameterError, match=r"refresh_hz: 0\.0 was given for subscriber 'eye'"
        ):
            subscribe(stream.address, name="eye", delivery="latest", refresh_hz=0.0)
        subscribe(stream.address, name="eye", delivery="latest", refresh_hz=None).close()
