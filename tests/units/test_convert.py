import math
from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np
import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertino import ParameterError
from concertino.units import convert, convert_count, q

FOREIGN: pint.UnitRegistry[Any] = pint.UnitRegistry()


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (10, "mm", 10.0),
        (np.float32(2.5), "mm", 2.5),
        (Fraction(1, 4), "mm", 0.25),
        ("10 mm", "mm", 10.0),
        ("1cm", "mm", 10.0),
        ("  -1.5e1 µm ", "mm", -0.015),
        ("1 um", "nm", 1000.0),
        ({"value": 1, "unit": "cm"}, "mm", 10.0),
        (90 * q.deg, "rad", math.pi / 2),
        (math.pi * q.rad, "deg", 180.0),
        ("90°", "deg", 90.0),
        ("0.5 turn", "deg", 180.0),
        ("10 rpm", "deg/s", 60.0),
        (20 * q.degC, "K", 293.15),
        ("20 degC", "K", 293.15),
        ("100 Hz", "frame/s", 100.0),
        ("100 fps", "Hz", 100.0),
        ("296.5 px", "px", 296.5),
        ("1.1 um/px", "um/px", 1.1),
        ("5 %", "percent", 5.0),
        ("5 percent", "", 0.05),
        ("3", "", 3.0),
        (90 * FOREIGN.deg, "deg", 90.0),
        (0.25 * FOREIGN.turn, "rad", math.pi / 2),
    ],
)
def test_convert(value: Any, unit: str, expected: float) -> None:
    converted = convert(value, unit, parameter="x")

    assert type(converted) is float
    assert converted == pytest.approx(expected, rel=1e-12)


MM = "Give a plain number in mm or a quantity such as '10 mm'."
DEG = "Give a plain number in deg or a quantity such as '10 deg'."


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        ("10 mm", "deg", f"x: an angle in deg is wanted, but '10 mm' is a length. {DEG}"),
        ("10 deg", "mm", f"x: a length in mm is wanted, but '10 deg' is an angle. {MM}"),
        (3 * q.s, "mm", f"x: a length in mm is wanted, but '3 second' is a time. {MM}"),
        (
            {"value": 3, "unit": "keV"},
            "mm",
            f"x: a length in mm is wanted, but '3 keV' is an energy. {MM}",
        ),
        (q("5 %"), "deg", f"x: an angle in deg is wanted, but '5 percent' is a pure number. {DEG}"),
        (q("3"), "deg", f"x: an angle in deg is wanted, but '3 dimensionless' is a pure number. {DEG}"),
        ("5 %", "deg", f"x: an angle in deg is wanted, but '5 %' is a pure number. {DEG}"),
        (90 * FOREIGN.mm, "deg", f"x: an angle in deg is wanted, but '90 millimeter' is a length. {DEG}"),
        ("3 px", "um", "x: a length in um is wanted, but '3 px' is a number of pixels. "
         "Give a plain number in um or a quantity such as '10 um'."),
        ("3", "deg", "x: '3' has no unit. Give it one, such as '3 deg'."),
        ("10 parsnips", "mm", "x: 'parsnips' in '10 parsnips' is not a unit that is known. "
         "Give one such as 'mm', 'deg', 's' or 'px'."),
        ("10 (mm", "mm", "x: '(mm' in '10 (mm' is not a unit that is known. "
         "Give one such as 'mm', 'deg', 's' or 'px'."),
        ("far", "mm", "x: 'far' is no quantity. Give a number with a unit, such as '10 mm'."),
        ("10,5 mm", "mm", "x: '10,5 mm' is no quantity. Give a number with a unit, such as '10 mm'."),
        ("1+1 mm", "mm", "x: '1+1 mm' is no quantity. Give a number with a unit, such as '10 mm'."),
        ("", "mm", "x: '' is no quantity. Give a number with a unit, such as '10 mm'."),
        (True, "mm", f"x: True is no quantity. {MM}"),
        (np.True_, "mm", f"x: {np.True_!r} is no quantity. {MM}"),
        (None, "mm", f"x: None is no quantity. {MM}"),
        ([1], "mm", f"x: [1] is no quantity. {MM}"),
        (1j, "mm", f"x: 1j is no quantity. {MM}"),
        ({"value": "1", "unit": "mm"}, "mm", "x: {'value': '1', 'unit': 'mm'} is no quantity. "
         "Give exactly a number and a unit, such as {'value': 10, 'unit': 'mm'}."),
        ({"value": 1}, "mm", "x: {'value': 1} is no quantity. "
         "Give exactly a number and a unit, such as {'value': 10, 'unit': 'mm'}."),
        (np.array([1.0, 2.0]) * q.mm, "mm", "x: '[1. 2.] millimeter' is not one number. "
         "Give a single value."),
        (math.nan, "mm", "x: nan is not a finite number. Give one in mm."),
        ("nan mm", "mm", "x: 'nan mm' is not a finite number. Give one in mm."),
        (math.inf * q.mm, "mm", "x: 'inf millimeter' is not a finite number. Give one in mm."),
        ("1e400 mm", "mm", "x: '1e400 mm' is not a finite number. Give one in mm."),
    ],
)  # fmt: skip
def test_refused(value: Any, unit: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        convert(value, unit, parameter="x")

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"positive": True}, "x: '-1 mm' is not positive. Give more than 0 mm."),
        ({"minimum": 0}, "x: '-1 mm' is too small. Give at least 0 mm."),
        ({"maximum": -2.5}, "x: '-1 mm' is too large. Give at most -2.5 mm."),
    ],
)
def test_out_of_range(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        convert("-1 mm", "mm", parameter="x", **limits)

    assert str(caught.value) == message


def test_an_angle_never_turns_into_a_number_by_itself() -> None:
    with pytest.raises(pint.DimensionalityError):
        float(90 * q.deg)
    with pytest.raises(pint.DimensionalityError):
        1.0 + 90 * q.deg
    assert np.sin(90 * q.deg) == 1.0


@pytest.mark.parametrize(("value", "expected"), [(200, 200), (3.0, 3), ("200 frames", 200)])
def test_convert_count(value: Any, expected: int) -> None:
    count = convert_count(value, parameter="num_flats")

    assert type(count) is int
    assert count == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "num_flats: 0 is too small. Give at least 1 frame."),
        (-5, "num_flats: -5 is too small. Give at least 1 frame."),
        (2.5, "num_flats: 2.5 is not a whole number. Give one."),
        (
            "10 mm",
            "num_flats: a pure number in frame is wanted, but '10 mm' is a length. "
            "Give a plain number in frame or a quantity such as '10 frame'.",
        ),
    ],
)
def test_count_refused(value: Any, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        convert_count(value, parameter="num_flats")

    assert str(caught.value) == message


@given(st.floats(-1e12, 1e12), st.sampled_from(["mm", "um", "m", "inch"]))
def test_all_ways_to_say_it_agree(value: float, unit: str) -> None:
    said = [value * q.Unit(unit), f"{value!r} {unit}", {"value": value, "unit": unit}]

    first, *others = [convert(way, "mm", parameter="x") for way in said]

    assert others == [first, first]


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_plain_number_is_taken_as_it_is_or_refused(value: float) -> None:
    if math.isfinite(value):
        assert convert(value, "deg", parameter="x") == value
    else:
        with pytest.raises(ParameterError):
            convert(value, "deg", parameter="x")


@given(st.text())
def test_any_text_is_a_quantity_or_a_parameter_error(text: str) -> None:
    with suppress(ParameterError):
        assert math.isfinite(convert(text, "mm", parameter="x"))


@pytest.mark.parametrize(
    ("value", "example"), [("200", "200 Hz"), ("nan", "10 Hz"), ("inf", "10 Hz")]
)
def test_text_without_a_unit_is_told_what_is_taken(value: str, example: str) -> None:
    """A plain number that is text is refused, so nobody is told to give one."""
    with pytest.raises(ParameterError) as caught:
        convert(value, "Hz", parameter="frame_rate")
    assert (
        str(caught.value) == f"frame_rate: {value!r} has no unit. Give it one, such as '{example}'."
    )
    assert convert(example, "Hz", parameter="frame_rate") > 0


@pytest.mark.parametrize(
    "text",
    ["10 mm!!", "10 mm # half", "10 mm,", "10 mm<s", "10 mm\nm", "10 mm?", "10 mm=", "10 $mm"],
)
def test_what_is_no_part_of_a_unit_is_not_passed_over(text: str) -> None:
    with pytest.raises(ParameterError, match="is not a unit that is known"):
        convert(text, "mm", parameter="flat_position")
