import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertino import ParameterError
from concertino.units import from_json, q, to_json

UNITS = [
    "", "mm", "um", "deg", "rad", "s", "ms", "mm/s", "deg/s", "frame/s", "Hz", "px", "um/px", "percent",
    "degC", "delta_degC", "K", "keV", "mA", "kV", "mm**2", "1/cm", "count", "frame", "A*s", "°",
]  # fmt: skip


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(UNITS))
def test_round_trip_through_text(value: float, unit: str) -> None:
    quantity = q.Quantity(value, unit)

    written = json.dumps(to_json(quantity))
    read = from_json(json.loads(written))

    assert read.magnitude == value
    assert read.units == quantity.units


def test_how_it_is_written() -> None:
    assert to_json(10.0 * q.mm) == {"value": 10.0, "unit": "mm"}
    assert to_json(1.1 * q.um / q.px) == {"value": 1.1, "unit": "um/px"}
    assert to_json(q.Quantity(20, "degC")) == {"value": 20, "unit": "degree_Celsius"}


def test_numbers_that_json_does_not_have() -> None:
    with pytest.raises(ParameterError, match="cannot be written as JSON"):
        to_json(math.nan * q.mm)


def test_wrong_keys() -> None:
    with pytest.raises(ParameterError, match="Give exactly the keys 'value' and 'unit'"):
        from_json({"value": 1, "units": "mm"})
