"""Where a simulated axis is at any time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertino.devices.simulated._trajectory import Braking, Move, Trajectory

positions = st.floats(-1000, 1000, allow_nan=False)
speeds = st.floats(0.01, 1000)
accelerations = st.floats(0.1, 1e5)
moves = st.builds(Move, st.floats(0, 100), positions, positions, speeds, accelerations)


def samples(move: Move | Braking, number: int = 200) -> list[tuple[float, float]]:
    length = move.stop_s - move.start_s
    times = [move.start_s + length * i / number for i in range(number + 1)]
    return [(time, move.position(time)) for time in times]


@given(moves)
def test_a_move_goes_from_origin_to_target_and_stays_between(move: Move) -> None:
    assert move.position(move.start_s - 1) == pytest.approx(move.origin)
    assert move.position(move.stop_s) == pytest.approx(move.target, abs=1e-6)
    assert move.position(move.stop_s + 1) == move.target
    low, high = sorted((move.origin, move.target))
    assert all(low - 1e-6 <= position <= high + 1e-6 for _, position in samples(move))


@given(moves)
def test_a_move_is_continuous_and_keeps_its_limits(move: Move) -> None:
    for (before_s, before), (after_s, after) in pairwise(samples(move)):
        assert abs(after - before) <= move.speed * (after_s - before_s) * 1.01 + 1e-6
        middle_s = (before_s + after_s) / 2
        assert abs(move.velocity(middle_s)) <= move.speed * (1 + 1e-9)


@given(moves, st.floats(0.05, 0.95))
def test_velocity_is_the_slope_of_the_position(move: Move, part: float) -> None:
    length = move.stop_s - move.start_s
    if length < 1e-3:
        return
    time, step = move.start_s + part * length, length * 1e-4
    slope = (move.position(time + step) - move.position(time - step)) / (2 * step)
    # Within a corner of the profile the slope is off by what is accelerated in a step.
    tolerance = 2 * move.acceleration * step + 1e-6 * (1 + move.distance / step * 1e-6)
    assert move.velocity(time) == pytest.approx(slope, rel=1e-3, abs=tolerance)


def test_the_duration_of_a_trapezoidal_and_of_a_triangular_move() -> None:
    assert Move(0, 0, 10, speed=2, acceleration=4).duration_s == pytest.approx(10 / 2 + 2 / 4)
    assert Move(0, 0, 1, speed=100, acceleration=4).duration_s == pytest.approx(1.0)
    assert Move(0, 3, 3, speed=2, acceleration=4).duration_s == 0
    assert Move(0, 3, 3, speed=2, acceleration=4).position(5) == 3


@given(moves, st.floats(0.01, 0.99))
def test_an_axis_that_is_stopped_brakes_without_a_jump(move: Move, part: float) -> None:
    time = move.start_s + part * (move.stop_s - move.start_s)
    braking = Braking(time, move.position(time), move.velocity(time), move.acceleration)
    assert braking.position(time) == pytest.approx(move.position(time))
    assert braking.velocity(braking.stop_s) == 0
    way = abs(braking.target - braking.origin)
    assert way == pytest.approx(move.velocity(time) ** 2 / (2 * move.acceleration), abs=1e-6)
    # An axis that brakes as hard as it would have done anyway never passes its target.
    assert abs(braking.target - move.origin) <= move.distance + 1e-6


@given(st.lists(moves, min_size=1, max_size=80))
def test_the_past_is_remembered(made: list[Move]) -> None:
    trajectory = Trajectory(0.0)
    origin, start_s, kept = 0.0, 1.0, []
    for move in made:
        kept.append(Move(start_s, origin, move.target, move.speed, move.acceleration))
        trajectory.append(kept[-1])
        origin, start_s = move.target, kept[-1].stop_s + 1
    for move in kept[-64:]:
        assert trajectory.position(move.stop_s + 0.5) == move.target
        middle_s = (move.start_s + move.stop_s) / 2
        assert trajectory.position(middle_s) == pytest.approx(move.position(middle_s))
    assert trajectory.position(0.5) in (0.0, kept[-64:][0].origin)
    assert trajectory.position(start_s + 100) == kept[-1].target
    assert trajectory.velocity(start_s + 100) == 0
