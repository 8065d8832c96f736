"""What a plan sets of a camera before it takes frames, or between: figures and limits go by that; counted by hand."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import Msg
from bluesky.utils import MsgGenerator
from ophyd_async.core import soft_signal_rw

from concertino import CameraError, ParameterError
from concertino.devices import SimulatedBeamline
from concertino.frames import FrameRequest
from concertino.plans import (
    Preflight,
    imaging_run,
    passed_on,
    preflight,
    radiography,
    resume,
    take_frames,
)
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import open_run
from tests.plans.laboratory import Laboratory

#: Frames of 16 x 16 pixels of 2 bytes, 200 a second, of 2 ms.
NOW: dict[str, Any] = {"exposure": 0.002}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path, **NOW)
    yield made
    made.close()


def after(plan: MsgGenerator[Any], camera: Any, **values: Any) -> MsgGenerator[Any]:
    """Set a camera, then go on."""
    yield from bps.mv(*(part for name, value in values.items() for part in (camera.settings[name], value)))  # fmt: skip
    return (yield from plan)


def set_now(camera: Any, **values: Any) -> None:
    async def put() -> None:
        for name, value in values.items():
            await camera.settings[name].set(value)

    asyncio.run(put())


def unset(lab: Laboratory, plan: MsgGenerator[Any], **how: Any) -> Preflight:
    """Return the figures of a plan; nothing may have been set, of a motor or of the camera."""
    camera, prepared = lab.beamline.camera, lab.beamline.camera.source.shape

    async def read() -> dict[str, Any]:
        found = {name: await signal.get_value() for name, signal in camera.settings.items()}
        return {name: str(value) for name, value in found.items()}

    before, moves = asyncio.run(read()), [motor._trajectory.last for motor in lab.motors]
    try:
        return preflight(plan, **how)
    finally:
        assert asyncio.run(read()) == before
        assert camera.source.shape == prepared
        assert [motor._trajectory.last for motor in lab.motors] == moves


def test_figures_are_of_the_frames_that_will_come(lab: Laboratory) -> None:
    def plan() -> MsgGenerator[Any]:
        scan = lab.plan("radiography", num_projections=10)
        return after(
            scan, lab.beamline.camera,
            region=(4, 0, 8, 16), binning=2, exposure="20 ms", frame_rate="25 Hz",
        )  # fmt: skip

    figures = unset(lab, plan())
    # 8 x 16 pixels, binned to 4 x 8 of 2 bytes; 2 darks, 2 flats and 10 projections.
    assert {stream.frame_bytes for stream in figures.streams} == {64}
    assert figures.disk_bytes == 14 * 64
    projections = figures.streams[-1]
    assert projections.exposure_s == pytest.approx(0.02)
    assert projections.duration_s == pytest.approx(10 / 25)
    assert projections.dead_s == pytest.approx(0.02)
    assert projections.bytes_s == pytest.approx(1600)
    assert figures.ring_bytes == 2**16
    # So the frames come, and the scan's own preflight says the same.
    lab.documents.clear()
    lab.RE(plan())
    start = lab.documents[0][1]
    run = open_run(start["scan_name"], lab.directories.root)
    assert run.frames("projections").shape == (10, 4, 8)
    stored = sum(run.frames(stream)[:].nbytes for stream in ("darks", "flats", "projections"))
    assert start["preflight"]["disk_bytes"] == stored == figures.disk_bytes
    assert start["frame_bytes"] == 64


@pytest.mark.parametrize(
    "values",
    [
        {"region": (0, 0, 8, 12)},
        {"region": (0, 4, 4, 12), "binning": 2},
        {"binning": 4},
        {"bit_depth": 8},
        {"region": (0, 0, 4, 16), "rotate": 90},
        {"exposure": 0.004, "frame_rate": 100.0},
    ],
    ids=lambda values: "-".join(values),
)
@pytest.mark.parametrize("name", ["step_tomography", "continuous_spiral_tomography"])
def test_it_is_as_if_they_had_been_set_before(
    lab: Laboratory, name: str, values: dict[str, Any]
) -> None:
    camera = lab.beamline.camera
    how: dict[str, Any] = {"reconstruction": ReconstructionSettings()}
    expected = unset(lab, after(lab.plan(name), camera, **values), **how).to_json()
    present = unset(lab, lab.plan(name), **how).to_json()
    set_now(camera, **values)
    found = preflight(lab.plan(name), **how).to_json()
    assert expected == found
    assert expected != present


def test_a_wider_pixel_blurs_less(lab: Laboratory) -> None:
    plan = lab.plan("continuous_tomography", num_projections=400, angular_range="180 deg")
    figures = unset(lab, after(plan, lab.beamline.camera, binning=2))
    # 90 deg/s for 2 ms, 4 of the 8 pixels from the axis.
    assert figures.streams[-1].blur_px == pytest.approx(math.radians(90) * 0.002 * 4)


def test_settings_between_the_streams_of_a_run(lab: Laboratory) -> None:
    b = lab.beamline

    def block() -> MsgGenerator[None]:
        yield from take_frames(b.camera, 10, "fine")
        yield from bps.mv(b.camera.binning, 4, b.camera.exposure, "4 ms")
        yield from bps.mvr(b.camera.exposure, 0.006)
        yield from bps.mv(b.camera.frame_rate, 0.0)
        yield from take_frames(b.camera, 20, "coarse")

    def plan() -> MsgGenerator[Any]:
        yield from imaging_run([block], camera=b.camera, beam=b.beam, motors=[], md={})

    figures = unset(lab, plan())
    fine, coarse = figures.streams
    assert (fine.frame_bytes, coarse.frame_bytes) == (512, 32)
    assert figures.disk_bytes == 10 * 512 + 20 * 32
    assert (fine.exposure_s, coarse.exposure_s) == pytest.approx((0.002, 0.01))
    assert (fine.duration_s, coarse.duration_s) == pytest.approx((0.05, 0.2))


def test_memory_for_the_largest_frames_counts(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, ring_bytes=1, **NOW)
    camera = lab.beamline.camera
    set_now(camera, region=(0, 0, 8, 8))

    def plan() -> MsgGenerator[Any]:
        for side in (4, 16, 8):
            yield from after(lab.plan("radiography"), camera, region=(0, 0, side, side))

    figures = unset(lab, plan())
    lab.close()
    # Two frames, each of 16 x 16 pixels of 2 bytes.
    assert figures.ring_bytes == 1024
    assert figures.disk_bytes == 7 * 2 * (16 + 256 + 64)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"exposure": "1 s"}, "camera cannot take 200 frames/s with an exposure of 1 s"),
        ({"exposure": "-1 ms"}, "camera has an exposure of -0.001 s and a frame rate of 200 Hz"),
        ({"frame_rate": "1 kHz"}, "camera cannot take 1000 frames/s with an exposure of 0.002 s"),
        ({"binning": 3}, "camera was asked for binning 3; it takes 1 or 2 or 4 or 8"),
        ({"region": (0, 0, 17, 16)}, r"camera was asked for region \(0, 0, 17, 16\); it takes"),
        ({"exposure": "4 mm"}, "camera cannot be set to that: exposure: a time in s is wanted"),
        ({"trigger_mode": "software"}, "and its trigger_mode is 'software'"),
    ],
    ids=str,
)
def test_what_it_could_not_be_is_refused(
    lab: Laboratory, values: dict[str, Any], said: str
) -> None:
    b = lab.beamline

    def scan() -> MsgGenerator[Any]:
        yield from bps.mv(b.sample_stage, 3.0)
        yield from after(lab.plan("radiography"), b.camera, **values)

    def block() -> MsgGenerator[None]:
        yield from take_frames(b.camera, 2, "before")
        yield from after(take_frames(b.camera, 2, "then"), b.camera, **values)

    def own() -> MsgGenerator[Any]:
        yield from imaging_run([block], camera=b.camera, beam=b.beam, motors=[], md={})

    for plan in (scan(), own()):
        with pytest.raises(CameraError, match=said):
            unset(lab, plan)


def test_what_is_impossible_now_is_not_refused_when_the_plan_sets_it_right(
    lab: Laboratory,
) -> None:
    camera = lab.beamline.camera
    set_now(camera, exposure=1.0, region=(0, 0, 16, 4), trigger_mode="software")
    values = {"exposure": "2 ms", "region": (0, 0, 16, 16), "trigger_mode": "plan"}
    plan = lab.plan("continuous_tomography", rotation_axis=10, num_projections=400, angular_range="180 deg")  # fmt: skip
    assert not unset(lab, after(plan, camera, **values)).refusals
    with pytest.raises(ParameterError, match="a frame has the columns 0 to 3"):
        preflight(lab.plan("continuous_tomography", rotation_axis=10))


def test_a_smaller_region_lets_more_frames_into_the_cameras_memory() -> None:
    # Four frames of 16 x 16 pixels, 64 of 4 x 4.
    b = SimulatedBeamline(shape=(16, 16), memory_bytes=2048, **NOW)

    def scan() -> MsgGenerator[Any]:
        return radiography(
            b.camera, b.beam, b.sample_stage, radio_position="0 mm", flat_position="1 mm",
            num_darks=2, num_flats=2, num_projections=64, readout="later",
        )  # fmt: skip

    assert preflight(after(scan(), b.camera, region=(0, 0, 4, 4))).disk_bytes == 68 * 32
    with pytest.raises(CameraError, match=r"asked to record 64 frames of projections, .* holds 16"):
        preflight(after(scan(), b.camera, region=(0, 0, 8, 8)))


def test_a_camera_of_somebody_elses_that_only_has_signals(lab: Laboratory) -> None:
    class Foreign:
        name = "foreign"
        parent = None
        frame_shape, frame_bytes = (4, 8), 64
        exposure = soft_signal_rw(float, 0.1, units="s", name="foreign-exposure")
        frame_rate = soft_signal_rw(float, 1.0, units="Hz", name="foreign-frame_rate")
        start_time, ledger = soft_signal_rw(float, name="foreign-start_time"), object()

    def plan() -> MsgGenerator[None]:
        yield from bps.mv(Foreign.exposure, 0.5, Foreign.frame_rate, 0.0)
        yield from bps.prepare(camera, FrameRequest(4, "views"), wait=True)
        yield from bps.kickoff(camera, wait=True)
        yield from bps.complete(camera, wait=True)

    camera: Any = Foreign()
    (views,) = unset(lab, plan()).streams
    assert (views.exposure_s, views.duration_s) == pytest.approx((0.5, 2.0))


def test_a_scan_is_resumed_by_a_plan_that_sets_the_camera_as_it_was(lab: Laboratory) -> None:
    b = lab.beamline
    steps = 0

    def strike(message: Msg) -> None:
        nonlocal steps
        steps += message.command == "trigger"
        if steps == 4:
            raise InterruptedError("somebody opened the hutch")

    with pytest.raises(InterruptedError):
        lab.RE(passed_on(lab.plan("step_tomography", num_projections=10), strike))
    run = open_run(lab.documents[0][1]["scan_name"], lab.directories.root)
    set_now(b.camera, region=(0, 0, 8, 16), exposure=0.004)

    def rest() -> MsgGenerator[Any]:
        return resume(run, b.camera, b.beam, b.sample_stage, b.rotation)

    with pytest.raises(ParameterError, match=r"camera-region was \[0, 0, 16, 16\] and is"):
        preflight(rest())
    (left,) = unset(lab, after(rest(), b.camera, region=(0, 0, 16, 16), exposure="2 ms")).streams
    assert (left.frames, left.frame_bytes) == (10 - len(run.frames("projections")), 512)
