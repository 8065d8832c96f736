"""Benchmarker, Accumulator, FrameConsumer: parity.md section 3."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus

from concertino import ParameterError, SessionError
from concertino.callbacks import (
    Accumulator,
    Benchmarker,
    DocumentConsumer,
    FrameConsumer,
    ImageWriter,
)
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.storage import Recorder, RunDirectories, open_run, replay

SHAPE = (8, 16)


def eventually(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


Scan = Callable[..., dict[str, Any]]


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Return what takes 2 darks, 3 flats and 5 projections with callbacks subscribed."""
    directories = RunDirectories(tmp_path)

    def run(*callbacks: Any, **given: Any) -> dict[str, Any]:
        b = SimulatedBeamline(shape=SHAPE, exposure=0.001, frame_rate=500.0)
        RE = RunEngine({})
        starts: list[dict[str, Any]] = []
        recorder = Recorder(directories)
        subscribed = [recorder, *callbacks, _Keep(starts)]
        for callback in subscribed:
            RE.subscribe(callback)
        counts = {"num_darks": 2, "num_flats": 3, "num_projections": 5, **given}
        try:
            RE(
                radiography(
                    b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=1,
                    md=directories.new().metadata(), **counts,
                )
            )  # fmt: skip
        finally:
            recorder.close()
        return starts[0]

    return run


class _Keep:
    def __init__(self, starts: list[dict[str, Any]]) -> None:
        self._starts = starts

    def __call__(self, name: str, document: Any) -> None:
        if name == "start":
            self._starts.append(document)


def test_benchmarker(scan: Scan) -> None:
    # "Benchmarker (bytes, duration per acquisition)"
    benchmarker = Benchmarker()
    start = scan(benchmarker, ImageWriter())
    assert [(r.run, r.stream, r.frames, r.bytes) for r in benchmarker.results] == [
        (start["uid"], "darks", 2, 2 * 256),
        (start["uid"], "flats", 3, 3 * 256),
        (start["uid"], "projections", 5, 5 * 256),
    ]
    last = benchmarker.results[-1]
    # Five frames at 500 Hz: at least 8 ms from the first to the last.
    assert last.duration_s + last.waiting_s >= 0.007
    assert last.frames_per_s == pytest.approx(5 / last.duration_s)
    assert last.bytes_per_s == pytest.approx(1280 / last.duration_s)
    assert last.waiting_s >= 0


def test_accumulator_keeps_what_was_stored(scan: Scan) -> None:
    # "Accumulator (frames in memory)"; "each attaches to all or to some acquisitions".
    everything, flats = Accumulator(), Accumulator(streams=("flats",), name="flats")
    start = scan(everything, flats, ImageWriter())
    assert everything.streams == ("darks", "flats", "projections")
    assert flats.streams == ("flats",)
    run = open_run(start["run_directory"])
    for stream, count in (("darks", 2), ("flats", 3), ("projections", 5)):
        frames = everything.frames(stream)
        assert frames.shape == (count, *SHAPE)
        assert frames.dtype == np.uint16
        np.testing.assert_array_equal(frames, run.frames(stream).read())
    np.testing.assert_array_equal(flats.frames("flats"), everything.frames("flats"))
    run.close()
    again = Accumulator()
    replay(start["run_directory"], again)
    np.testing.assert_array_equal(again.frames("projections"), everything.frames("projections"))
    with pytest.raises(ParameterError) as caught:
        flats.frames("darks")
    assert str(caught.value) == (
        "stream: frames of 'darks' were asked for; the last run gave frames of flats. "
        "Name one of these."
    )
    flats.clear()
    assert not flats.streams


def test_an_accumulator_that_is_full_keeps_the_first_or_fails_the_run(scan: Scan) -> None:
    accumulator = Accumulator(max_bytes=4 * 256)
    scan(accumulator)
    assert accumulator.frames("flats").shape == (3, *SHAPE)
    assert "accumulator keeps at most 1024 bytes of projections in memory" in str(accumulator.error)
    with pytest.raises(FailedStatus) as caught:
        scan(Accumulator(max_bytes=4 * 256, necessary=True))
    message = str(caught.value.__cause__)
    assert SessionError.__name__ in message
    assert "accumulator keeps at most 1024 bytes of projections in memory" in message
    with pytest.raises(ParameterError, match=r"^max_bytes: 0 was given; give the memory"):
        Accumulator(max_bytes=0)


def test_a_function_of_the_users(scan: Scan) -> None:
    # "Consumer (any user function)"
    seen: list[tuple[str, int, tuple[int, ...]]] = []

    def look(frame: Any, stream: str, index: int) -> None:
        seen.append((stream, index, frame.shape))

    consumer = FrameConsumer(look, streams=("darks", "projections"))
    assert consumer.name == "look"
    scan(consumer)
    assert seen == [("darks", i, SHAPE) for i in range(2)] + [
        ("projections", i, SHAPE) for i in range(5)
    ]


@pytest.mark.parametrize("kind", ["start", "descriptor", "stream_datum", "stop"])
def test_one_that_changes_its_documents_changes_nobody_elses(scan: Scan, kind: str) -> None:
    changed: list[str] = []
    seen: list[tuple[str, Any]] = []

    def spoil(name: str, document: Any) -> None:
        if name == kind:
            for part in document.values():
                if isinstance(part, dict | list):
                    part.clear()
            document.clear()
            changed.append(name)

    def look(name: str, document: Any) -> None:
        seen.append((name, document))

    consumer = DocumentConsumer(spoil)
    scan(consumer, ImageWriter(), DocumentConsumer(look))
    assert consumer.error is None
    assert changed
    assert all(
        document["uid"] for name, document in seen if name in ("start", "descriptor", "stop")
    )


def test_a_function_that_raises_fails_the_run_if_it_is_necessary(scan: Scan) -> None:
    def fail(frame: Any, stream: str, index: int) -> None:
        raise ZeroDivisionError(f"at {stream} {index}")

    consumer = FrameConsumer(fail)
    scan(consumer)
    assert str(consumer.error) == "at darks 0"
    with pytest.raises(FailedStatus) as caught:
        scan(FrameConsumer(fail, necessary=True))
    assert "Subscriber 'fail'" in str(caught.value.__cause__)
    assert "ZeroDivisionError: at darks 0" in str(caught.value.__cause__)
    scan(FrameConsumer(fail, delivery="latest", name="display"))


def test_one_that_is_behind_is_waited_for_and_one_that_hangs_is_not() -> None:
    run = {"uid": "run", "time": 0.0}
    seen: list[str] = []

    def slow(name: str, document: Any) -> None:
        time.sleep(0.25 if name == "event" else 0.0)
        seen.append(name)

    consumer = DocumentConsumer(slow)
    consumer.patience_s = 2.0
    consumer("start", run)
    began_s = time.monotonic()
    for _ in range(12):
        consumer("event", {})
    assert time.monotonic() - began_s < 1.5  # nobody waits for events
    consumer("stop", {"run_start": "run"})
    assert seen == ["start", *["event"] * 12, "stop"]
    assert consumer.error is None

    released = threading.Event()
    hanging = DocumentConsumer(
        lambda name, document: released.wait(240) if name == "event" else None
    )
    hanging.patience_s = 0.5
    hanging("start", run)
    hanging("event", {})
    time.sleep(0.6)
    began_s = time.monotonic()
    hanging("event", {})
    assert time.monotonic() - began_s < 0.4  # it has had its time
    assert "<lambda> has not taken the event document within 0.5 s" in str(hanging.error)
    hanging("stop", {"run_start": "run"})
    hanging("start", run)  # the next run
    assert "still works on a document of an earlier run" in str(hanging.error)
    hanging("stop", {"run_start": "run"})
    released.set()
    eventually(lambda: hanging._desk is None or hanging._desk.free)
    hanging("start", run)
    hanging("stop", {"run_start": "run"})
    assert hanging.error is None


@pytest.mark.disturbed_by_load("it says how long an end may take")
def test_many_slow_events_hold_up_the_end_of_a_run_no_longer_than_one_that_hangs() -> None:
    consumer = DocumentConsumer(lambda name, document: time.sleep(0.4 if name == "event" else 0.0))
    consumer.patience_s = 0.5
    consumer("start", {"uid": "run", "time": 0.0})
    for _ in range(100):  # 40 s of work, each of it within its time
        consumer("event", {})
    began_s = time.monotonic()
    consumer("stop", {"run_start": "run"})
    assert time.monotonic() - began_s < 20  # 1.5 s on a computer that does nothing else
    assert "has not taken the stop document within 1.5 s" in str(consumer.error)


def test_wrong_consumers() -> None:
    wrong: Any = 3
    with pytest.raises(ParameterError, match=r"^function: 3 cannot be called\. Give a function of"):
        FrameConsumer(wrong)
    wrong = "some"
    with pytest.raises(ParameterError, match=r"^delivery: 'some' was given; give 'every' or 'lat"):
        FrameConsumer(print, delivery=wrong)
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(ParameterError, match=r"^refresh_hz: .* was given; give more than 0"):
            FrameConsumer(print, delivery="latest", refresh_hz=rate)
