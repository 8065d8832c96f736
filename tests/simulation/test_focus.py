"""Out of focus, tilted by stages, and the samples that an alignment takes."""

import math

import numpy as np
import pytest
import scipy.ndimage

from concertino import ParameterError
from concertino.simulation import (
    Beam,
    BeamlineState,
    Detector,
    Focus,
    Phantom,
    Twin,
    ellipsoid_foam,
    needle,
    sphere,
)

SHAPE = (48, 64)
EVEN = Detector(SHAPE, 0.01).even()
FLAT = Beam(flux=1e6, vertical_width=1e6, horizontal_width=1e6, stripes=0, drift=0, wander_px=0)
FOAM = ellipsoid_foam(1, 8, radius_mm=0.2, height_mm=0.4, attenuation_per_mm=2.0)


def test_in_focus_nothing_changes() -> None:
    state = BeamlineState(angle_start_rad=0.4, focus_mm=1.5)
    plain = Twin(FOAM, detector=EVEN)
    focused = Twin(FOAM, detector=EVEN, focus=Focus(1.5))
    np.testing.assert_array_equal(plain.expectation(state, 0.01), focused.expectation(state, 0.01))


@pytest.mark.parametrize("distance_mm", [-0.3, 0.05, 0.4])
def test_out_of_focus_is_a_gaussian_of_the_known_width(distance_mm: float) -> None:
    focus = Focus(0.5, depth_of_field_mm=0.1)
    state = BeamlineState(angle_start_rad=0.4, focus_mm=0.5 + distance_mm)
    sharp = Twin(FOAM, FLAT, EVEN).expectation(state, 0.01)
    blurred = Twin(FOAM, FLAT, EVEN, focus=focus).expectation(state, 0.01)
    # A disc of one pixel's diameter at half of the depth of field; its variance is radius² / 4.
    sigma = abs(distance_mm) / 0.05 * 0.5 / 2
    wanted = scipy.ndimage.gaussian_filter(sharp.astype(float), sigma, mode="nearest")
    np.testing.assert_allclose(blurred, wanted, rtol=2e-4)
    assert blurred.std() < sharp.std()


def test_a_flat_and_a_dark_have_no_focus() -> None:
    twin = Twin(FOAM, detector=EVEN, focus=Focus(0.0))
    for state in (BeamlineState(beam_on=0.0, focus_mm=3.0), BeamlineState(focus_mm=3.0)):
        empty = Twin(Phantom(()), detector=EVEN, focus=Focus(0.0)) if state.beam_on else twin
        sharp = Twin(empty.phantom, detector=EVEN)
        np.testing.assert_array_equal(
            empty.expectation(state, 0.01), sharp.expectation(state, 0.01)
        )


def test_stages_tilt_as_the_axis_does() -> None:
    tilted = Twin(FOAM, detector=EVEN, axis_tilt_rad=(0.03, -0.02))
    upright = Twin(FOAM, detector=EVEN)
    at = {"angle_start_rad": 0.7}
    np.testing.assert_allclose(
        upright.expectation(BeamlineState(**at, axis_tilt_rad=(0.03, -0.02)), 0.01),  # type: ignore[arg-type]
        tilted.expectation(BeamlineState(**at), 0.01),  # type: ignore[arg-type]
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        tilted.lines(BeamlineState(**at, axis_tilt_rad=(-0.03, 0.02))),  # type: ignore[arg-type]
        upright.lines(BeamlineState(**at)),  # type: ignore[arg-type]
        atol=1e-5,
    )


@pytest.mark.parametrize(("roll", "pitch"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.05), (-0.04, 0.03)])
def test_a_ball_is_seen_where_the_tilted_axis_brings_it(roll: float, pitch: float) -> None:
    angle, distance, height = 0.6, 0.15, 0.05
    twin = Twin(sphere(0.03, distance_mm=distance, height_mm=height), detector=EVEN)
    lines = twin.lines(BeamlineState(angle_start_rad=angle, axis_tilt_rad=(roll, pitch)))
    row, column = scipy.ndimage.center_of_mass(lines)
    x, y = distance * math.cos(angle), -distance * math.sin(angle)
    up = y * math.sin(pitch) + height * math.cos(pitch)
    right, up = (
        x * math.cos(roll) + up * math.sin(roll),
        -x * math.sin(roll) + up * math.cos(roll),
    )
    assert column == pytest.approx((SHAPE[1] - 1) / 2 + right / 0.01, abs=0.02)
    assert row == pytest.approx((SHAPE[0] - 1) / 2 - up / 0.01, abs=0.02)


def test_a_needle_points_up_to_its_tip() -> None:
    lines = Twin(needle(0.3, radius_mm=0.02, distance_mm=0.1), detector=EVEN).lines(BeamlineState())
    rows = np.flatnonzero(lines.sum(axis=1))
    assert rows[0] == pytest.approx((SHAPE[0] - 1) / 2, abs=1)
    assert rows[-1] == SHAPE[0] - 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Focus(depth_of_field_mm=0.0),
            "depth_of_field_mm: 0.0 was given; give a length in mm, more than 0",
        ),
        (lambda: Focus(math.nan), "position_mm: nan was given; give a finite number"),
        (lambda: sphere(-1.0), "semi_axes_mm: (-1.0, -1.0, -1.0) were given; give lengths in mm"),
        (
            lambda: BeamlineState(axis_tilt_rad=(math.inf, 0.0)),
            "give finite numbers",
        ),
    ],
)
def test_wrong_numbers_are_refused(make: object, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)
