"""What a run took beyond motion and exposure is learnt, by stream, by point, and the rest."""

from typing import Any

import pytest
from bluesky import Msg

from concertino.frames import FrameRequest
from concertino.plans import Overheads
from concertino.plans.rehearsal._overheads import Spans, _Learnt

CAMERA: Any = type("Camera", (), {"name": "camera"})()


def spans(begin_s: float, streams: list[tuple[str, int, float]], end_s: float) -> Spans:
    """Return the spans of a run: of each stream who triggers, how many points, how long it takes."""
    clock = [begin_s]
    found = Spans(lambda: clock[0])
    found.note(Msg("open_run"))
    for trigger, points, took_s in streams:
        found.note(Msg("prepare", CAMERA, FrameRequest(points, "views", trigger)))  # type: ignore[arg-type]
        for _ in range(points if trigger == "software" else 0):
            found.note(Msg("trigger", CAMERA))
        clock[0] += took_s
        found.note(Msg("collect", CAMERA, name="ledger"))
    clock[0] += end_s
    found.note(Msg("close_run"))
    return found


def test_the_first_run_counts_alone_and_later_ones_in_part() -> None:
    learnt, known = _Learnt(), Overheads()
    expected = spans(5.0, [("internal", 9, 1.0), ("software", 10, 2.0)], 0.5)
    true = spans(99.0, [("internal", 9, 1.2), ("software", 10, 2.3)], 0.6)
    learnt.learn(expected, true)
    first = learnt.get()
    assert first.stream_s == pytest.approx(known.stream_s + 0.2)
    assert first.point_s == pytest.approx(known.point_s + 0.03)
    assert first.rest_s == pytest.approx(known.rest_s + 0.1)
    assert first.source == "learnt from 1 earlier run"
    learnt.learn(expected, true)
    assert learnt.get().stream_s == pytest.approx(first.stream_s + 0.1)
    assert learnt.get().source == "learnt from 2 earlier runs"


def test_a_run_that_waited_for_the_world_teaches_nothing() -> None:
    learnt = _Learnt()
    expected = spans(0, [("internal", 9, 1.0)], 0.5)
    true = spans(0, [("internal", 9, 60.0)], 0.5)
    true.note(Msg("wait_for", None, [lambda: None]))
    learnt.learn(expected, true)
    assert learnt.get() == Overheads()
    learnt.learn(expected, spans(0, [], 0.5))
    assert learnt.get() == Overheads()


def test_no_overhead_is_negative_or_longer_than_a_second() -> None:
    learnt = _Learnt()
    learnt.learn(
        spans(0, [("internal", 9, 10.0), ("software", 2, 1.0)], 5.0),
        spans(0, [("internal", 9, 0.0), ("software", 2, 99.0)], 0.0),
    )
    assert learnt.get() == Overheads(0.0, 1.0, 0.0, 1)


def test_another_process_takes_them_from_the_documents_of_a_run() -> None:
    learnt = _Learnt()
    figures: dict[str, Any] = {
        "overheads": {"stream_s": 0.1, "point_s": 0.01, "rest_s": 0.2, "runs": 3},
        "duration_s": 4.0,
        "streams": [
            {"trigger": "internal", "frames": 5},
            {"trigger": "software", "frames": 100},
        ],
    }
    learnt.load({"time": 10.0, "preflight": figures}, {"time": 14.5})
    assert learnt.get().point_s == pytest.approx(0.01 + 0.5 / 100)
    assert (learnt.get().stream_s, learnt.get().rest_s, learnt.get().runs) == (0.1, 0.2, 4)
    known = learnt.get()
    learnt.load({"time": 0.0, "preflight": figures}, {"time": 99.0})
    assert learnt.get() == known  # What this process knows holds.
    flown = _Learnt()
    flown.load(
        {"time": 0.0, "preflight": {**figures, "streams": figures["streams"][:1]}},
        {"time": 4.5},
    )
    assert flown.get().stream_s == pytest.approx(0.6)
