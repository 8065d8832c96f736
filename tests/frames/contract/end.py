"""Contract of frame transports: the end of a stream and its ledger."""

import threading
import time
from collections.abc import Callable

import pytest

from concertino import FramesLostError, FrameStreamError
from concertino.frames import FrameStream, ledger_records, subscribe

from .readers import Reader, check_batch, drain, eventually, numbered_frames

Make = Callable[..., FrameStream]


class EndContract:
    """Every frame is accounted for."""

    def test_a_stream_of_no_frames_ends(self, make: Make) -> None:
        stream = make()
        viewer = Reader(stream.address, "viewer", delivery="latest")
        with Reader(stream.address) as reader:
            ledger = stream.end()
        viewer.join()
        assert (reader.count, viewer.count) == (0, 0)
        assert (ledger.published, ledger.acknowledged) == (0, 0)
        ledger.check()

    def test_a_stream_of_one_frame_ends(self, make: Make) -> None:
        stream = make()
        with Reader(stream.address) as reader:
            stream.publish(numbered_frames(0, 1)[0])
            ledger = stream.end()
        assert (reader.count, ledger.published, ledger.acknowledged) == (1, 1, 1)
        ledger.check()

    def test_the_ledger_has_a_line_for_each_party(self, make: Make) -> None:
        stream = make(name="camera/darks")
        stream.triggered = 7
        viewer = Reader(stream.address, "viewer", delivery="latest")
        with Reader(stream.address, "writer"):
            stream.publish(numbered_frames(0, 5))
            stream.note_dropped([5, 6])
            ledger = stream.end()
        viewer.join()
        assert (ledger.triggered, ledger.exposed, ledger.published) == (7, 7, 5)
        assert ledger.dropped == stream.dropped == (5, 6)
        (writer,) = (s for s in ledger.subscribers if s.name == "writer")
        assert (writer.received, writer.acknowledged, writer.state) == (5, 5, "finished")
        assert writer.digest == ledger.digest
        assert ledger.differences() == ["the camera dropped 2 frames (numbers 5, 6)"]
        with pytest.raises(
            FramesLostError,
            match=r"Frame stream camera/darks lost frames: the camera dropped 2 frames \(numbers "
            r"5, 6\)\. Frames 0 to 5 \(excluded\) are safe; take the others again\.",
        ):
            ledger.check()
        roles = {row["party"]: row["role"] for row in ledger_records(ledger, "darks")}
        assert roles == {"camera": "publisher", "writer": "every", "viewer": "latest"}

    def test_the_digest_tells_other_frames_and_another_order(self, make: Make) -> None:
        digests = set()
        for order in ([0, 1, 2], [0, 2, 1], [0, 1], [0, 1, 2, 2], []):
            stream = make()
            with Reader(stream.address, each=None, delivery="latest"):
                for index in order:
                    stream.publish(numbered_frames(index, 1))
                digests.add(stream.end().digest)
            stream.close()
        assert len(digests) == 5

    def test_the_end_waits_for_the_slowest_subscriber(self, make: Make) -> None:
        stream = make()
        slow = subscribe(stream.address, name="slow")
        stream.publish(numbered_frames(0, 3))
        ended = threading.Event()

        def end() -> None:
            stream.end()
            ended.set()

        thread = threading.Thread(target=end)
        with Reader(stream.address, "fast"):
            thread.start()
            assert drain(slow) == 3
            assert not ended.wait(0.05)
            slow.finish()
            assert ended.wait(8)
        thread.join()
        stream.ledger().check()

    def test_the_end_waits_no_longer_than_it_is_told(self, make: Make) -> None:
        stream = make(name="camera/darks")
        reader = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 3))
        ledger = stream.end(timeout_s=0.1)
        assert ledger.subscribers[0].state == "silent"
        assert "not finished within 0.1 s" in ledger.reason
        with pytest.raises(FramesLostError, match="writer acknowledged 0 of 3 frames"):
            ledger.check()
        reader.close()

    def test_frames_left_open_are_told(self, make: Make) -> None:
        stream = make()
        reader = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 4))
        ledgers = []
        thread = threading.Thread(target=lambda: ledgers.append(stream.end()))
        thread.start()
        while (batch := reader.read()) is not None:
            reader.acknowledge(min(3, batch.stop))
        reader.finish()
        thread.join()
        assert ledgers[0].differences() == ["writer acknowledged 3 of 4 frames"]

    def test_nothing_can_be_published_after_the_end(self, make: Make) -> None:
        stream = make(name="camera/darks")
        stream.publish(numbered_frames(0, 2))
        stream.end()
        with pytest.raises(
            FrameStreamError,
            match="Frame stream camera/darks has ended after 2 frames; make a new stream for more",
        ):
            stream.publish(numbered_frames(2, 1))

    def test_frames_published_before_the_end_are_read_after_it(self, make: Make) -> None:
        stream = make()
        reader = subscribe(stream.address, name="reader")
        stream.publish(numbered_frames(0, 5))
        thread = threading.Thread(target=stream.end)
        thread.start()
        assert drain(reader) == 5
        assert reader.read(timeout_s=5) is None
        reader.close()
        thread.join()
        stream.ledger().check()

    def test_the_newest_frame_can_be_read_after_the_end(self, make: Make) -> None:
        stream = make()
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        stream.publish(numbered_frames(0, 5))
        stream.end()
        stream.close()
        batch = viewer.read(timeout_s=5)
        assert batch is not None
        check_batch(batch, 4)
        assert viewer.read(timeout_s=5) is None
        viewer.close()

    def test_a_subscription_that_was_left_reads_no_more(self, make: Make) -> None:
        stream = make()
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        viewer.close()
        viewer.close()
        with pytest.raises(FrameStreamError, match=r"'viewer' of frame stream .* has left it"):
            viewer.read()

    def test_a_name_is_free_again_when_its_subscriber_has_left(self, make: Make) -> None:
        stream = make()
        subscribe(stream.address, name="viewer", delivery="latest").close()
        eventually(lambda: stream.ledger().subscribers[0].state == "finished")
        subscribe(stream.address, name="viewer", delivery="latest").close()

    def test_two_streams_follow_each_other_at_once(self, make: Make) -> None:
        ring = None
        for kind in ("darks", "flats", "projections"):
            stream = make(name=f"camera/{kind}", ring=ring)
            with Reader(stream.address) as reader:
                stream.publish(numbered_frames(0, 20))
                stream.end().check()
            stream.close()
            ring = stream.ring
            assert reader.count == 20

    def test_two_streams_run_at_the_same_time(self, make: Make) -> None:
        streams = [make(capacity=4, name=name) for name in ("one", "two")]
        readers = [Reader(stream.address, stream.name) for stream in streams]

        def publish(stream: FrameStream) -> None:
            for index in range(100):
                stream.publish(numbered_frames(index, 1))
            stream.end().check()

        threads = [threading.Thread(target=publish, args=(stream,)) for stream in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for reader in readers:
            reader.join()
            assert reader.count == 100

    def test_ending_twice_is_harmless(self, make: Make) -> None:
        stream = make()
        stream.publish(numbered_frames(0, 2))
        begin = time.monotonic()
        assert stream.end() == stream.end()
        assert time.monotonic() - begin < 1
