"""The axis of the twin is found and brought upright."""

import asyncio
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky import Msg
from ophyd_async.core import WatchableAsyncStatus

from concertino import DeviceError, ReconstructionError
from concertino.devices import SimulatedMotor
from concertino.plans import align_rotation_axis, find_rotation_axis, for_each
from concertino.simulation import Phantom, needle, sphere
from tests.plans.process_laboratory import P, ProcessLaboratory, foam, twin

SHAPE = (96, 192)
SETTINGS: dict[str, Any] = {**P, "num_darks": 5, "num_flats": 10}


def left_deg(lab: ProcessLaboratory, tilt_deg: tuple[float, float]) -> tuple[float, float]:
    """Return the tilt that the stages have left."""
    stages = (lab.beamline.axis_roll, lab.beamline.axis_pitch)
    roll, pitch = (asyncio.run(stage.user_readback.get_value()) for stage in stages)
    return roll + tilt_deg[0], pitch + tilt_deg[1]


@pytest.mark.parametrize("offset_px", [-13.4, 0.0, 8.25])
def test_the_axis_is_found_within_a_third_of_a_pixel(tmp_path: Path, offset_px: float) -> None:
    made = twin(foam((64, 128)), (64, 128), axis_offset_px=offset_px)
    lab = ProcessLaboratory(tmp_path, made)
    b = lab.beamline
    found = lab.result(find_rotation_axis(b.camera, b.rotation, b.beam, b.sample_stage, **SETTINGS))
    lab.close()
    assert abs(found.center_px - made.rotation_axis_px) < 0.3
    assert found.confidence > 0.8
    (event,) = lab.events("rotation_axis")
    assert event["rotation_axis-center"] == found.center_px
    assert not lab.beam_is_on()
    assert asyncio.run(b.rotation.user_readback.get_value()) == 0


def test_views_of_nothing_are_refused(tmp_path: Path) -> None:
    lab = ProcessLaboratory(tmp_path, twin(Phantom(()), (64, 128)))
    b = lab.beamline
    with pytest.raises(
        DeviceError, match="views of camera at 0 and 180 deg do not mirror one another"
    ):
        lab.result(find_rotation_axis(b.camera, b.rotation, b.beam, b.sample_stage, **SETTINGS))
    assert not lab.beam_is_on()
    lab.close()


@pytest.mark.parametrize("tilt_deg", [(0.9, -1.3), (-2.5, 0.4)])
@pytest.mark.parametrize("feature", ["sphere", "needle"])
def test_the_axis_is_brought_upright(
    tmp_path: Path, feature: Any, tilt_deg: tuple[float, float]
) -> None:
    # A needle's tip is less sharply seen than a ball's middle: more light, wider tip.
    phantom = (
        sphere(0.05, distance_mm=0.35)
        if feature == "sphere"
        else needle(0.5, radius_mm=0.06, distance_mm=0.35)
    )
    made = twin(
        phantom, SHAPE, tilt_deg=tilt_deg, axis_offset_px=3.0,
        supersampling=1 if feature == "sphere" else 2,
    )  # fmt: skip
    lab = ProcessLaboratory(tmp_path, made)
    b = lab.beamline
    found = lab.result(
        align_rotation_axis(
            b.camera, b.rotation, b.axis_roll, b.axis_pitch, b.beam, b.sample_stage,
            feature=feature, num_views=24 if feature == "sphere" else 60, **SETTINGS,
        )
    )  # fmt: skip
    lab.close()
    roll, pitch = left_deg(lab, tilt_deg)
    assert abs(roll) < 0.02
    assert abs(pitch) < 0.02
    assert found.iterations <= 5
    assert max(abs(found.roll_deg), abs(found.pitch_deg)) <= 0.01
    assert abs(roll - found.roll_deg) < found.uncertainty_deg
    assert abs(pitch - found.pitch_deg) < found.uncertainty_deg
    assert not lab.beam_is_on()
    looks = lab.events("axis_tilt")
    assert len(looks) == found.iterations
    assert looks[0]["axis_tilt-roll"] == pytest.approx(tilt_deg[0], abs=0.05)
    assert looks[0]["axis_tilt-pitch"] == pytest.approx(tilt_deg[1], abs=0.1)
    start = next(d for n, d in lab.documents if n == "start")
    assert start["plan_args"]["feature"] == feature


class OddMotor(SimulatedMotor):
    """A tilt stage that another stage turns with a factor: a wrong sign, a wrong gear."""

    def __init__(self, real: SimulatedMotor, factor: float) -> None:
        super().__init__(
            "deg", velocity=5.0, max_velocity=5.0, acceleration_time=0.01, name=real.name
        )
        self.real, self.factor = real, factor

    def set(self, value: float) -> WatchableAsyncStatus[float]:
        self.real.set(value * self.factor)
        return super().set(value)


def test_stages_that_turn_the_other_way_or_too_far_are_found_out(tmp_path: Path) -> None:
    tilt = (0.6, -0.5)
    lab = ProcessLaboratory(tmp_path, twin(sphere(0.05, distance_mm=0.35), SHAPE, tilt_deg=tilt))
    b = lab.beamline
    roll, pitch = OddMotor(b.axis_roll, -1.0), OddMotor(b.axis_pitch, 1.7)
    found = lab.result(
        align_rotation_axis(
            b.camera, b.rotation, roll, pitch, b.beam, b.sample_stage, num_views=16, **SETTINGS
        )
    )
    lab.close()
    assert found.iterations <= 5
    assert np.abs(left_deg(lab, tilt)).max() < 0.02


def test_the_next_sample_waits_for_the_end_of_an_alignment(tmp_path: Path) -> None:
    # After each look the plan may want another one: none of them is known to be the last.
    lab = ProcessLaboratory(
        tmp_path, twin(sphere(0.05, distance_mm=0.35), SHAPE, tilt_deg=(0.6, -0.5))
    )
    b = lab.beamline

    def align(sample: int) -> Any:
        md = lab.directories.new().metadata()
        return align_rotation_axis(
            b.camera, b.rotation, b.axis_roll, b.axis_pitch, b.beam, b.sample_stage,
            num_views=12, **SETTINGS, md=md,
        )  # fmt: skip

    seen: list[str] = []

    def note(message: Msg) -> None:
        if message.command in ("trigger", "close_run"):
            seen.append(message.command)
        elif message.command == "set" and message.obj is b.focus_stage:
            seen.append("the sample leaves")

    hook: Any = note
    lab.RE.msg_hook = hook
    lab.RE(for_each([0, 1], align, prepare=lambda item: bps.mv(b.focus_stage, item), overlap=True))
    lab.close()
    assert seen.count("the sample leaves") == 2
    first = seen[1 : seen.index("the sample leaves", 1)]
    assert first.count("trigger") >= 24  # It looked twice at least,
    assert first[-1] == "close_run"  # and all of it was of the first sample.


def test_a_stage_that_does_not_move_the_axis(tmp_path: Path) -> None:
    lab = ProcessLaboratory(tmp_path, twin(sphere(0.05), SHAPE, tilt_deg=(0.3, 0.0)))
    b = lab.beamline
    loose = SimulatedMotor(
        "deg", velocity=20.0, max_velocity=20.0, acceleration_time=0.005, name="loose"
    )
    with pytest.raises(DeviceError) as caught:
        lab.result(
            align_rotation_axis(
                b.camera, b.rotation, loose, b.axis_pitch, b.beam, b.sample_stage,
                num_views=12, max_iterations=2, **SETTINGS,
            )
        )  # fmt: skip
    assert "after 2 iterations the axis leans by 0.3" in str(caught.value)
    assert "See whether the tilt stages move" in str(caught.value)
    assert not lab.beam_is_on()
    lab.close()


def test_a_ball_that_leaves_the_view(tmp_path: Path) -> None:
    made = twin(sphere(0.05, distance_mm=0.35), SHAPE, axis_offset_px=25)
    lab = ProcessLaboratory(tmp_path, made)
    b = lab.beamline
    with pytest.raises(ReconstructionError, match="cut off by the right edge") as caught:
        lab.result(
            align_rotation_axis(
                b.camera, b.rotation, b.axis_roll, b.axis_pitch, b.beam, b.sample_stage,
                num_views=12, **SETTINGS,
            )
        )  # fmt: skip
    assert "At 0 deg, in the view views_1." in caught.value.__notes__
    stop = next(d for n, d in lab.documents if n == "stop")
    assert "At 0 deg" in stop["reason"]
    assert not lab.beam_is_on()
    lab.close()
