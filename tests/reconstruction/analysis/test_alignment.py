"""Single images tell focus, axis and tilt."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from concertino import ParameterError, ReconstructionError
from concertino.reconstruction import (
    AxisTilt,
    axis_from_opposite,
    axis_tilt,
    needle_tip,
    sharpness,
    sphere_centre,
)
from concertino.simulation import (
    Beam,
    BeamlineState,
    Detector,
    Twin,
    ellipsoid_foam,
    needle,
    sphere,
)

SHAPE = (96, 128)
PIXEL = 0.01
ANGLES = np.arange(24) * 2 * np.pi / 24


def views(
    phantom: Any, tilt: tuple[float, float], angles: Any = ANGLES, **kwargs: Any
) -> list[NDArray[np.float32]]:
    return [
        phantom.projection(angle, SHAPE, PIXEL, axis_tilt_rad=tilt, supersampling=2, **kwargs)
        for angle in angles
    ]


def noisy(image: NDArray[Any], noise: float, seed: int) -> NDArray[Any]:
    return image + noise * np.random.default_rng(seed).standard_normal(image.shape)


@pytest.mark.parametrize("tilt_deg", [(0.0, 0.0), (2.0, 0.0), (0.0, -2.0), (-3.0, 1.5)])
@pytest.mark.parametrize(
    ("phantom", "find", "within_deg"),
    [
        (sphere(0.06, distance_mm=0.35), sphere_centre, 0.02),
        (needle(1.0, distance_mm=0.35), needle_tip, 0.1),
    ],
    ids=["sphere", "needle"],
)
def test_the_tilt_is_found(
    phantom: Any,
    find: Callable[[Any], tuple[float, float]],
    within_deg: float,
    tilt_deg: tuple[float, float],
) -> None:
    seen = views(phantom, (np.deg2rad(tilt_deg[0]), np.deg2rad(tilt_deg[1])), axis_offset_px=4.5)
    columns, rows = np.array([find(noisy(v, 0.01, i)) for i, v in enumerate(seen)]).T
    tilt = axis_tilt(ANGLES, columns, rows)
    assert np.rad2deg(tilt.roll_rad) == pytest.approx(tilt_deg[0], abs=within_deg)
    assert np.rad2deg(tilt.pitch_rad) == pytest.approx(tilt_deg[1], abs=within_deg)
    assert tilt.radius_px == pytest.approx(35, rel=0.01)
    assert np.rad2deg(tilt.uncertainty_rad) < within_deg
    if find is sphere_centre:
        assert tilt.center_px == pytest.approx((68.0, 47.5), abs=0.05)


def test_half_a_turn_is_enough_and_the_uncertainty_is_honest() -> None:
    angles = np.arange(20) * np.pi / 20
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(200):
        columns = 60 + 30 * np.cos(angles) + 0.1 * rng.standard_normal(20)
        rows = 40 + 30 * np.sin(0.01) * np.sin(angles) + 0.1 * rng.standard_normal(20)
        turn = np.arange(20) * 2 * np.pi / 20
        whole = axis_tilt(
            turn,
            60 + 30 * np.cos(turn) + 0.1 * rng.standard_normal(20),
            40 + 30 * np.sin(0.01) * np.sin(turn) + 0.1 * rng.standard_normal(20),
        )
        pulls.append((whole.pitch_rad - 0.01) / whole.uncertainty_rad)
        half = axis_tilt(angles, columns, rows)
        assert half.pitch_rad == pytest.approx(0.01, abs=0.012)
    assert abs(np.mean(pulls)) < 0.3
    assert 0.8 < np.std(pulls) < 1.3


def aligned(phantom: Any, find: Any, tilt_rad: Any, seed: int) -> AxisTilt:
    """Return what an alignment finds of a twin with noise, uneven pixels and a beam that wanders."""
    rng = np.random.default_rng(seed)
    made = Twin(
        phantom, Beam(flux=6e6, seed=seed), Detector((96, 192), seed=seed), seed=seed,
        axis_offset_px=rng.uniform(-4, 4), axis_tilt_rad=tuple(tilt_rad),
    )  # fmt: skip
    frame = np.empty(made.shape, np.uint16)

    def exposed(kind: str, index: int, **state: Any) -> NDArray[Any]:
        at = BeamlineState(time_s=0.01 * index, **state)
        made.expose(at, 0.005, frame, index, kind=kind)
        return frame.astype(np.float64)

    dark = np.mean([exposed("darks", i, beam_on=0.0) for i in range(5)], axis=0)
    flat = np.mean([exposed("flats", i, sample_offset_mm=(5.0, 0.0)) for i in range(10)], axis=0)
    angles = np.arange(40) * 2 * np.pi / 40
    places = []
    for i, angle in enumerate(angles):
        view = exposed("views", i, angle_start_rad=float(angle))
        places.append(find(-np.log(np.maximum(view - dark, 1) / np.maximum(flat - dark, 1))))
    columns, rows = np.array(places).T
    return axis_tilt(angles, columns, rows)


@pytest.mark.parametrize(
    ("phantom", "find"),
    [
        (needle(0.5, radius_mm=0.06, distance_mm=0.35), needle_tip),
        (needle(1.0, radius_mm=0.05, distance_mm=0.2), needle_tip),
        (sphere(0.05, distance_mm=0.35), sphere_centre),
    ],
    ids=["blunt needle", "needle", "sphere"],
)
def test_ninety_five_of_a_hundred_alignments_are_within_their_uncertainty(
    phantom: Any, find: Any
) -> None:
    inside, wide = 0, []
    for seed in range(100):
        tilt_rad = np.deg2rad(np.random.default_rng(1000 + seed).uniform(-0.02, 0.02, 2))
        found = aligned(phantom, find, tilt_rad, seed)
        off = np.abs(np.array([found.roll_rad, found.pitch_rad]) - tilt_rad)
        inside += bool((off <= found.within_rad).all())
        wide.append(found.within_rad / max(off.max(), 1e-9))
    assert inside >= 95
    assert np.median(wide) < 12  # It must not hold by saying nothing.


@pytest.mark.parametrize("offset_px", [-11.3, 0.0, 6.25])
def test_the_axis_is_between_opposite_views(offset_px: float) -> None:
    foam = ellipsoid_foam(3, 20, radius_mm=0.4, height_mm=0.8)
    one, other = views(foam, (0.0, 0.0), (0.3, 0.3 + np.pi), axis_offset_px=offset_px)
    found = axis_from_opposite(noisy(one, 0.01, 0), noisy(other, 0.01, 1))
    assert found.center_px == pytest.approx(63.5 + offset_px, abs=0.1)
    assert found.confidence > 0.9


def test_nothing_has_no_axis() -> None:
    empty = np.zeros(SHAPE)
    found = axis_from_opposite(noisy(empty, 0.01, 0), noisy(empty, 0.01, 1))
    assert found.confidence < 0.1


def test_a_sharp_image_is_sharper_whatever_its_brightness() -> None:
    (image,) = views(ellipsoid_foam(3, 20, radius_mm=0.4, height_mm=0.8), (0.0, 0.0), (0.2,))
    light = 1000 * np.exp(-image)
    figures = [
        sharpness(scipy.ndimage.gaussian_filter(light, sigma)) for sigma in (0.01, 0.5, 1.0, 3.0)
    ]
    assert figures == sorted(figures, reverse=True)
    assert sharpness(7 * light) == pytest.approx(sharpness(light))
    assert sharpness(np.zeros((8, 8))) == 0.0


def test_what_is_not_seen_is_said() -> None:
    ball = sphere(0.06, distance_mm=0.0)
    with pytest.raises(
        ReconstructionError, match="No ball is seen: nothing in the image attenuates"
    ):
        sphere_centre(noisy(np.zeros(SHAPE), 0.01, 0))
    (image,) = views(ball, (0.0, 0.0), (0.0,), axis_offset_px=62)
    with pytest.raises(ReconstructionError, match="The ball is cut off by the right edge"):
        sphere_centre(image)
    (image,) = views(needle(5.0, tip_height_mm=2.0, distance_mm=0), (0.0, 0.0), (0.0,))
    with pytest.raises(
        ReconstructionError, match="The needle is cut off by the top and bottom edge"
    ):
        needle_tip(image)


def test_a_needle_may_point_down() -> None:
    (image,) = views(needle(1.0, distance_mm=0.2), (0.02, 0.0), (0.4,))
    column, row = needle_tip(image)
    column_down, row_down = needle_tip(image[::-1])
    assert (column_down, SHAPE[0] - 1 - row_down) == pytest.approx((column, row), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: axis_tilt(np.zeros(3), np.zeros(3), np.zeros(3)),
            "angles_rad: 3 over 0 deg were given; give at least 5, over half a turn or more.",
        ),
        (
            lambda: axis_tilt(np.linspace(0, 1, 9), np.zeros(9), np.zeros(9)),
            "angles_rad: 9 over 57 deg were given; give at least 5, over half a turn or more.",
        ),
        (
            lambda: axis_from_opposite(np.zeros((3, 4)), np.zeros((3, 5))),
            "first, second: arrays of shape (3, 4) and (3, 5) were given; give two images (row, "
            "column) of one shape.",
        ),
        (
            lambda: sharpness(np.zeros(3)),
            "image: an array of shape (3,) was given; give one image (row, column).",
        ),
        (
            lambda: sphere_centre(np.zeros((2, 3, 4))),
            "image: an array of shape (2, 3, 4) was given; give one image (row, column).",
        ),
    ],
)
def test_wrong_arrays_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        call()
    assert str(caught.value) == message


def test_a_point_on_the_axis_shows_no_tilt() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ReconstructionError, match="that shows no axis"):
        axis_tilt(ANGLES, rng.standard_normal(24), rng.standard_normal(24))
