"""The angles of a run, as its documents tell them."""

from typing import Any

import numpy as np
import pytest

from concertino.documents import AngleRecord, TomoBlock


def block(**changed: Any) -> TomoBlock:
    fields = {
        "scheme": "equidistant", "acquisition": "stepped", "num_projections": 4, "start_angle_deg": 0,
        "angular_range_deg": 180, "camera": "camera", "rotation": "rotation",
    }  # fmt: skip
    return TomoBlock(**{**fields, **changed})


def descriptor(unit: str | None, stored: list[float] | None = None) -> dict[str, Any]:
    keys: dict[str, dict[str, Any]] = {
        "camera": {"dtype": "array"},
        "rotation": {"dtype": "number", "precision": 1},
    }
    if unit is not None:
        keys["rotation"]["units"] = unit
    data = {} if stored is None else {"camera-stored_angles": stored}
    return {
        "uid": "d", "name": "projections", "data_keys": keys, "configuration": {"camera": {"data": data}}
    }  # fmt: skip


def event(number: int, angle: float) -> dict[str, Any]:
    return {"descriptor": "d", "seq_num": number, "data": {"rotation": angle}}


# A right angle, as one writes it down in each unit.
@pytest.mark.parametrize(
    ("unit", "right_angle"),
    [
        ("deg", 90), ("Degrees", 90), ("rad", 1.5707963), ("radian", 1.5707963), ("mrad", 1570.7963),
        ("mdeg", 90_000), ("arcmin", 5_400), ("arcsec", 324_000), ("turn", 0.25), (None, 90), ("", 90),
    ],
)  # fmt: skip
def test_angles_of_every_unit(unit: str | None, right_angle: float) -> None:
    record = AngleRecord(block())
    record.take("descriptor", descriptor(unit))
    record.take("event", event(2, right_angle))
    assert record.angles().angles_deg[1] == pytest.approx(90, rel=1e-6)
    spread = record.angles().uncertainty_deg[1]
    assert spread == pytest.approx(0.1 / np.sqrt(12) * 90 / right_angle, rel=1e-6)
    table = {
        "uid": "t", "name": "projection_angles",
        "data_keys": {"projection": {}, "angle": {"units": unit} if unit else {}},
    }  # fmt: skip
    swept = AngleRecord(block(acquisition="continuous"))
    swept.take("descriptor", table)
    swept.take("event", {"descriptor": "t", "data": {"projection": 2, "angle": right_angle}})
    assert swept.angles().angles_deg[2] == pytest.approx(90, rel=1e-6)


@pytest.mark.parametrize("unit", ["mm", "steps"])
def test_what_is_no_angle_is_not_taken_for_one(unit: str) -> None:
    record = AngleRecord(block())
    with pytest.warns(UserWarning, match=f"rotation was read in '{unit}', which is no unit of an"):
        record.take("descriptor", descriptor(unit))
    record.take("event", event(1, 17.0))
    assert record.angles().source == "nominal"
    np.testing.assert_allclose(record.angles().angles_deg, [0, 45, 90, 135])


def test_the_angles_of_a_file_count_and_not_those_of_the_rotation_beside_it() -> None:
    for direction in (1, -1):
        record = AngleRecord(block(direction=direction, num_projections=6))
        told = record.take("descriptor", descriptor("deg", [0.0, 60.0, 120.0]))
        record.take("event", event(2, 45.0))
        assert told.tolist() == list(range(6))
        assert record.angles().source == "file"
        assert record.expected
        # What the file says is counter-clockwise in the slice; a camera that loops begins again.
        np.testing.assert_allclose(np.rad2deg(record.all_rad()), [0, 60, 120] * 2)
