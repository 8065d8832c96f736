"""Series of runs: what belongs to which run and sample, and when the next item is asked for."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import ParameterError, SessionError
from concertino.callbacks import FrameConsumer
from concertino.devices import Camera
from concertino.plans import (
    HoldRequest,
    PauseRequest,
    beam_on,
    change_samples,
    for_each,
    with_pause_request,
    xy_scan,
)
from concertino.storage import StoredScan, open_run

from .test_for_each import Stages, bring_in


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Stages]:
    made = Stages(tmp_path)
    yield made
    made.close()


def watch(lab: Stages, plan: MsgGenerator[Any]) -> list[tuple[str, Any, bool]]:
    """Run a plan; return what was set to what, and whether the shutter was open then."""
    seen: list[tuple[str, Any, bool]] = []

    def note(message: Msg) -> None:
        if message.command == "set":
            seen.append((message.obj.name, message.args[0], lab.beam_is_on()))

    hook: Any = note
    lab.RE.msg_hook = hook
    try:
        lab.RE(plan)
    finally:
        lab.RE.msg_hook = None
    return seen


def slowly_stored(lab: Stages, seconds: float) -> int:
    def store(frame: Any, stream: str, index: int) -> None:
        time.sleep(seconds)

    return int(lab.RE.subscribe(FrameConsumer(store)))


def test_a_position_of_one_degree_is_no_beam(lab: Stages) -> None:
    # The rotation passes 1 deg, which equals True.
    def experiment(item: float) -> MsgGenerator[Any]:
        return lab.plan(
            "step_tomography", num_projections=6, angular_range="6 deg", flat_position=1.0
        )

    token = slowly_stored(lab, 0.05)
    seen = watch(lab, for_each([2.0, 3.0], experiment, prepare=bring_in(lab), overlap=True))
    lab.RE.unsubscribe(token)
    rotation = [value for name, value, _ in seen if name == "rotation"]
    assert 1.0 in rotation
    assert not [value for value in rotation if isinstance(value, bool)]
    # Neither sample moves in with the shutter open, and the shutter is what is told to close.
    assert [(value, open_) for name, value, open_ in seen if name == "changer"] == [
        (2.0, False),
        (3.0, False),
    ]


def test_a_beam_that_nobody_declared_waits_for_the_end(lab: Stages) -> None:
    # A plan of the user's own, without imaging_run: nobody can know what its beam is, nor its last frame.
    b = lab.beamline

    def experiment(item: float) -> MsgGenerator[Any]:
        yield from bps.open_run(md=lab.directories.new().metadata())
        yield from beam_on(b.beam)
        yield from bps.mv(b.rotation, 1.0)
        yield from bps.abs_set(b.beam, False, wait=True)
        yield from bps.close_run()

    seen = watch(lab, for_each([2.0, 3.0], experiment, prepare=bring_in(lab), overlap=True))
    assert [step for step in seen if step[0] in ("changer", "rotation")] == [
        ("changer", 2.0, False), ("rotation", 1.0, True),
        ("changer", 3.0, False), ("rotation", 1.0, True),
    ]  # fmt: skip


class Spoiler:
    """Says at the given moment that frames were spoiled: those from 0.5 s after the camera began."""

    def __init__(self, when: Callable[[Msg], bool]) -> None:
        self.hold = PauseRequest()
        self._when = when
        self._said = False
        self._began_s = 0.0
        self.refused = ""

    def __call__(self, message: Msg) -> None:
        if message.command == "kickoff":
            self._began_s = time.time()
        if not self._said and self._when(message):
            self._said = True
            try:
                request = self.hold.request("no beam", self._began_s + 0.5)
            except SessionError as error:
                self.refused = str(error)  # It cannot pause, and is told nevertheless.
            else:
                threading.Timer(0.3, request.release).start()


def run_spoiled(lab: Stages, when: Callable[[Msg], bool], samples: dict[str, float]) -> None:
    spoiler: Any = Spoiler(when)
    token = slowly_stored(lab, 0.01)
    lab.RE.msg_hook = spoiler

    def experiment(sample: str) -> MsgGenerator[Any]:
        return lab.plan("radiography", num_projections=200)

    try:
        plan = change_samples(lab.changer, samples, experiment, overlap=True)
        lab.RE(with_pause_request(plan, spoiler.hold))
    finally:
        lab.RE.msg_hook = None
        lab.RE.unsubscribe(token)


def notes(lab: Stages, run: int) -> list[dict[str, Any]]:
    start = lab.starts()[run]["uid"]
    pauses = {
        doc["uid"]
        for kind, doc in lab.documents
        if kind == "descriptor" and doc["run_start"] == start and doc["name"] == "pauses"
    }
    return [
        {key.removeprefix("pause-"): value for key, value in doc["data"].items()}
        for kind, doc in lab.documents
        if kind == "event" and doc["descriptor"] in pauses
    ]


def places(lab: Stages, run: int) -> list[float]:
    """Return where the changer was at each projection that counts."""
    scan = StoredScan(open_run(lab.starts()[run]["run_directory"]))
    found = []
    for piece in scan.pieces:
        if piece.kind == "projection":
            times = piece.frames.index["timestamp_ns"][piece.start : piece.stop] / 1e9
            found += [lab.changer.position_at(time) for time in times]
    return found


def test_frames_found_spoiled_when_the_sample_has_left_are_flagged(
    lab: Stages, caplog: pytest.LogCaptureFixture
) -> None:
    def leaves(message: Msg) -> bool:
        return message.command == "set" and message.obj is lab.changer and message.args[0] == 2.0

    run_spoiled(lab, leaves, {"tooth": 1.0, "bone": 2.0})
    # Each frame that counts is of its own sample.
    assert set(places(lab, 0)) == {1.0}
    assert set(places(lab, 1)) == {2.0}
    names = [doc["name"] for kind, doc in lab.documents if kind == "descriptor"]
    assert not [name for name in names if "_from_" in name]
    (note,) = notes(lab, 0)
    assert (note["state"], note["reason"]) == ("spoiled", "no beam")
    ((first, stop),) = json.loads(note["again"])["projections"]
    assert 0 < first < stop == 200
    # Which: those exposed since then, by their own time stamps.
    run = open_run(lab.starts()[0]["run_directory"])
    ended_s = run.frames("projections").index["timestamp_ns"] / 1e9
    assert first == int((ended_s < note["spoiled_since"]).sum())
    assert "flagged in the run's stream pauses" in caplog.text
    assert not notes(lab, 1) or {n["state"] for n in notes(lab, 1)} <= {"paused", "resumed"}


def test_frames_of_the_last_sample_are_taken_again(lab: Stages) -> None:
    # Nothing leaves after the last one.
    stored = 0

    def late(message: Msg) -> bool:
        nonlocal stored
        if len(lab.starts()) == 2 and message.command == "collect":
            stored += lab.beamline.camera.exposed
        return stored > 0 and "projections" in str(message.kwargs.get("name"))

    run_spoiled(lab, late, {"tooth": 1.0, "bone": 2.0})
    assert not notes(lab, 0)
    assert [note["state"] for note in notes(lab, 1)] == ["paused", "resumed"]
    assert set(places(lab, 1)) == {2.0}


class DoneWhenStopped(Camera):
    """A camera that takes it literally: when it was stopped, all is exposed that was wanted."""

    @property
    def exposed(self) -> bool:
        return super().exposed or (self._acquisition is not None and self._acquisition.idle)


@pytest.mark.parametrize("camera_class", [Camera, DoneWhenStopped])
@pytest.mark.parametrize(
    ("name", "under_way", "num_projections"),
    [("radiography", "collect", 200), ("step_tomography", "trigger", 8)],
)
def test_a_pause_that_ends_a_piece_early_keeps_the_sample(
    lab: Stages, name: str, under_way: str, num_projections: int, camera_class: type[Camera]
) -> None:
    b = lab.beamline
    b.camera = camera_class(b.camera.source, exposure=0.0, frame_rate=200.0, ring_bytes=2**16)
    # It is released at once: nothing asks for a pause any more when the frames until then are collected.
    hold, requests = PauseRequest(), list[HoldRequest]()

    def ask(message: Msg) -> None:
        if message.command == under_way and not requests:
            requests.append(hold.request("lunch"))
        elif message.command == "stop" and message.obj.name == "camera":
            requests[0].release()

    def experiment(item: float) -> MsgGenerator[Any]:
        given: dict[str, Any] = {"order": ("projections",), "num_projections": num_projections}
        if name == "step_tomography":
            given["angular_range"] = "8 deg"
        return lab.plan(name, **given)

    hook: Any = ask
    lab.RE.msg_hook = hook
    # Should the camera not be told to stop, nothing hangs.
    ending = threading.Timer(60, hold.resume)
    ending.start()
    try:
        plan = for_each([1.0, 2.0], experiment, prepare=bring_in(lab), overlap=True)
        lab.RE(with_pause_request(plan, hold))
    finally:
        lab.RE.msg_hook = None
        ending.cancel()
    names = [doc["name"] for kind, doc in lab.documents if kind == "descriptor"]
    assert [name for name in names if "_from_" in name]  # It did end early.
    told = {
        doc["uid"]
        for kind, doc in lab.documents
        if kind == "descriptor" and doc["name"] == "pauses"
    }
    said = [
        doc["data"] for kind, doc in lab.documents if kind == "event" and doc["descriptor"] in told
    ]
    assert [(each["pause-state"], each["pause-reason"]) for each in said] == [
        ("paused", "lunch"),
        ("resumed", "lunch"),
    ]
    assert len(places(lab, 0)) == num_projections
    assert set(places(lab, 0)) == {1.0}


@pytest.mark.parametrize("overlap", [False, True])
def test_the_next_item_may_depend_on_the_run_before(lab: Stages, overlap: bool) -> None:
    results: list[str] = []
    known: list[int] = []

    def items() -> Iterator[float]:
        while len(results) < 3:
            known.append(len(results))
            yield float(len(results))

    def experiment(item: float) -> MsgGenerator[Any]:
        uid = yield from lab.experiment(item)
        results.append(uid)
        return uid

    prepare = bring_in(lab) if overlap else None
    lab.RE(for_each(items(), experiment, prepare=prepare, overlap=overlap))
    if overlap:
        # By nature before the run has ended, and as late as can be.
        assert known[:3] == [0, 0, 1]
    else:
        assert known == [0, 1, 2]
        assert len(lab.starts()) == 3


def test_items_that_fail_do_not_harm_the_run_before(lab: Stages) -> None:
    def items() -> Iterator[float]:
        yield 1.0
        raise LookupError("no more samples on the robot")

    with pytest.raises(LookupError, match="no more samples on the robot"):
        lab.RE(for_each(items(), lab.experiment, prepare=bring_in(lab), overlap=True))
    assert [doc["exit_status"] for kind, doc in lab.documents if kind == "stop"] == ["success"]


def test_a_name_that_the_plan_gives_wins(lab: Stages) -> None:
    def experiment(sample: str) -> MsgGenerator[Any]:
        md = {"sample": "tooth, left half"} if sample == "tooth" else {}
        return lab.experiment(sample, md=md)

    lab.RE(change_samples(lab.changer, {"tooth": 1.0, "bone": 2.0}, experiment))
    assert [start["sample"] for start in lab.starts()] == ["tooth, left half", "bone"]


def test_a_series_within_a_series_says_both(lab: Stages) -> None:
    def grid(sample: str) -> MsgGenerator[Any]:
        return xy_scan(lab.x, lab.y, [0, 1], [0], lab.experiment)

    lab.RE(change_samples(lab.changer, {"tooth": 1.0, "bone": 2.0}, grid))
    assert [start["iteration"] for start in lab.starts()] == [
        {
            "director": "xy_scan", "index": inner, "item": [inner, 0],
            "within": {"director": "samples", "index": outer, "item": sample},
        }
        for outer, sample in enumerate(["tooth", "bone"])
        for inner in range(2)
    ]  # fmt: skip
    assert [start["sample"] for start in lab.starts()] == ["tooth", "tooth", "bone", "bone"]


def test_metadata_of_a_plan_that_is_not_of_the_series(lab: Stages) -> None:
    def experiment(item: int) -> MsgGenerator[Any]:
        return lab.experiment(item, md={"iteration": 7})

    lab.RE(for_each([1], experiment))
    assert lab.starts()[0]["iteration"] == 7


def test_an_overlap_waits_for_the_end_of_an_inner_series(lab: Stages) -> None:
    # The sample must not leave after its first position.
    def grid(sample: str) -> MsgGenerator[Any]:
        return xy_scan(lab.x, lab.y, [0, 1], [0], lab.experiment)

    lab.RE(change_samples(lab.changer, {"tooth": 1.0, "bone": 2.0}, grid, overlap=True))
    assert [set(places(lab, run)) for run in range(4)] == [{1.0}, {1.0}, {2.0}, {2.0}]


def test_an_overlap_with_a_plan_of_two_runs_is_refused(lab: Stages) -> None:
    def twice(item: float) -> MsgGenerator[Any]:
        yield from lab.experiment(item)
        return (yield from lab.experiment(item))

    with pytest.raises(ParameterError) as caught:
        lab.RE(for_each([1.0, 2.0], twice, prepare=bring_in(lab), overlap=True))
    assert str(caught.value) == (
        "prepare: the next item is on its way already, and the plan begins another run. Let "
        "plan_factory return a plan of one run, or give overlap=False."
    )
    assert len(lab.starts()) == 1
    assert set(places(lab, 0)) == {1.0}
    assert not lab.beam_is_on()
    assert not lab.moving()


def test_a_run_that_cannot_pause_flags_spoiled_frames_too(tmp_path: Path) -> None:
    # Recorded first and read out later: it cannot pause, and the beam was gone for half a second of it.
    made = Stages(tmp_path, memory_bytes=200 * 16 * 16 * 2, readout_rate_hz=400.0)

    def read_out(message: Msg) -> bool:
        return bool(message.command == "collect" and message.kwargs.get("name") == "projections")

    spoiler: Any = Spoiler(read_out)
    made.RE.msg_hook = spoiler
    plan = made.plan("radiography", num_projections=200, readout="later")
    made.RE(with_pause_request(plan, spoiler.hold))
    assert "the scan cannot pause: camera records its frames first" in spoiler.refused
    (note,) = notes(made, 0)
    assert (note["state"], note["reason"]) == ("spoiled", "no beam")
    ((first, stop),) = json.loads(note["again"])["projections"]
    assert 0 < first < stop == 200
    made.close()
