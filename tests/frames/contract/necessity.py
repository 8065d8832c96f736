"""Contract of frame transports: subscribers that a stream can do without."""

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress

import numpy as np
import pytest

from concertino import FrameStreamError, SubscriberSilentError
from concertino.frames import FrameStream, subscribe

from .readers import Reader, eventually, numbered_frames

Make = Callable[..., FrameStream]


class NecessityContract:
    """Who only looks is detached when it fails, is silent, or holds up the publisher."""

    def test_a_failing_looker_is_detached(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        stream = make(name="camera/flats")
        with Reader(stream.address), caplog.at_level(logging.WARNING, "concertino"):
            looker = subscribe(stream.address, name="looker", necessary=False)
            stream.publish(numbered_frames(0, 3))
            batch = looker.read(max_frames=1)
            assert batch is not None
            looker.acknowledge(batch.stop)
            looker.fail(MemoryError("too large."))
            stream.publish(numbered_frames(3, 20))
            ledger = stream.end()
        ledger.check()
        assert stream.error is None
        assert ledger.acknowledged == 23
        row = next(row for row in ledger.subscribers if row.name == "looker")
        assert (row.state, row.reason) == ("failed", "MemoryError: too large")
        assert not row.necessary
        assert (
            "Subscriber 'looker' of frame stream camera/flats was detached, and the scan goes on "
            "without it: MemoryError: too large. Of"
        ) in caplog.text

    def test_a_looker_paces_no_acknowledgement(self, make: Make) -> None:
        stream = make()
        with Reader(stream.address):
            looker = subscribe(stream.address, name="looker", necessary=False)
            stream.publish(numbered_frames(0, 4))
            eventually(lambda: stream.acknowledged == 4)
            looker.fail("it has seen enough")
            stream.end().check()

    def test_a_silent_looker_is_detached(self, make: Make) -> None:
        stream = make(timeout_s=0.5)
        with Reader(stream.address):
            looker = subscribe(stream.address, name="looker", necessary=False)
            stream.publish(numbered_frames(0, 2))
            ledger = stream.end()
        ledger.check()
        assert stream.error is None
        row = next(row for row in ledger.subscribers if row.name == "looker")
        assert row.state == "silent"
        looker.close()

    @pytest.mark.parametrize("alone", [True, False])
    def test_a_looker_that_is_slow_but_steady_is_detached_too(
        self, make: Make, alone: bool
    ) -> None:
        stream = make(capacity=4, timeout_s=3)
        with nullcontext() if alone else Reader(stream.address):
            looker = subscribe(stream.address, name="looker", necessary=False)

            def look() -> None:
                with suppress(FrameStreamError):
                    while (batch := looker.read(max_frames=1)) is not None:
                        time.sleep(0.02)
                        looker.acknowledge(batch.stop)

            looking = threading.Thread(target=look)
            looking.start()
            begin_s = time.monotonic()
            while (row := stream.ledger().subscribers[-1]).state == "open":
                stream.publish(numbered_frames(stream.published, 1))
                assert time.monotonic() < begin_s + 60
            stream.end().check()
            looking.join()
            looker.close()
        assert row.state == "failed"
        # A third of the time-out, in waits of 20 ms.
        assert "it held up the camera for 1 s in all" in row.reason

    def test_a_stream_that_can_wait_detaches_no_steady_looker(self, make: Make) -> None:
        stream = make(capacity=4, timeout_s=0.9, patience_s=math.inf)
        looker = subscribe(stream.address, name="looker", necessary=False)

        def look() -> None:
            while (batch := looker.read(max_frames=1)) is not None:
                time.sleep(0.02)
                looker.acknowledge(batch.stop)
            looker.finish()

        looking = threading.Thread(target=look)
        looking.start()
        stream.publish(numbered_frames(0, 60))  # held up for 1.1 s; a third of the time-out is 0.3
        (row,) = stream.end(timeout_s=60).subscribers
        looking.join()
        assert (row.state, row.acknowledged) == ("finished", 60)
        assert row.held_up_s > 0.9

    def test_a_looker_holds_up_the_end_for_a_while_only(self, make: Make) -> None:
        stream = make(capacity=64, timeout_s=1.5)
        stop = threading.Event()
        with Reader(stream.address):
            looker = subscribe(stream.address, name="looker", necessary=False)

            def look() -> None:  # slow, and alive
                while not stop.wait(0.05):
                    looker.alive()

            looking = threading.Thread(target=look)
            looking.start()
            stream.publish(numbered_frames(0, 40))
            ledger = stream.end(timeout_s=30)
            stop.set()
            looking.join()
        ledger.check()
        row = next(row for row in ledger.subscribers if row.name == "looker")
        assert row.state == "failed"
        assert "it was not done 1.5 s after all frames were safe" in row.reason
        looker.close()

    def test_a_looker_holds_up_the_publisher_for_a_while_only(self, make: Make) -> None:
        stream = make(capacity=2, timeout_s=1.5)
        with Reader(stream.address):
            looker = subscribe(stream.address, name="looker", necessary=False)
            begin_s = time.monotonic()
            stop = threading.Event()

            def show_signs() -> None:
                while not stop.wait(0.05):
                    looker.alive()

            signs = threading.Thread(target=show_signs)
            signs.start()
            stream.publish(numbered_frames(0, 40))
            assert time.monotonic() - begin_s > 0.4  # a third of the time-out
            stop.set()
            signs.join()
            stream.end().check()
        row = next(row for row in stream.ledger().subscribers if row.name == "looker")
        assert row.state == "failed"
        assert "it held up the camera for 0.5 s in all" in row.reason
        # Frames that it had been told of may lie in memory that others were given since: not looked at.
        with pytest.raises(FrameStreamError, match=r"'looker' .* was given up: it held up"):
            all(iter(lambda: looker.read(timeout_s=10), None))
        assert looker.given_up
        looker.close()

    @pytest.mark.parametrize("more", [1, 20])  # the first of what was read is lost, or all of it
    def test_what_was_overwritten_is_never_safe(self, make: Make, more: int) -> None:
        """Whoever was given up while it computed learns so before it can take the result for good."""
        stream = make(capacity=2, timeout_s=1.5)
        with Reader(stream.address):
            looker = subscribe(stream.address, name="looker", necessary=False)
            batches = []
            for index in range(2):
                stream.publish(numbered_frames(index, 1))
                batch = looker.read(timeout_s=10)
                assert batch is not None
                batches.append(batch)
            stream.publish(numbered_frames(2, more))  # waits for a while, and gives it up
            changed = any(
                not np.array_equal(batch.frames, numbered_frames(batch.start, len(batch)))
                for batch in batches
            )
            try:
                looker.acknowledge(2)
            except FrameStreamError:
                assert looker.given_up
            else:
                assert not changed  # Its frames are copies of its own.
            stream.end().check()
        looker.close()

    def test_frames_before_the_end_count_as_time_to_be_silent(self, make: Make) -> None:
        # A writer that died before the last frame is not given a time-out more.
        stream = make(timeout_s=3.0)
        writer = subscribe(stream.address, name="writer")
        stream.publish(numbered_frames(0, 1))
        begin_s = time.monotonic()
        while (now_s := time.monotonic()) - begin_s < 2.5:
            time.sleep(0.05)
            assert stream.error is None or now_s - begin_s > 2.0
        ledger = stream.end()
        assert time.monotonic() - begin_s < 4.0
        assert ledger.subscribers[0].state == "silent"
        assert isinstance(stream.error, SubscriberSilentError)
        writer.close()
