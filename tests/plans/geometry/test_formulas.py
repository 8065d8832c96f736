"""The formulas that users know, with the numbers that they know."""

import math

import pytest

from concertino import ParameterError
from concertino.plans import angular_step, maximum_velocity, projections_needed


def test_the_step_moves_the_edge_by_a_pixel() -> None:
    assert angular_step(2048) == math.atan(2 / 2048)
    assert angular_step("512 px") == math.atan(2 / 512)


@pytest.mark.parametrize(("width", "number"), [(2048, 3217), (1024, 1609), ("256 px", 403)])
def test_projections_that_sample_the_edge(width: int | str, number: int) -> None:
    assert projections_needed(width) == number


def test_the_greatest_speed() -> None:
    assert maximum_velocity(2048, 100) == pytest.approx(math.degrees(math.atan(2 / 2048)) * 100)
    assert maximum_velocity("2048 px", "0.1 kHz") == pytest.approx(maximum_velocity(2048, 100))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: angular_step(0), "width: 0 is not positive. Give more than 0 px."),
        (lambda: projections_needed(-3), "width: -3 is not positive. Give more than 0 px."),
        (lambda: maximum_velocity(9, 0), "frame_rate: 0 is not positive. Give more than 0 Hz."),
    ],
)
def test_what_they_refuse(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ParameterError) as caught:
        call()
    assert str(caught.value) == message
