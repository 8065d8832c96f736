"""What a user may ask wrongly, what the plans answer, and that nothing has moved then."""

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bluesky.utils import MsgGenerator

from concertino import CameraError, ConcertinoError, ParameterError
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.units import q
from tests.plans.laboratory import COUNTS, PLANS, POSITIONS, Laboratory

TOMOGRAPHIES = PLANS[1:]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path_factory.mktemp("wrong"), exposure=0.001)
    yield made
    made.close()


def make(lab: Laboratory, name: str, **wrong: Any) -> MsgGenerator[Any]:
    """Return a plan whose devices may be wrong, too."""
    b = lab.beamline
    devices = {
        "camera": b.camera, "rotation": b.rotation, "beam": b.beam, "sample_stage": b.sample_stage,
    }  # fmt: skip
    devices = {part: wrong.pop(part, device) for part, device in devices.items()}
    given = {**COUNTS, **POSITIONS, **wrong}
    if name == "radiography":
        del devices["rotation"]
        return radiography(**devices, **given)  # type: ignore[arg-type]
    plan = step_tomography if name == "step_tomography" else continuous_tomography
    return plan(**devices, **{"angular_range": "3 deg", **given})  # type: ignore[arg-type]


def refusal(lab: Laboratory, name: str, **wrong: Any) -> str:
    """Run a plan that is to be refused, and return why; nothing may have moved or been opened."""
    b, since = lab.beamline, time.time()
    lab.documents.clear()
    with pytest.raises(ConcertinoError) as caught:
        lab.RE(make(lab, name, **wrong))
    assert isinstance(caught.value, (ParameterError, CameraError))
    assert lab.documents == []
    for motor in (b.rotation, b.sample_stage):
        assert motor._trajectory.last.start_s < since
    assert all(when < since for when, _ in b.shutter.history._changes)
    return str(caught.value)


EVERY_PLAN: list[tuple[dict[str, Any], str]] = [
    (
        {"camera": "camera"},
        "camera: 'camera' is no camera with a frame stream. Give a device such as "
        "SimulatedBeamline().camera or a FileCamera.",
    ),
    (
        {"beam": "shutter"},
        "beam: 'shutter' cannot be switched. Give a shutter or tube that takes True and False, or "
        "wrap yours in concertino.devices.SignalBeam.",
    ),
    (
        {"sample_stage": "stage"},
        "sample_stage: 'stage' cannot be moved. Give a motor: a device with a set method.",
    ),
    ({"num_darks": 0}, "num_darks: 0 is too small. Give at least 1 frame."),
    ({"num_flats": -1}, "num_flats: -1 is too small. Give at least 1 frame."),
    ({"num_projections": 0}, "num_projections: 0 is too small. Give at least 1 frame."),
    ({"num_projections": 2.5}, "num_projections: 2.5 is not a whole number. Give one."),
    ({"num_darks": math.nan}, "num_darks: nan is not a finite number. Give one in frame."),
    (
        {"flat_position": "30 cm"},
        "flat_position: Motor sample_stage was asked to move to 300 mm; its limits are -100 to "
        "100 mm.",
    ),
    (
        {"radio_position": -101},
        "radio_position: Motor sample_stage was asked to move to -101 mm; its limits are -100 to "
        "100 mm.",
    ),
    (
        {"flat_position": "10 deg"},
        "flat_position: a length in mm is wanted, but '10 deg' is an angle. Give a plain number in "
        "mm or a quantity such as '10 mm'.",
    ),
    (
        {"flat_position": math.nan},
        "flat_position: nan is not a finite number. Give one in mm.",
    ),
    (
        {"radio_position": math.inf},
        "radio_position: inf is not a finite number. Give one in mm.",
    ),
    (
        {"flat_position": "out of the beam"},
        "flat_position: 'out of the beam' is no quantity. Give a number with a unit, such as "
        "'10 mm'.",
    ),
    (
        {"order": ["darks", "radios"]},
        "order: ['darks', 'radios'] was given; name darks, flats, projections, and at least one. "
        "Those that are no darks or flats are taken once; 'flats every 100 projections' takes flats before "
        "each hundred.",
    ),
    (
        {"order": ["projections", "projections"]},
        "order: ['projections', 'projections'] was given; name darks, flats, projections, and at least one. "
        "Those that are no darks or flats are taken once; 'flats every 100 projections' takes flats before "
        "each hundred.",
    ),
    (
        {"order": []},
        "order: [] was given; name darks, flats, projections, and at least one. Those that are no darks or "
        "flats are taken once; 'flats every 100 projections' takes flats before each hundred.",
    ),
    (
        {"order": "darks"},
        "order: 'darks' was given; give a list such as ['darks', 'flats', 'projections'].",
    ),
    (
        {"on_lost": "ignore"},
        "on_lost: 'ignore' was given; give 'fail' to fail the run when frames are lost, or 'flag' to "
        "only note it in the ledger.",
    ),
]
EVERY_TOMOGRAPHY: list[tuple[dict[str, Any], str]] = [
    (
        {"rotation": "rotation"},
        "rotation: 'rotation' cannot be moved. Give a motor: a device with a set method.",
    ),
    (
        {"angular_range": "180 mm"},
        "angular_range: an angle in deg is wanted, but '180 mm' is a length. Give a plain number in "
        "deg or a quantity such as '10 deg'.",
    ),
    (
        {"angular_range": 0},
        "angular_range: 0 deg was given. Give an angle such as 180 deg, negative to turn backwards.",
    ),
    (
        {"angular_range": math.nan},
        "angular_range: nan is not a finite number. Give one in deg.",
    ),
    (
        {"start_angle": 3 * q.s},
        "start_angle: an angle in deg is wanted, but '3 second' is a time. Give a plain number in deg "
        "or a quantity such as '10 deg'.",
    ),
]


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_refuses(lab: Laboratory, name: str) -> None:
    for wrong, message in EVERY_PLAN:
        assert refusal(lab, name, **wrong) == message


@pytest.mark.parametrize("name", TOMOGRAPHIES)
def test_every_tomography_refuses(lab: Laboratory, name: str) -> None:
    for wrong, message in EVERY_TOMOGRAPHY:
        assert refusal(lab, name, **wrong) == message


@pytest.mark.parametrize("name", TOMOGRAPHIES)
def test_an_angle_beyond_the_rotations_limits(lab: Laboratory, name: str) -> None:
    rotation = lab.beamline.rotation
    rotation.limits = (-15.0, 200.0)
    try:
        assert refusal(lab, name, start_angle=-20) == (
            "start_angle: Motor rotation was asked to move to -20 deg; its limits are -15 to 200 deg."
        )
        message = refusal(lab, name, angular_range=360, num_projections=360)
        assert message.startswith("angular_range")
        assert message.endswith("its limits are -15 to 200 deg.")
    finally:
        rotation.limits = (-math.inf, math.inf)


def test_no_room_to_gain_speed(lab: Laboratory) -> None:
    rotation = lab.beamline.rotation
    rotation.limits = (0.0, 360.0)
    try:
        assert refusal(lab, "continuous_tomography") == (
            "start_angle, less the way to gain speed: Motor rotation was asked to move to -12.6 deg; "
            "its limits are 0 to 360 deg."
        )
    finally:
        rotation.limits = (-math.inf, math.inf)


def test_a_turn_that_is_too_fast(lab: Laboratory) -> None:
    assert refusal(lab, "continuous_tomography", angular_range=180) == (
        "angular_range, num_projections and the camera's frame rate: Motor rotation was asked to move "
        "at 12000 deg/s; it takes more than 0 and at most 1440 deg/s."
    )


def test_a_rotation_without_velocity(lab: Laboratory) -> None:
    class Stepper:
        name = "stepper"
        parent = None

        def set(self, value: float) -> Any:
            raise AssertionError

    assert refusal(lab, "continuous_tomography", rotation=Stepper()) == (
        "rotation: stepper has no velocity that can be set, as a continuous scan needs. "
        "Use step_tomography, or a motor with a signal velocity."
    )


def test_a_frame_rate_that_the_exposure_cannot_reach(lab: Laboratory) -> None:
    camera = lab.beamline.camera
    lab.RE(_set(camera.exposure, 0.01))
    try:
        for name in PLANS:
            assert refusal(lab, name) == (
                "Camera camera cannot take 200 frames/s with an exposure of 0.01 s; that exposure "
                "allows at most 100 frames/s. Lower the frame rate or the exposure."
            )
        lab.RE(_set(camera.exposure, -1.0))
        assert refusal(lab, "radiography") == (
            "Camera camera has an exposure of -1 s and a frame rate of 200 Hz; set both to 0 or "
            "more."
        )
    finally:
        lab.RE(_set(camera.exposure, 0.0))


def test_no_frame_rate_for_a_continuous_scan(lab: Laboratory) -> None:
    lab.RE(_set(lab.beamline.camera.frame_rate, 0.0))
    try:
        assert refusal(lab, "continuous_tomography") == (
            "A continuous scan follows from the camera's frame rate, and that is 0 Hz. Set "
            "camera.frame_rate to how many frames per second to take."
        )
    finally:
        lab.RE(_set(lab.beamline.camera.frame_rate, 200.0))


def _set(signal: Any, value: float) -> MsgGenerator[None]:
    import bluesky.plan_stubs as bps

    yield from bps.mv(signal, value)
