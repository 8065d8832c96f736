"""What a user may ask wrongly of a scan or an alignment, and that nothing has moved then."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bluesky.utils import MsgGenerator

from concertino import ParameterError, plans
from tests.plans.laboratory import POSITIONS, Laboratory

# What types would tell is what is tested here.
ascan: Any = plans.ascan
dscan: Any = plans.dscan
scan: Any = plans.scan
focus: Any = plans.focus
ImageMeasure: Any = plans.ImageMeasure

CAMERA_ADVICE = (
    "is no camera with a frame stream. Give a device such as SimulatedBeamline().camera or a "
    "FileCamera."
)
BEAM = (
    "beam: 'shutter' cannot be switched. Give a shutter or tube that takes True and False, or wrap "
    "yours in concertino.devices.SignalBeam."
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path_factory.mktemp("wrong"), exposure=0.001)
    yield made
    made.close()


def refusal(lab: Laboratory, plan: MsgGenerator[Any]) -> str:
    """Run a plan that is to be refused, and return why; nothing may have moved or been opened."""
    b, since = lab.beamline, time.time()
    lab.documents.clear()
    with pytest.raises(ParameterError) as caught:
        lab.RE(plan)
    assert lab.documents == []
    for motor in (b.rotation, b.sample_stage, b.focus_stage, b.axis_roll, b.axis_pitch):
        assert motor._trajectory.last.start_s < since
    assert all(when < since for when, _ in b.shutter.history._changes)
    return str(caught.value)


SCANS: list[tuple[Any, str]] = [
    (
        lambda b: ascan([], b.sample_stage, 0, 1, num=3),
        "measures: there are none. Give at least one readable device.",
    ),
    (
        lambda b: ascan(["ring"], b.sample_stage, 0, 1, num=3),
        "measures: 'ring' cannot be read. Give readable devices, or ImageMeasure(camera, function) "
        "for a function of a frame.",
    ),
    (
        lambda b: ascan([b.camera], b.sample_stage, 0, 1, num=3),
        "measures: camera camera gives frames and no number. Wrap it with a function of a frame: "
        "ImageMeasure(camera, function).",
    ),
    (
        lambda b: ascan([b.ring], b.sample_stage, 0, num=3),
        "args: 2 were given. Give motor, start, end for each motor, one after the other.",
    ),
    (
        lambda b: ascan([b.ring], "stage", 0, 1, num=3),
        "motor: 'stage' cannot be moved. Give a motor: a device with a set method.",
    ),
    (
        lambda b: ascan([b.ring], b.sample_stage, 0, 1, b.sample_stage, 0, 1, num=3),
        "args: sample_stage, sample_stage were given; name each motor once.",
    ),
    (
        lambda b: ascan([b.ring], b.sample_stage, 0, "1 deg", num=3),
        "end of sample_stage: a length in mm is wanted, but '1 deg' is an angle. Give a plain "
        "number in mm or a quantity such as '10 mm'.",
    ),
    (
        lambda b: ascan([b.ring], b.sample_stage, -101, 1, num=3),
        "start of sample_stage: Motor sample_stage was asked to move to -101 mm; its limits are "
        "-100 to 100 mm.",
    ),
    (
        lambda b: dscan([b.ring], b.sample_stage, 0, "20 cm", num=3),
        "end of sample_stage: Motor sample_stage was asked to move to 200 mm; its limits are -100 "
        "to 100 mm.",
    ),
    (
        lambda b: ascan([b.ring], b.sample_stage, 0, 1, num=0),
        "num: 0 is too small. Give at least 1.",
    ),
    (lambda b: ascan([b.ring], b.sample_stage, 0, 1, num=3, beam="shutter"), BEAM),
    (
        lambda b: scan([b.ring], b.sample_stage, 0, 1),
        "args: 3 were given. Give motor, start, end, number for each motor, one after the other.",
    ),
    (
        lambda b: scan([b.ring], b.sample_stage, 0, 1, 2.5),
        "number of sample_stage: 2.5 is not a whole number. Give one.",
    ),
    (
        lambda b: ascan(
            [ImageMeasure(b.camera, np.mean), ImageMeasure(b.camera, np.std, frames=2)],
            b.sample_stage, 0, 1, num=3,
        ),
        "measures: std takes 2 frames of camera camera, and mean takes 1 of camera. Give measures of "
        "the same camera and number of frames, or scan twice.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "message"), SCANS)
def test_scans(lab: Laboratory, plan: Any, message: str) -> None:
    assert refusal(lab, plan(lab.beamline)) == message


FOCUS: list[tuple[Any, str]] = [
    (
        lambda b: focus("diode", b.focus_stage, -1, 1),
        "measures: 'diode' cannot be read. Give readable devices, or ImageMeasure(camera, function) "
        "for a function of a frame.",
    ),
    (
        lambda b: focus(b.camera, "stage", -1, 1),
        "stage: 'stage' cannot be moved. Give a motor: a device with a set method.",
    ),
    (
        lambda b: focus(b.camera, b.focus_stage, "1 s", 1),
        "start: a length in mm is wanted, but '1 s' is a time. Give a plain number in mm or a "
        "quantity such as '10 mm'.",
    ),
    (
        lambda b: focus(b.camera, b.focus_stage, 0, 51),
        "end: Motor focus_stage was asked to move to 51 mm; its limits are -50 to 50 mm.",
    ),
    (
        lambda b: focus(b.camera, b.focus_stage, 1, "1000 um"),
        "start, end: both are 1 mm. Give a range to search.",
    ),
    (
        lambda b: focus(b.camera, b.focus_stage, 0, 1, num=4),
        "num: 4 is too small. Give at least 5.",
    ),
    (
        lambda b: focus(b.camera, b.focus_stage, 0, 1, tolerance=0),
        "tolerance: 0 is not positive. Give more than 0 mm.",
    ),
    (lambda b: focus(b.camera, b.focus_stage, 0, 1, beam="shutter"), BEAM),
]


@pytest.mark.parametrize(("plan", "message"), FOCUS)
def test_focus(lab: Laboratory, plan: Any, message: str) -> None:
    assert refusal(lab, plan(lab.beamline)) == message


def make(lab: Laboratory, name: str, **wrong: Any) -> MsgGenerator[Any]:
    b = lab.beamline
    devices: dict[str, Any] = {
        "camera": b.camera, "rotation": b.rotation, "axis_roll": b.axis_roll,
        "axis_pitch": b.axis_pitch, "beam": b.beam, "sample_stage": b.sample_stage,
    }  # fmt: skip
    plan: Any = plans.align_rotation_axis
    if name == "find_rotation_axis":
        plan = plans.find_rotation_axis
        del devices["axis_roll"], devices["axis_pitch"]
    return plan(**{**devices, **POSITIONS, **wrong})  # type: ignore[no-any-return]


BOTH: list[tuple[dict[str, Any], str]] = [
    ({"camera": "camera"}, f"camera: 'camera' {CAMERA_ADVICE}"),
    ({"beam": "shutter"}, BEAM),
    (
        {"rotation": None},
        "rotation: None cannot be moved. Give a motor: a device with a set method.",
    ),
    (
        {"flat_position": "1 kg"},
        "flat_position: a length in mm is wanted, but '1 kg' is of dimension [mass]. Give a plain "
        "number in mm or a quantity such as '10 mm'.",
    ),
    ({"num_flats": 2.5}, "num_flats: 2.5 is not a whole number. Give one."),
    (
        {"on_lost": "ignore"},
        "on_lost: 'ignore' was given; give 'fail' to fail the run when frames are lost, or 'flag' "
        "to only note it in the ledger.",
    ),
]


@pytest.mark.parametrize("name", ["find_rotation_axis", "align_rotation_axis"])
@pytest.mark.parametrize(("wrong", "message"), BOTH)
def test_both(lab: Laboratory, name: str, wrong: dict[str, Any], message: str) -> None:
    assert refusal(lab, make(lab, name, **wrong)) == message


def test_no_views(lab: Laboratory) -> None:
    said = refusal(lab, make(lab, "find_rotation_axis", num_views=0))
    assert said == "num_views: 0 is too small. Give at least 1 frame."


ALIGN: list[tuple[dict[str, Any], str]] = [
    (
        {"axis_pitch": "pitch"},
        "axis_pitch: 'pitch' cannot be moved. Give a motor: a device with a set method.",
    ),
    ({"feature": "hair"}, "feature: 'hair' was given; give 'sphere' or 'needle'."),
    ({"num_views": 4}, "num_views: 4 is too small. Give at least 5 frames."),
    (
        {"angular_range": "90 deg"},
        "angular_range: 90 deg was given. Give half a turn or more.",
    ),
    ({"tolerance": "0 deg"}, "tolerance: '0 deg' is not positive. Give more than 0 deg."),
    ({"max_iterations": 0}, "max_iterations: 0 is too small. Give at least 1."),
]


@pytest.mark.parametrize(("wrong", "message"), ALIGN)
def test_align(lab: Laboratory, wrong: dict[str, Any], message: str) -> None:
    assert refusal(lab, make(lab, "align_rotation_axis", **wrong)) == message


@pytest.mark.parametrize(
    "name", ["find_rotation_axis", "align_rotation_axis", "focus", "ascan", "dscan", "scan"]
)
def test_metadata_that_would_change_what_a_run_means(lab: Laboratory, name: str) -> None:
    b, md = lab.beamline, {"sample": "tooth", "frames": {"darks": 3}}
    plan: Any
    if name == "focus":
        plan = focus(b.camera, b.focus_stage, -1, 1, md=md)
    elif name == "scan":
        plan = scan([b.ring], b.sample_stage, 0, 1, 3, md=md)
    elif name in ("ascan", "dscan"):
        plan = getattr(plans, name)([b.ring], b.sample_stage, 0, 1, num=3, md=md)
    else:
        plan = make(lab, name, md=md)
    assert refusal(lab, plan).startswith("md: 'frames' is a field that runs have of their own")


def test_an_angle_that_is_none(lab: Laboratory) -> None:
    assert refusal(lab, make(lab, "find_rotation_axis", start_angle="1 mm")) == (
        "start_angle: an angle in deg is wanted, but '1 mm' is a length. Give a plain number in deg "
        "or a quantity such as '10 deg'."
    )


@pytest.mark.parametrize(
    ("make_measure", "message"),
    [
        (lambda b: ImageMeasure("camera", np.mean), f"camera: 'camera' {CAMERA_ADVICE}"),
        (
            lambda b: ImageMeasure(b.camera, 1),
            "function: 1 cannot be called. Give a function of a frame that returns a number, such as "
            "concertino.reconstruction.sharpness.",
        ),
        (
            lambda b: ImageMeasure(b.camera, np.mean, frames=0),
            "frames: 0 is too small. Give at least 1 frame.",
        ),
    ],
)
def test_measures(lab: Laboratory, make_measure: Any, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make_measure(lab.beamline)
    assert str(caught.value) == message
