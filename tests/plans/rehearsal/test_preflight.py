"""Preflight: what a plan will do and need, told before anything moves."""

import asyncio
import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import Msg
from bluesky.utils import MsgGenerator
from hypothesis import given
from hypothesis import strategies as st

from concertino import CameraError, ParameterError, StorageError
from concertino.devices import SimulatedBeamline, SimulatedShutter, SimulatedTube
from concertino.devices.simulated._trajectory import Move
from concertino.frames import RecordingTrigger
from concertino.plans import (
    MultiTurn,
    Overheads,
    Preflight,
    Timbir,
    find_rotation_axis,
    for_each,
    imaging_run,
    preflight,
    retrospective_radiography,
    step_tomography,
    take_frames,
)
from concertino.plans.core._device_facts import move_s
from concertino.plans.core._device_queries import without_run_engine
from concertino.plans.rehearsal._overheads import _Learnt
from concertino.plans.rehearsal._rehearsal import Rehearsal
from concertino.reconstruction import ReconstructionSettings
from concertino.session import ComputerResources, open_session
from tests.plans.laboratory import PLANS, POSITIONS, Laboratory

TIMED = ("radiography", "step_tomography", "continuous_tomography")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path_factory.mktemp("preflight"), exposure=0.002)
    yield made
    made.close()


def unmoved(lab: Laboratory, plan: MsgGenerator[Any], **how: Any) -> Preflight:
    """Return the figures of a plan; nothing may have moved or been opened."""
    b, since = lab.beamline, time.time()
    lab.documents.clear()
    figures = preflight(plan, **how)
    assert lab.documents == []
    for motor in lab.motors:
        assert motor._trajectory.last.start_s < since
    assert all(when < since for when, _ in b.shutter.history._changes)
    assert b.camera._acquisition is None or not b.camera._acquisition.running
    return figures


@given(st.floats(0, 1000), st.floats(1e-3, 1e3), st.floats(1e-4, 1.0))
def test_a_move_takes_as_long_as_the_simulated_one(
    distance: float, speed: float, ramp: float
) -> None:
    move = Move(0.0, 0.0, distance, speed, speed / ramp)
    assert move_s(-distance, speed, ramp) == pytest.approx(move.duration_s, rel=1e-6, abs=1e-9)


def test_figures_of_a_continuous_scan(lab: Laboratory) -> None:
    figures = unmoved(
        lab, lab.plan("continuous_tomography", num_projections=400, angular_range="180 deg")
    )
    assert figures.plan == "continuous_tomography"
    assert figures.runs == 1
    darks, flats, projections = figures.streams
    assert [stream.stream for stream in figures.streams] == ["darks", "flats", "projections"]
    assert (darks.frames, flats.frames, projections.frames) == (2, 2, 400)
    assert projections.duration_s == pytest.approx(2.0)
    assert projections.dead_s == pytest.approx(0.003)
    assert projections.bytes_s == pytest.approx(200 * 512)
    # 90 deg/s for 2 ms at 8 px from the axis.
    assert projections.blur_px == pytest.approx(math.radians(90) * 0.002 * 8)
    assert darks.blur_px == 0
    (turn,) = figures.axes
    assert (turn.axis, turn.unit, turn.stream) == ("rotation", "deg", "projections")
    assert turn.speed == pytest.approx(90)
    assert turn.run_up == pytest.approx(90 * 0.005 / 2)
    assert figures.disk_bytes == 404 * 512
    assert figures.ring_bytes == 2**16
    assert figures.parts["frames of projections"] == pytest.approx(2.0)
    assert figures.duration_s == pytest.approx(sum(figures.parts.values()))
    assert figures.open_end == ""
    assert not figures.warnings
    assert not figures.refusals


def test_moves_and_exposures_of_a_stepped_scan(lab: Laboratory) -> None:
    figures = unmoved(
        lab,
        lab.plan(
            "step_tomography", order=["projections"], num_projections=10, angular_range="90 deg"
        ),
    )
    assert figures.parts["moves"] == pytest.approx(9 * move_s(9, 360, 0.005), rel=1e-6)
    assert figures.parts["moves after a run"] == pytest.approx(move_s(81, 360, 0.005), rel=1e-6)
    assert figures.parts["frames of projections"] == pytest.approx(10 * 0.002)
    (stream,) = figures.streams
    assert (stream.trigger, stream.frames) == ("software", 10)
    # Ten frames take ten exposures and the nine moves between them, and what a step costs besides.
    assert 10 * stream.period_s > 9 * move_s(9, 360, 0.005) + 10 * 0.002
    assert not figures.axes


def test_both_axes_of_a_spiral(lab: Laboratory) -> None:
    figures = unmoved(lab, lab.plan("continuous_spiral_tomography"))
    assert [axis.axis for axis in figures.axes] == ["rotation", "vertical_stage"]
    rotation_px = math.radians(200) * 0.002 * 8
    pixel_mm = lab.beamline.twin.detector.pixel_size_mm
    lift_px = 0.02 / 3 * 200 * 0.002 / pixel_mm
    assert figures.streams[-1].blur_px == pytest.approx(math.hypot(rotation_px, lift_px))


@pytest.mark.parametrize("name", [*PLANS, "step_spiral_tomography", "continuous_spiral_tomography"])
def test_the_start_document_has_the_figures(lab: Laboratory, name: str) -> None:
    expected = preflight(lab.plan(name))
    start = lab.run(name)[0][1]
    told = start["preflight"]
    json.dumps(told)
    # What the last run taught moves all times a little: they agree but for rounding.
    for table in ("streams", "axes"):
        for row, wanted in zip(told[table], expected.to_json()[table], strict=True):
            numbers = {key for key, value in wanted.items() if not isinstance(value, str)}
            close = {key: pytest.approx(wanted[key], rel=1e-6, abs=1e-9) for key in numbers}
            assert row == wanted | close
    assert told["disk_bytes"] == expected.disk_bytes
    frames = {row["stream"]: row["frames"] for row in told["streams"]}
    assert frames == start["frames"]
    assert told["open_end"] == ""


@pytest.mark.disturbed_by_load("it compares how long scans take with what was expected")
@pytest.mark.parametrize("name", TIMED)
def test_the_estimate_is_near_the_truth(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `benchmarks/preflight.py` shows 10 %, on a machine that does nothing else. What tests before this one taught,
    # while the machine was busy or was not, does not count.
    monkeypatch.setattr("concertino.plans.rehearsal._preflight.LEARNT", _Learnt())
    lab = Laboratory(tmp_path, exposure=0.002)
    asked: dict[str, Any] = {"num_projections": 60, "angular_range": "90 deg"}
    if name == "radiography":
        del asked["angular_range"]
    # The first compiles, and teaches the overheads: on a busy machine those of a slower run than the next.
    runs = [lab.run(name, **asked)]
    expected = preflight(lab.plan(name, **asked))
    runs.append(lab.run(name, **asked))
    lab.close()
    true_s = sorted(run[-1][1]["time"] - run[0][1]["time"] for run in runs)
    expected_s = expected.duration_s - expected.parts.get("moves after a run", 0.0)
    assert 0.4 * true_s[0] < expected_s < 1.6 * true_s[1]
    assert "learnt from" in expected.overheads.source


def test_blur_is_warned_about_or_refused(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, exposure=0.005, shape=(16, 64))
    fast: dict[str, Any] = {"num_projections": 60, "angular_range": "180 deg"}

    def text(limit: str, exposure: str) -> str:
        # 600 deg/s for 5 ms at 32 px from the axis.
        return (
            f"blur: the image of projections moves by 1.68 px during an exposure of 0.005 s, more "
            f"than {limit} px; expose for at most {exposure} s, or take more projections, or lower "
            "the frame rate."
        )

    assert unmoved(lab, lab.plan("continuous_tomography", **fast)).warnings == (
        text("1", "0.00298"),
    )
    figures = unmoved(lab, lab.plan("continuous_tomography", **fast), max_blur_px=0.5)
    assert figures.refusals == (text("0.5", "0.00149"),)
    assert not figures.warnings
    with pytest.raises(ParameterError) as caught:
        figures.check()
    assert str(caught.value) == text("0.5", "0.00149")
    # The plan refuses by itself, before anything moves.
    for limit in ("0.5 px", 0.5):
        lab.documents.clear()
        since = time.time()
        with pytest.raises(ParameterError) as caught:
            lab.RE(lab.plan("continuous_tomography", max_blur=limit, **fast))
        assert str(caught.value) == text("0.5", "0.00149")
        assert lab.documents == []
        assert lab.beamline.rotation._trajectory.last.start_s < since
        figures = unmoved(lab, lab.plan("continuous_tomography", max_blur=limit, **fast))
        assert figures.refusals == (text("0.5", "0.00149"),)
    lab.run("continuous_tomography", max_blur=2, **fast)
    lab.close()


@pytest.mark.parametrize("trigger", ["software", "edge", "box"])
@pytest.mark.parametrize(
    ("scheme", "turned_deg"),
    [("equidistant", 180), (Timbir(rounds=4), 540), (MultiTurn(turns=3), 540)],
    ids=["equidistant", "timbir", "several turns"],
)
def test_the_image_moves_whoever_starts_the_exposures(
    tmp_path: Path, scheme: Any, turned_deg: float, trigger: str
) -> None:
    lab = Laboratory(tmp_path, exposure=0.004, frame_rate=100.0, shape=(16, 128))
    by: Any = lab.beamline.trigger_box if trigger == "box" else trigger
    if isinstance(scheme, Timbir) and trigger != "box":
        pytest.skip("the rounds are at uneven distances")
    # 180 deg at 100 Hz, or three times that in as many frames.
    number = 65 if isinstance(scheme, MultiTurn) else 64
    speed = turned_deg / number * 100
    given: dict[str, Any] = {
        "num_projections": number, "angular_range": "180 deg", "scheme": scheme, "trigger": by,
    }  # fmt: skip
    moved_px = math.radians(speed) * 0.004
    for more, lever in (({}, 64), ({"rotation_axis": 20}, 107), ({"rotation_axis": 75}, 75)):
        figures = unmoved(lab, lab.plan("continuous_tomography", **given, **more))
        projections = figures.streams[-1]
        assert projections.blur_px == pytest.approx(moved_px * lever, rel=1e-6)
        (turn,) = figures.axes
        assert turn.speed == pytest.approx(speed)
        assert figures.warnings[0].startswith("blur: the image of projections moves by ")
    with pytest.raises(ParameterError, match="blur: the image of projections moves by"):
        lab.RE(lab.plan("continuous_tomography", max_blur="0.5 px", **given))
    lab.close()


def test_nothing_moves_while_pulses_come_one_by_one(lab: Laboratory) -> None:
    plan = lab.plan("step_tomography", num_projections=6, trigger=lab.beamline.trigger_box)
    figures = unmoved(lab, plan)
    projections = figures.streams[-1]
    assert (projections.stream, projections.trigger) == ("projections", "edge")
    assert (projections.frames, projections.blur_px) == (6, 0)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("1 mm", "max_blur: a number of pixels in px is wanted, but '1 mm' is a length."),
        (0, "max_blur: 0 is not positive. Give more than 0 px."),
    ],
)
def test_a_limit_of_blur_that_is_none(lab: Laboratory, limit: Any, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        preflight(lab.plan("continuous_tomography", max_blur=limit))
    assert str(caught.value).startswith(message)


def test_a_plan_that_refuses_is_refused(lab: Laboratory) -> None:
    with pytest.raises(ParameterError) as caught:
        unmoved(lab, lab.plan("continuous_tomography", angular_range=180))
    assert str(caught.value).startswith(
        "angular_range, num_projections and the camera's frame rate: Motor rotation was asked to move "
        "at 12000 deg/s"
    )


def test_too_little_disk(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "lab", shape=(1024, 1024))
    count = 10**7
    figures = unmoved(
        lab, lab.plan("radiography", num_projections=count), resources=ComputerResources(tmp_path)
    )
    # Of a scan that does not fit nobody weighs the angles for a reconstruction, which would not fit either.
    large = unmoved(
        lab,
        lab.plan("continuous_tomography", num_projections=10**6, angular_range="180 deg"),
        resources=ComputerResources(tmp_path),
        reconstruction=ReconstructionSettings(memory_gib=0.01),
    )
    lab.close()
    assert [refusal.split(":")[0] for refusal in large.refusals] == ["disk"]
    assert large.reconstruction_bytes is None
    (refusal,) = figures.refusals
    assert refusal.startswith("disk: 21.0 TB are needed and ")
    assert refusal.endswith(
        f" are free in {tmp_path}; free some space or choose another data directory."
    )
    assert figures.disk_free_bytes is not None
    assert figures.duration_s > count / 200


def test_a_directory_that_cannot_be_one(lab: Laboratory, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is a file, not a directory"):
        preflight(lab.plan("radiography"), resources=ComputerResources(tmp_path / "file"))


def test_too_little_memory(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, ring_bytes=10**15)
    figures = unmoved(lab, lab.plan("radiography"), resources=ComputerResources())
    (refusal,) = figures.refusals
    assert refusal.startswith(
        "memory: 1000.0 TB more for frames on their way and 0 bytes for the reconstruction are needed, and "
    )
    assert refusal.endswith("reconstruct fewer slices, or give the camera a smaller ring.")
    assert (
        unmoved(lab, lab.plan("radiography")).refusals == ()
    )  # Whoever knows no computer judges none.
    documents: list[str] = []
    with open_session(tmp_path / "data", progress=False, catalog=False) as session:
        session.subscribe(lambda name, _: documents.append(name))
        with pytest.raises(ParameterError, match=r"memory: 1000\.0 TB"):
            session.RE(lab.plan("radiography"))
    assert not documents
    lab.close()


def test_memory_that_the_camera_has_already_is_not_asked_for_again(lab: Laboratory) -> None:
    camera = lab.beamline.camera
    lab.run("radiography")
    assert camera.ring_held_bytes == camera.ring_bytes == 2**16


def test_the_reconstruction_needs_what_its_formula_says(lab: Laboratory) -> None:
    few = preflight(
        lab.plan("step_tomography", num_projections=100),
        reconstruction=ReconstructionSettings(slices=(8,)),
    )
    many = preflight(
        lab.plan("step_tomography", num_projections=2000, angular_range="180 deg"),
        reconstruction=ReconstructionSettings(),
    )
    assert few.reconstruction_bytes is not None
    assert many.reconstruction_bytes is not None
    # All rows of all projections are kept.
    assert many.reconstruction_bytes - few.reconstruction_bytes > 2000 * 16 * 16 * 2 / 2
    b = lab.beamline
    aligning = find_rotation_axis(b.camera, b.rotation, b.beam, b.sample_stage, **POSITIONS)
    for plan in (lab.plan("radiography"), aligning):
        without = preflight(plan, reconstruction=ReconstructionSettings())
        assert without.reconstruction_bytes == 0


def test_writing_that_is_too_slow_for_the_ring(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "lab", frame_rate=1e6, exposure=0.0, shape=(64, 64))
    (warning,) = unmoved(
        lab, lab.plan("radiography", num_projections=10**6), resources=ComputerResources(tmp_path)
    ).warnings
    lab.close()
    assert warning.startswith("writing: projections come at 8.2 GB/s, the data directory takes ")
    assert warning.endswith(
        "do not fit into the camera's ring of 65.5 kB; lower the frame rate, or choose a faster disk."
    )


def test_plans_of_bluesky_and_of_the_users_own(lab: Laboratory) -> None:
    b = lab.beamline

    def own() -> MsgGenerator[None]:
        def block() -> MsgGenerator[None]:
            yield from bps.mv(b.sample_stage, 50)
            yield from take_frames(b.camera, 100, "views")

        yield from imaging_run([block], camera=b.camera, beam=b.beam, motors=[], md={})

    figures = unmoved(lab, own())
    (views,) = figures.streams
    assert (views.stream, views.frames) == ("views", 100)
    assert views.duration_s == pytest.approx(0.5)
    assert figures.parts["moves"] == pytest.approx(move_s(50, 100, 0.005))

    figures = unmoved(lab, bp.scan([b.ring], b.sample_stage, 0, 40, 5))
    assert figures.plan == "scan"
    assert figures.parts["moves"] == pytest.approx(4 * move_s(10, 100, 0.005), rel=1e-6)


def test_a_series_of_runs(lab: Laboratory) -> None:
    figures = unmoved(lab, for_each(["a", "b", "c"], lambda item: lab.plan("radiography")))
    assert figures.runs == 3
    assert len(figures.streams) == 9
    assert figures.rows()[0] == ("plan", "radiography, 3 runs")


def test_a_plan_that_wants_to_know_what_only_a_run_can_tell(lab: Laboratory) -> None:
    b = lab.beamline
    figures = unmoved(
        lab,
        find_rotation_axis(
            b.camera, b.rotation, b.beam, b.sample_stage, num_views=1, num_darks=2, num_flats=2,
            **POSITIONS,
        ),
    )  # fmt: skip
    assert figures.open_end.startswith("message ")
    assert figures.open_end.endswith(": the plan waits for what only a run can tell")
    assert ("open end", f"the figures end at {figures.open_end}") in figures.rows()


def test_a_plan_that_waits_for_a_trigger(lab: Laboratory) -> None:
    b, trigger = lab.beamline, RecordingTrigger()
    figures = unmoved(
        lab,
        retrospective_radiography(
            b.camera, b.beam, b.sample_stage, trigger, num_darks=2, num_flats=2, num_before=5,
            num_after=5, order=["projections", "darks", "flats"], **POSITIONS,
        ),
    )  # fmt: skip
    assert figures.open_end.endswith("after complete camera: it waits for its trigger, up to 600 s")
    assert [stream.frames for stream in figures.streams] == [10, 2, 2]
    # The clock stands while the trigger is awaited: the stage, which goes out for the flats, is there all the same.
    assert [stream.blur_px for stream in figures.streams] == [0, 0, 0]
    assert trigger.event is None


def test_a_plan_without_an_end() -> None:
    def plan() -> MsgGenerator[None]:
        while True:
            yield from bps.sleep(1)

    rehearsal = Rehearsal(Overheads(), most_messages=1000)
    without_run_engine(rehearsal.go_through(plan()))
    assert rehearsal.stopped_by == "message 1000, after sleep: there is no end to be seen"
    assert rehearsal.now_s == 1000


def test_beams_that_need_their_time(lab: Laboratory) -> None:
    b = lab.beamline
    plan = lab.plan("radiography", beam=SimulatedShutter(delay_s=0.5, name="slow"))
    # Off before the run and before the darks; on and off for flats and projections; off at the end.
    assert unmoved(lab, plan).parts["beam"] == pytest.approx(7 * 0.5)
    plan = lab.plan("radiography", beam=SimulatedTube(ramp_s=2.0, name="slow"))
    assert unmoved(lab, plan).parts["beam"] == pytest.approx(2 * 2.0)
    del b


def test_a_motor_that_does_not_tell_its_speed(lab: Laboratory) -> None:
    class Stage:
        name = "stage"
        parent = None
        unit = "mm"

        def set(self, value: float) -> Any:
            raise AssertionError

    (warning,) = unmoved(lab, lab.plan("radiography", sample_stage=Stage())).warnings
    assert warning == (
        "time: stage tell neither a velocity nor a duration, so what they do counts as no time. Give "
        "the device a velocity, or a method set_duration_s(value)."
    )


def test_within_a_plan_that_runs(lab: Laboratory) -> None:
    found: list[Preflight] = []

    def plan() -> MsgGenerator[None]:
        yield Msg("null")
        found.append(preflight(lab.plan("radiography")))
        yield Msg("null")

    lab.RE(plan())
    assert found[0].streams[0].frames == 2


def test_in_a_loop_that_runs_already(lab: Laboratory) -> None:
    async def cell() -> Preflight:
        return preflight(lab.plan("radiography"))

    assert asyncio.run(cell()).streams[0].frames == 2


def test_shown_in_a_notebook_and_as_text(lab: Laboratory, tmp_path: Path) -> None:
    figures = preflight(
        lab.plan("continuous_tomography", num_projections=400, angular_range="180 deg"),
        resources=ComputerResources(tmp_path),
        reconstruction=ReconstructionSettings(slices=(8,)),
    )
    text = str(figures)
    for what, told in (
        ("projections", "400 frames in 2 s: exposed 2 ms, dead 3 ms each, 102.4 kB/s"),
        ("rotation", "90 deg/s in projections, reached after 0.225 deg and 5 ms"),
    ):
        assert re.search(rf"^{what} +{re.escape(told)}", text, re.MULTILINE)
    assert "measured on 20" in text
    html = figures._repr_html_()
    assert html.count("<tr>") == len(figures.rows())
    assert json.loads(json.dumps(figures.to_json()))["plan"] == "continuous_tomography"


def test_a_session_knows_its_directory_and_its_reconstruction(tmp_path: Path) -> None:
    from concertino.callbacks import OnlineReconstruction

    b = SimulatedBeamline(shape=(16, 16))
    with open_session(tmp_path / "data", progress=False, catalog=False) as session:
        session.subscribe(OnlineReconstruction(ReconstructionSettings(slices=(8,))))
        figures = session.preflight(
            step_tomography(
                b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=1
            )
        )
    assert figures.disk_free_bytes is not None
    assert figures.write_bytes_s is not None
    assert figures.reconstruction_bytes
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".write_rates.json"]


def test_a_setting_that_the_camera_cannot_have_is_refused_before_anything_moves(
    lab: Laboratory,
) -> None:
    camera = lab.beamline.camera

    def plan() -> MsgGenerator[None]:
        yield from bps.mv(lab.beamline.sample_stage, 3.0)
        yield from bps.mv(camera.region, (0, 0, 17, 16))

    with pytest.raises(CameraError, match=r"asked for region \(0, 0, 17, 16\); it takes regions"):
        unmoved(lab, plan())


def test_a_region_is_the_frames_of_the_figures(lab: Laboratory) -> None:
    camera = lab.beamline.camera

    async def set_region(region: tuple[int, int, int, int]) -> None:
        await camera.region.set(np.array(region))

    before = unmoved(lab, lab.plan("radiography")).disk_bytes
    asyncio.run(set_region((4, 0, 8, 16)))
    try:
        assert unmoved(lab, lab.plan("radiography")).disk_bytes == before // 2
    finally:
        asyncio.run(set_region((0, 0, 16, 16)))
