"""Contract of frame transports: failing, silent and returning parties."""

import threading
import time
from collections.abc import Callable

import pytest

from concertino import FrameStreamError, SubscriberFailedError, SubscriberSilentError
from concertino.frames import FrameStream, subscribe

from .readers import Reader, check_batch, drain, eventually, numbered_frames, take

Make = Callable[..., FrameStream]


class FaultContract:
    """Nobody fails unnoticed."""

    def test_a_failing_subscriber_fails_the_stream_with_its_reason(self, make: Make) -> None:
        stream = make(name="camera/flats")
        reader = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 4))
        batch = reader.read(max_frames=2)
        assert batch is not None
        reader.acknowledge(batch.stop)
        reader.fail(OSError(28, "No space left on device"))
        eventually(lambda: stream.error is not None)
        expected = (
            r"Subscriber 'writer' of frame stream camera/flats failed: OSError: \[Errno 28\] No space "
            r"left on device\. Of 4 frames published, it has 2 safe\."
        )
        with pytest.raises(SubscriberFailedError, match=expected):
            stream.publish(numbered_frames(4, 1))
        assert stream.acknowledged == 2
        ledger = stream.end()
        assert (ledger.subscribers[0].state, ledger.acknowledged) == ("failed", 2)

    def test_an_exception_in_its_block_fails_the_subscriber(self, make: Make) -> None:
        stream = make()

        def read_and_fail() -> None:
            with subscribe(stream.address, name="reconstruction") as reader:
                stream.publish(numbered_frames(0, 1))
                reader.read()
                raise ZeroDivisionError("division by zero")

        with pytest.raises(ZeroDivisionError):
            read_and_fail()
        eventually(lambda: stream.error is not None)
        assert "ZeroDivisionError: division by zero" in str(stream.error)

    def test_an_exception_after_the_last_frame_fails_the_stream_too(self, make: Make) -> None:
        stream = make()
        ledgers = []
        reader = subscribe(stream.address, name="writer")
        thread = threading.Thread(target=lambda: ledgers.append(stream.end()))
        stream.publish(numbered_frames(0, 1))
        thread.start()

        def read_then_fail() -> None:
            with reader:
                for batch in reader:
                    reader.acknowledge(batch.stop)
                raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            read_then_fail()
        thread.join()
        assert ledgers[0].subscribers[0].state == "failed"
        assert "the disk is gone" in ledgers[0].reason

    def test_leaving_before_the_end_is_a_failure(self, make: Make) -> None:
        stream = make()
        subscribe(stream.address, name="writer").close()
        eventually(lambda: stream.error is not None)
        with pytest.raises(SubscriberFailedError, match="it left before the end of the stream"):
            stream.publish(numbered_frames(0, 1))

    def test_a_waiting_publisher_hears_of_a_failure(self, make: Make) -> None:
        stream = make(capacity=2)
        reader = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 2))
        timer = threading.Timer(0.05, lambda: reader.fail("it broke"))
        timer.start()
        begin = time.monotonic()
        with pytest.raises(SubscriberFailedError, match="it broke"):
            stream.publish(numbered_frames(2, 1))
        assert time.monotonic() - begin < 2
        timer.join()

    def test_one_failure_does_not_hide_behind_another(self, make: Make) -> None:
        stream = make()
        first, second = (subscribe(stream.address, name=name) for name in ("first", "second"))
        first.fail("reason one")
        eventually(lambda: stream.error is not None)
        second.fail("reason two")
        eventually(lambda: stream.ledger().subscribers[1].state == "failed")
        assert "reason one" in str(stream.error)

    def test_a_failing_display_harms_nobody(self, make: Make) -> None:
        stream = make()
        with Reader(stream.address):
            viewer = subscribe(stream.address, name="viewer", delivery="latest")
            stream.publish(numbered_frames(0, 1))
            viewer.fail("its window was closed")
            stream.publish(numbered_frames(1, 3))
            stream.end().check()

    def test_a_silent_subscriber_is_given_up(self, make: Make) -> None:
        stream = make(capacity=2, name="camera/darks", timeout_s=0.3)
        reader = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 2))
        begin = time.monotonic()
        with pytest.raises(
            SubscriberSilentError,
            match=r"Subscriber 'writer' of frame stream camera/darks is silent: no sign of it for "
            r"0\.\d s \(its time-out is 0\.3 s\)\. Of 2 frames published, it has 0 safe\.",
        ):
            stream.publish(numbered_frames(2, 1))
        assert 0.25 < time.monotonic() - begin < 2
        with pytest.raises(FrameStreamError, match=r"'writer' .* was given up: no sign of it"):
            drain(reader)
        reader.close()

    def test_a_subscriber_that_never_finishes_is_given_up(self, make: Make) -> None:
        stream = make(timeout_s=0.3)
        reader = subscribe(stream.address, name="writer")
        ledger = stream.end()
        assert ledger.subscribers[0].state == "silent"
        assert isinstance(stream.error, SubscriberSilentError)
        reader.close()

    def test_a_sign_of_life_is_no_silence(self, make: Make) -> None:
        stream = make(capacity=2, timeout_s=0.3)

        def work(subscription: object, batch: object) -> None:
            for _ in range(6):
                time.sleep(0.1)
                reader.subscription.alive()

        reader = Reader(stream.address, each=work)
        stream.publish(numbered_frames(0, 2))
        stream.publish(numbered_frames(2, 1))
        stream.end().check()
        reader.join()

    def test_waiting_for_frames_is_no_silence(self, make: Make) -> None:
        stream = make(capacity=4, timeout_s=0.3)
        seen = []

        def run() -> None:
            with subscribe(stream.address, name="batches of three") as reader:
                for batch in reader:
                    seen.append(batch.stop)
                    if batch.stop >= 3:
                        reader.acknowledge(batch.stop)
                reader.finish()

        thread = threading.Thread(target=run)
        thread.start()
        eventually(lambda: stream.has_subscribers)
        stream.publish(numbered_frames(0, 1))
        time.sleep(0.8)
        assert stream.error is None
        stream.publish(numbered_frames(1, 3))
        stream.end().check()
        thread.join()
        assert seen[-1] == 4

    def test_a_pause_of_the_publisher_is_no_silence(self, make: Make) -> None:
        stream = make(capacity=4, timeout_s=0.3)
        idle = subscribe(stream.address, name="idle")
        other = subscribe(stream.address, name="other")
        time.sleep(0.5)
        stream.publish(numbered_frames(0, 1))
        assert stream.error is None
        for reader in (idle, other):
            reader.read()
        idle.acknowledge(1)
        for _ in range(5):
            time.sleep(0.1)
            other.alive()
        eventually(lambda: stream.ledger().subscribers[0].acknowledged == 1)
        stream.publish(numbered_frames(1, 1))
        # The one that had nothing to do is not late, although it was quiet for long.
        assert stream.error is None
        idle.close()
        other.close()

    def test_a_failing_publisher_delivers_what_it_published_first(self, make: Make) -> None:
        stream = make(name="camera/darks")
        reader = subscribe(stream.address, name="reader")
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        stream.publish(numbered_frames(0, 5))
        stream.fail(ValueError("the camera caught fire"))
        expected = "camera/darks failed after 5 frames: the camera caught fire"
        reader.acknowledge(take(reader, 5)[-1].stop)
        with pytest.raises(FrameStreamError, match=expected), reader:
            reader.read(timeout_s=5)
        with pytest.raises(FrameStreamError, match=expected):
            drain(viewer)
        viewer.close()
        ledger = stream.end()
        # The reader did nothing wrong: it is not the one that failed.
        eventually(lambda: {s.state for s in stream.ledger().subscribers} == {"finished"})
        assert ledger.reason == "the camera caught fire"

    def test_an_exception_in_its_block_fails_the_publisher(self, make: Make) -> None:
        reader = None

        def publish() -> None:
            nonlocal reader
            with make() as stream:
                reader = Reader(stream.address)
                stream.publish(numbered_frames(0, 1))
                raise KeyError("gone")

        with pytest.raises(KeyError):
            publish()
        assert reader is not None
        with pytest.raises(FrameStreamError, match="failed after 1 frames: 'gone'"):
            reader.join()
        assert reader.count == 1

    def test_a_publisher_that_closes_early_fails_its_stream(self, make: Make) -> None:
        stream = make(name="camera/darks")
        reader = Reader(stream.address)
        stream.publish(numbered_frames(0, 3))
        stream.close()
        stream.close()
        with pytest.raises(
            FrameStreamError, match="Frame stream camera/darks was closed before its end"
        ):
            reader.join()

    def test_other_bytes_than_were_published_are_told(self, make: Make) -> None:
        stream = make()
        stream.publish(numbered_frames(0, 3))
        stream.ring.frames[1, 0, 0] += 1
        reader = subscribe(stream.address, name="reader", verify=True)
        with pytest.raises(
            FrameStreamError,
            match=r"Frame 1 of frame stream .* reached 'reader' with other bytes than were published",
        ):
            drain(reader)
        eventually(lambda: stream.error is not None)
        assert "other bytes" in str(stream.error)

    def test_a_lost_subscriber_resumes_at_its_first_open_frame(self, make: Make) -> None:
        stream = make(capacity=8)
        lost = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 6))
        take(lost, 6)
        lost.acknowledge(2)
        eventually(lambda: stream.acknowledged == 2)
        back = subscribe(stream.address, name="writer", resume=True)
        first = back.read(max_frames=1, timeout_s=5)
        assert first is not None
        check_batch(first, 2)
        ledgers = []
        thread = threading.Thread(target=lambda: ledgers.append(stream.end()))
        thread.start()
        assert drain(back) == 6
        back.finish()
        thread.join()
        ledgers[0].check()
        assert ledgers[0].subscribers[0].digest == ledgers[0].digest
        with pytest.raises(FrameStreamError, match=r"'writer' .* was resumed by another"):
            lost.read(timeout_s=5)
        lost.close()

    def test_a_subscriber_that_may_be_the_first_resumes_at_the_beginning(self, make: Make) -> None:
        stream = make()
        with Reader(stream.address, resume=True) as reader:
            stream.publish(numbered_frames(0, 5))
            stream.end().check()
        assert reader.count == 5

    def test_a_subscriber_that_was_given_up_cannot_resume(self, make: Make) -> None:
        stream = make(name="camera/darks")
        reader = subscribe(stream.address, name="writer")
        reader.fail("it broke")
        eventually(lambda: stream.error is not None)
        with pytest.raises(
            FrameStreamError,
            match="Subscriber 'writer' of frame stream camera/darks cannot go on: it failed: it broke",
        ):
            subscribe(stream.address, name="writer", resume=True)
