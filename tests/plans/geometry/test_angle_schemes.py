"""Angle schemes as values, and in a stepped tomography."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertino import ParameterError
from concertino.documents import TomoBlock
from concertino.plans import AngleList, AngleScheme, Equidistant, GoldenRatio, Timbir
from tests.plans.laboratory import Laboratory


@given(st.integers(1, 6), st.integers(1, 20), st.floats(-90, 90), st.sampled_from([180, 360, -180]))
def test_interlaced_angles_are_the_equidistant_ones_in_another_order(
    power: int, per_round: int, start: float, sweep: float
) -> None:
    rounds = 2**power
    number = rounds * per_round
    interlaced = Timbir(rounds).angles(number, start, sweep)
    equal = Equidistant().angles(number, start, sweep)
    np.testing.assert_allclose(sorted(interlaced), sorted(equal), atol=1e-9)
    # Within a round it turns one way only.
    first = np.diff(interlaced[:per_round]) * np.sign(sweep)
    assert (first > 0).all()


@given(st.integers(5, 400))
def test_the_golden_ratio_leaves_no_wide_gap(number: int) -> None:
    angles = np.sort(GoldenRatio().angles(number, 0, 180))
    gaps = np.diff(angles, append=angles[0] + 180)
    # Three gaps at most, the widest below the golden ratio squared times the mean one.
    assert gaps.max() < 2.62 * 180 / number
    assert angles.min() >= 0
    assert angles.max() < 180


def test_schemes_are_schemes() -> None:
    schemes: list[Any] = [Equidistant(), GoldenRatio(), Timbir(), AngleList((0.0,))]
    assert all(isinstance(scheme, AngleScheme) for scheme in schemes)


@pytest.mark.parametrize(
    ("scheme", "name", "angles"),
    [
        ("golden_ratio", "golden_ratio", GoldenRatio().angles(4, 1, 6)),
        (Timbir(rounds=2), "timbir", [1, 4, 2.5, 5.5]),
        ([3, "1 deg", 2, 2.5], "list", [3, 1, 2, 2.5]),
        ("equidistant", "equidistant", [1, 2.5, 4, 5.5]),
    ],
)
def test_a_stepped_tomography_takes_its_angles(
    laboratory: Laboratory, scheme: Any, name: str, angles: list[float]
) -> None:
    docs = laboratory.run(
        "step_tomography",
        scheme=scheme,
        num_projections=4,
        start_angle="1 deg",
        angular_range="6 deg",
        order=("projections",),
    )
    start = next(doc for kind, doc in docs if kind == "start")
    tomo = TomoBlock.from_start(start)
    assert tomo.scheme == start["plan_args"]["scheme"] == name
    np.testing.assert_allclose(np.rad2deg(tomo.angles_rad()), angles)
    read = [d["data"]["rotation"] for k, d in docs if k == "event" and "rotation" in d["data"]]
    np.testing.assert_allclose(read, angles)


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (
            "spirals",
            "scheme: 'spirals' was given; give 'equidistant', 'multi_turn', 'golden_ratio', 'timbir', a "
            "scheme such as Timbir(rounds=4), or a list of angles in deg.",
        ),
        (
            [1.0, 2.0],
            "num_projections: 3 was given for a list of 2 angles. Give as many.",
        ),
        (
            ["1 mm", 2, 3],
            "scheme: an angle in deg is wanted, but '1 mm' is a length. Give a plain number in deg "
            "or a quantity such as '10 deg'.",
        ),
        (
            Timbir(rounds=2),
            "num_projections: 3 cannot be shared by 2 interlaced rounds; give a multiple of 2.",
        ),
    ],
)
def test_wrong_schemes(laboratory: Laboratory, scheme: Any, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        laboratory.RE(laboratory.plan("step_tomography", scheme=scheme))
    assert str(caught.value) == message
    assert not laboratory.documents


class Rule:
    """A rule of a user's own that gives so many angles, whatever it is asked for."""

    name = "rule"

    def __init__(self, count: int) -> None:
        self.count = count

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        return [0.1 * index for index in range(self.count)]

    passed = angles


@pytest.mark.parametrize("name", ["step_tomography", "continuous_tomography"])
@pytest.mark.parametrize("count", [0, 3, 9])
def test_a_rule_that_gives_another_number_of_angles_is_refused(
    laboratory: Laboratory, name: str, count: int
) -> None:
    with pytest.raises(ParameterError) as caught:
        laboratory.run(name, num_projections=5, scheme=Rule(count))
    assert str(caught.value) == (
        f"scheme: 'rule' gave {count} angles for 5 projections. Have it give one for each."
    )
    assert not laboratory.documents


def test_rounds_that_are_no_power_of_two() -> None:
    with pytest.raises(ParameterError, match=r"^rounds: 6 was given; give a power of two, such as"):
        Timbir(rounds=6)
