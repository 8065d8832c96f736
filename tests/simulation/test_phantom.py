import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.simulation import Ellipsoid, Phantom, ellipsoid_foam, shepp_logan_3d

LEANING = Ellipsoid((0.21, -0.13, 0.08), (0.5, 0.25, 0.32), 1.7, 0.6, 0.9, -0.4)
UPRIGHT = Ellipsoid((-0.3, 0.2, -0.1), (0.2, 0.35, 0.4), 0.8, -0.5)
PAIR = Phantom((LEANING, UPRIGHT))


def sampled(
    phantom: Phantom,
    angle: float,
    column_mm: float,
    height_mm: float,
    roll: float = 0.0,
    pitch: float = 0.0,
) -> float:
    """Integrate the attenuation along one ray by stepping through it."""
    step = 1e-4
    depth = np.arange(-1.5, 1.5, step) + step / 2
    u, z = np.full_like(depth, column_mm), np.full_like(depth, height_mm)
    # undo the roll (u, z), then the pitch (beam, z), then the rotation
    u, z = u * math.cos(roll) - z * math.sin(roll), u * math.sin(roll) + z * math.cos(roll)
    b, z = (
        depth * math.cos(pitch) + z * math.sin(pitch),
        -depth * math.sin(pitch) + z * math.cos(pitch),
    )
    points = np.stack(
        [
            u * math.cos(angle) - b * math.sin(angle),
            u * math.sin(angle) + b * math.cos(angle),
            z,
        ],
        axis=1,
    )
    total = 0.0
    for e in phantom.ellipsoids:
        p = points - np.array(e.centre_mm)
        total += e.attenuation_per_mm * float(
            np.sum(np.einsum("ni,ij,nj->n", p, e.matrix(), p) <= 1) * step
        )
    return total


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.1, 0.0), (0.0, -0.2), (-0.15, 0.25)])
@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2, 4.0])
def test_line_integrals_are_those_of_stepping_through_the_sample(
    angle: float, tilt: tuple[float, float]
) -> None:
    height, width, pixel = 24, 31, 0.05
    projection = PAIR.projection(angle, (height, width), pixel, axis_tilt_rad=tilt)
    assert projection.dtype == np.float32
    for row in (5, 11, 16):
        for column in range(2, width, 4):
            expected = sampled(
                PAIR, angle, (column - 15) * pixel, (11.5 - row) * pixel, tilt[0], tilt[1]
            )
            assert projection[row, column] == pytest.approx(expected, abs=2e-3)


def test_projections_are_the_sums_of_the_voxels() -> None:
    """At 0 and 90 degrees a projection is the sum of the slices along y and along x."""
    phantom = ellipsoid_foam(3, 20, radius_mm=0.9, height_mm=1.5)
    shape, pixel = (40, 160), 0.0125
    volume = np.stack([phantom.slice(row, shape, pixel) for row in range(shape[0])])
    front = phantom.projection(0.0, shape, pixel, supersampling=4)
    side = phantom.projection(math.pi / 2, shape, pixel, supersampling=4)
    # the voxels are slices at the rows' middles, the projections average over the rows
    assert np.abs(volume.sum(axis=1) - front).mean() < 2e-3
    assert np.abs(volume.sum(axis=2)[:, ::-1] - side).mean() < 2e-3
    assert front.max() > 1


def test_a_quarter_turn_sees_y_on_the_right() -> None:
    ball = Phantom((Ellipsoid((0.0, 0.5, 0.0), (0.1, 0.1, 0.1), 1.0),))
    shape, pixel = (11, 31), 0.05
    assert np.argmax(ball.projection(0.0, shape, pixel)[5]) == 15
    assert np.argmax(ball.projection(math.pi / 2, shape, pixel)[5]) == 25
    image = ball.slice(5, shape, pixel)
    assert image[5, 15] == image.max() > 0  # y points up


def test_top_of_the_sample_is_in_the_first_rows() -> None:
    ball = Phantom((Ellipsoid((0.0, 0.0, 0.2), (0.04, 0.04, 0.04), 1.0),))
    projection = ball.projection(0.0, (11, 11), 0.05)
    assert projection[1, 5] == projection.max() > 0
    assert ball.slice(1, (11, 11), 0.05).max() > 0
    assert ball.slice(9, (11, 11), 0.05).max() == 0


def test_axis_and_sample_offsets_move_the_image_by_whole_pixels() -> None:
    still = PAIR.projection(0.4, (40, 60), 0.03)
    axis = PAIR.projection(0.4, (40, 60), 0.03, axis_offset_px=4)
    moved = PAIR.projection(0.4, (40, 60), 0.03, sample_offset_px=(3, 2))
    np.testing.assert_allclose(axis[:, 4:], still[:, :-4], atol=1e-5)
    np.testing.assert_allclose(moved[:-2, 3:], still[2:, :-3], atol=1e-5)


def test_a_positive_roll_tips_the_top_to_the_right() -> None:
    needle = Phantom((Ellipsoid((0.0, 0.0, 0.0), (0.1, 0.1, 0.9), 1.0),))
    tipped = needle.projection(0.0, (41, 41), 0.05, axis_tilt_rad=(0.3, 0.0))
    assert np.argmax(tipped[5]) > 20 > np.argmax(tipped[35])


def total_mass(image: NDArray[np.float32]) -> float:
    return float(image.sum(dtype=float))


@settings(max_examples=30, deadline=None)
@given(
    centre=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
    axes=st.tuples(*[st.floats(0.1, 0.5)] * 3),
    angles=st.tuples(*[st.floats(-7, 7)] * 3),
    view=st.floats(-10, 10),
)
def test_every_view_holds_the_same_mass(
    centre: tuple[float, float, float],
    axes: tuple[float, float, float],
    angles: tuple[float, float, float],
    view: float,
) -> None:
    body = Phantom((Ellipsoid(centre, axes, 1.0, *angles),))
    pixel = 0.02
    image = body.projection(view, (100, 100), pixel, supersampling=4)
    volume = 4 / 3 * math.pi * math.prod(axes)
    assert total_mass(image) * pixel**2 == pytest.approx(volume, rel=0.01)
    assert np.isfinite(image).all()


def test_shepp_logan_has_known_tissues() -> None:
    head = shepp_logan_3d(1.0, 2.0)
    image = head.slice(128, (257, 257), 1 / 128, supersampling=8) * 128  # per mm
    assert image[0, 0] == 0
    assert image[128 - 113, 128] == pytest.approx(2.0, abs=1e-5)  # skull at y = 0.883
    assert image[128, 128] == pytest.approx(0.4, abs=1e-5)  # brain
    assert image[128 - 40, 128] == pytest.approx(0.6, abs=1e-5)  # the large bright ellipsoid
    assert image[128, 128 - 28] == pytest.approx(0.0, abs=1e-5)  # left ventricle
    half = shepp_logan_3d(0.5, 1.0)
    np.testing.assert_allclose(
        half.projection(1.0, (64, 64), 1 / 64),
        head.projection(1.0, (64, 64), 1 / 32) / 4,
        atol=1e-5,
    )


def test_foam_is_solid_with_voids_and_grains_that_do_not_touch() -> None:
    foam = ellipsoid_foam(5, 60, radius_mm=1.0, height_mm=2.0, attenuation_per_mm=1.5)
    assert foam == ellipsoid_foam(5, 60, radius_mm=1.0, height_mm=2.0, attenuation_per_mm=1.5)
    assert foam != ellipsoid_foam(6, 60, radius_mm=1.0, height_mm=2.0, attenuation_per_mm=1.5)
    levels = set()
    for row in range(0, 64, 8):
        image = foam.slice(row, (64, 256), 1 / 120) * 120
        levels |= {round(float(v), 2) for v in np.unique(image) if np.sum(image == v) > 20}
    assert {0.0, 1.5, 4.5} <= levels
    assert max(levels) < 4.6
    assert min(levels) > -0.1


def test_no_sample_casts_no_shadow() -> None:
    nothing = Phantom(())
    assert nothing.projection(0.0, (4, 5), 0.1).max() == 0
    assert nothing.slice(0, (4, 5), 0.1).shape == (5, 5)


def test_slices_look_right(tmp_path: Path) -> None:
    """The mean of a slice does not depend on the supersampling; edges are between the levels."""
    coarse = PAIR.slice(20, (41, 64), 0.03, supersampling=1)
    fine = PAIR.slice(20, (41, 64), 0.03, supersampling=16)
    assert coarse.sum() == pytest.approx(float(fine.sum()), rel=0.01)
    assert len(np.unique(fine)) > len(np.unique(coarse))


def test_errors() -> None:
    with pytest.raises(
        ParameterError, match=r"semi_axes_mm: \(1, 0, 1\) were given; give lengths in mm"
    ):
        Ellipsoid((0, 0, 0), (1, 0, 1), 1)
    with pytest.raises(ParameterError, match=r"give finite numbers only"):
        Ellipsoid((0, math.nan, 0), (1, 1, 1), 1)
    with pytest.raises(
        ParameterError, match=r"shape: \(0, 5\) was given; give \(height, width\) in px"
    ):
        PAIR.projection(0, (0, 5), 0.1)
    with pytest.raises(ParameterError, match=r"supersampling: 0 was given; give 1 or more points"):
        PAIR.projection(0, (5, 5), 0.1, supersampling=0)
    with pytest.raises(ParameterError, match=r"A foam was asked for with radius_mm .* number -3"):
        ellipsoid_foam(0, -3)
    with pytest.raises(ParameterError, match=r"radius_mm: 0 was given; give a length"):
        shepp_logan_3d(0)
