from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import concertino
from concertino import DocumentError
from concertino.documents import TomoBlock

SCAN: dict[str, Any] = {
    "scheme": "equidistant",
    "acquisition": "stepped",
    "num_projections": 4,
    "start_angle_deg": 0.0,
    "angular_range_deg": 180.0,
    "camera": "camera",
    "rotation": "rotation",
}


@pytest.mark.parametrize(
    ("changes", "expected_deg"),
    [
        ({}, [0, 45, 90, 135]),
        ({"start_angle_deg": 10, "angular_range_deg": -180}, [10, -35, -80, -125]),
        ({"direction": -1}, [0, -45, -90, -135]),
        ({"num_projections": 0}, []),
        ({"scheme": "golden", "angles_deg": [0, 111, 42, 3]}, [0, 111, 42, 3]),
        ({"angles_deg": [1, 2, 3, 5], "angle_source": "encoder"}, [1, 2, 3, 5]),
    ],
)
def test_angles(changes: dict[str, Any], expected_deg: list[float]) -> None:
    angles = TomoBlock(**{**SCAN, **changes}).angles_rad()

    assert angles.dtype == np.float64
    np.testing.assert_allclose(angles, np.deg2rad(expected_deg), atol=1e-15)


@given(
    start=st.floats(-360, 360),
    span=st.floats(-720, 720),
    number=st.integers(1, 50),
    direction=st.sampled_from([1, -1]),
    pixel=st.none() | st.floats(1e-3, 1e3),
)
def test_round_trip_through_json(
    start: float, span: float, number: int, direction: int, pixel: float | None
) -> None:
    block = TomoBlock(
        **{
            **SCAN,
            "start_angle_deg": start,
            "angular_range_deg": span,
            "num_projections": number,
            "direction": direction,
            "pixel_size_um": pixel,
        }
    )

    written = orjson.dumps({"uid": "a", "time": 0, "tomo": block.model_dump(mode="json")})
    read = TomoBlock.from_start(orjson.loads(written))

    assert read == block
    np.testing.assert_array_equal(read.angles_rad(), block.angles_rad())


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TomoBlock(**SCAN).camera = "other"  # type: ignore[misc]


REWRITE = " Have what wrote it write it as concertino.documents describes."


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            {"uid": "0123456789", "plan_name": "count"},
            "Run 01234567 (plan 'count') has no tomo block, so it is no imaging run. Record it with "
            "a plan of concertino.plans, or add the block in md.",
        ),
        (
            {"uid": "0123456789", "tomo": {"version": 2, "novelty": 1}},
            "Run 01234567: the tomo block is of version 2, and Concertino "
            f"{concertino.__version__} reads version 1. Read it with a matching Concertino.",
        ),
        (
            {"uid": "0123456789", "tomo": {**SCAN, "camera": None, "zoom": 2}},
            "Run 01234567: its tomo block is wrong: camera: Input should be a valid string; "
            "zoom: Extra inputs are not permitted." + REWRITE,
        ),
        (
            {"uid": "0123456789", "tomo": {**SCAN, "angles_deg": [1.0]}},
            "Run 01234567: its tomo block is wrong: angles_deg has 1 angles for 4 projections; give "
            "one for each." + REWRITE,
        ),
        (
            {"uid": "0123456789", "tomo": {**SCAN, "angular_range_deg": None}},
            "Run 01234567: its tomo block is wrong: scheme 'equidistant' needs angular_range_deg, or "
            "all of angles_deg." + REWRITE,
        ),
        (
            {"uid": "0123456789", "tomo": {**SCAN, "pixel_size_um": 0}},
            "Run 01234567: its tomo block is wrong: pixel_size_um: Input should be greater than 0."
            + REWRITE,
        ),
    ],
)
def test_blocks_that_cannot_be_read(start: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        TomoBlock.from_start(start)

    assert str(caught.value) == message


def test_a_radiography_has_no_angles() -> None:
    block = TomoBlock(
        scheme="radiography", acquisition="single", num_projections=3, camera="camera"
    )

    with pytest.raises(DocumentError) as caught:
        block.angles_rad()

    assert str(caught.value) == (
        "The tomo block has no angles: its scheme is 'radiography'. "
        "Choose a run of a tomography, or give the angles."
    )


def test_a_spiral_has_angles_and_heights() -> None:
    block = TomoBlock(
        scheme="spiral",
        acquisition="stepped",
        num_projections=5,
        start_angle_deg=10,
        angular_range_deg=225,
        vertical_start_mm=1,
        vertical_range_mm=-2.5,
        projections_per_tomogram=4,
        camera="camera",
    )

    np.testing.assert_allclose(np.rad2deg(block.angles_rad()), [10, 55, 100, 145, 190])
    np.testing.assert_allclose(block.vertical_mm(), [1, 0.5, 0, -0.5, -1])
    assert TomoBlock.model_validate(block.model_dump(mode="json")) == block


def test_a_spiral_without_heights() -> None:
    with pytest.raises(ValueError, match="scheme 'spiral' needs vertical_range_mm"):
        TomoBlock(
            scheme="spiral",
            acquisition="stepped",
            num_projections=5,
            start_angle_deg=10,
            angular_range_deg=225,
            vertical_start_mm=1,
            camera="camera",
        )


TURN = {**SCAN, "angular_range_deg": 360.0}


def test_half_acquisition_is_written_only_where_it_is_so() -> None:
    # A reader that does not know the field forbids it, and reads all runs without it.
    assert "half_acquisition" not in TomoBlock(**TURN).model_dump(mode="json")
    block = TomoBlock(**TURN, half_acquisition=True)
    assert block.model_dump(mode="json")["half_acquisition"] is True
    assert TomoBlock.model_validate(block.model_dump(mode="json")) == block
    assert TomoBlock.model_validate_json(block.model_dump_json()) == block


def test_half_acquisition_needs_a_full_turn() -> None:
    with pytest.raises(
        ValueError, match="half_acquisition needs a turn of 360 deg or more, and has 180 deg"
    ):
        TomoBlock(**SCAN, half_acquisition=True)
