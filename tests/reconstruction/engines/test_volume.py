"""Compiled volumes in any geometry against rays and planes, with each processor's instructions."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, reconstruct
from tests.reconstruction.plain_volume import back_projected

ROWS, COLUMNS, COUNT = 70, 61, 24
ANGLES = np.arange(COUNT) * 2 * np.pi / COUNT
LIFT = tuple(np.linspace(-4.0, 4.0, COUNT).tolist())
GEOMETRIES: dict[str, dict[str, Any]] = {
    "upright": {"detector_z": 1e-9},
    "tilted": {"axis_angle_x": 0.5},
    "rolled a little": {"axis_angle_y": 0.01},
    "rolled and tilted": {"axis_angle_y": -0.15, "axis_angle_x": 0.2},
    "lying": {"axis_angle_y": 1.2},
    "helix": {"detector_z": LIFT},
    "detector turned": {"detector_angle_x": 0.1, "detector_angle_y": 0.2, "detector_angle_z": 0.3},
    "cone": {"source_distance": 150.0},
    "magnified": {"source_distance": 100.0, "detector_distance": 80.0},
    "magnified three times": {"source_distance": 60.0, "detector_distance": 120.0},
    "cone, tilted": {"source_distance": 150.0, "axis_angle_x": 0.2, "axis_angle_y": 0.1},
    "oblique": {"volume_angle_x": 0.7, "volume_angle_y": 0.2},
    "upside down": {"volume_angle_x": 3.0},
}


def _projections() -> NDArray[np.float32]:
    """Anything uneven: two steps, a gradient and some noise."""
    row, column = np.mgrid[:ROWS, :COLUMNS]
    image = (row > 20) * 1.0 + (column > 33) * 0.7 + 0.01 * row - 0.02 * column
    noise = np.random.default_rng(8).normal(size=(COUNT, ROWS, COLUMNS)) * 0.3
    light = 1 + 0.2 * np.cos(ANGLES)[:, None, None]
    return np.asarray(image * light + noise, dtype=np.float32)


PROJECTIONS = _projections()


def largest_difference(geometry: dict[str, Any], planes: float) -> float:
    """Between compiled and plain, in units of the plain one's largest value; (planes, 50, 57)."""
    settings = ReconstructionSettings(
        center=29.3,
        filter="none",
        x_region=(-30.5, 26.5, 1.0),
        y_region=(-26.0, 24.0, 1.0),
        region=(33 - planes / 2, 33 + planes / 2, 1.0),
        **geometry,
    )
    volume = reconstruct(PROJECTIONS, ANGLES, settings=settings)
    z = (ROWS - 1) / 2 - (33 - planes / 2 + np.arange(planes))
    y, x = 26.0 - np.arange(50), -30.5 + np.arange(57)
    points = np.broadcast_arrays(x, y[:, None], z[:, None, None])
    truth = back_projected(PROJECTIONS, ANGLES, (points[0], points[1], points[2]), 29.3, geometry)
    assert volume.shape == truth.shape == (planes, 50, 57)
    # a point on the detector's very edge may count or not
    return float(np.quantile(np.abs(volume - truth), 0.999) / np.abs(truth).max())


@pytest.mark.parametrize("planes", [1, 5, 40])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_each_geometry_is_rays_and_planes_made_fast(name: str, planes: int) -> None:
    assert largest_difference(GEOMETRIES[name], planes) < 5e-4


def test_a_tall_volume_is_its_parts() -> None:
    settings = ReconstructionSettings(center=29.3, axis_angle_x=0.3, region=(0.0, 70.0, 0.25))
    whole = reconstruct(PROJECTIONS, ANGLES, settings=settings)
    assert whole.shape == (280, COLUMNS, COLUMNS)
    for start in (0.0, 31.0, 62.0):
        part = reconstruct(
            PROJECTIONS, ANGLES, settings=settings.updated(region=(start, start + 8.0, 0.25))
        )
        first = int(start * 4)
        np.testing.assert_allclose(part, whole[first : first + 32], atol=2e-4)


def test_what_is_behind_the_source_is_not_seen() -> None:
    settings = ReconstructionSettings(
        center=29.3, region=(10.0, 50.0, 1.0), source_distance=20.0, detector_distance=10.0
    )
    volume = reconstruct(PROJECTIONS[:2], np.array([0.0, 1e-3]), settings=settings)
    assert np.isfinite(volume).all()
    assert volume[20, :28].any()
    assert not volume[:, 52:].any()  # at angle 0 the source is below the middle of the image


def test_a_beam_that_hardly_opens_loses_no_slice_at_the_edge() -> None:
    settings = ReconstructionSettings(center=29.3, slices=(0, 69))
    parallel = reconstruct(PROJECTIONS, ANGLES, settings=settings.updated(detector_z=1e-9))
    cone = reconstruct(PROJECTIONS, ANGLES, settings=settings.updated(source_distance=1e5))
    middle = (slice(None), slice(15, 45), slice(15, 45))
    difference = np.abs(cone - parallel)[middle]
    assert float(difference.mean()) < 0.1 * float(np.abs(parallel[middle]).mean())


@pytest.mark.parametrize("name", ["tilted", "rolled and tilted", "cone, tilted"])
def test_threads_do_not_change_the_bits(name: str) -> None:
    settings = ReconstructionSettings(center=29.3, region=(10.0, 50.0, 1.0), **GEOMETRIES[name])
    one, three = (
        reconstruct(PROJECTIONS, ANGLES, settings=settings.updated(threads=threads))
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize(
    ("processor", "features", "expected"),
    [("generic", "", ""), ("haswell", "+avx,+avx2,+fma", "avx2")],
)
def test_older_processors_give_the_same(processor: str, features: str, expected: str) -> None:
    program = f"""
import sys
from tests.reconstruction.engines import test_volume as here
from concertino.reconstruction.kernels._interpolate import INSTRUCTIONS
assert INSTRUCTIONS == {expected!r}, INSTRUCTIONS
for name, planes in (("upright", 40), ("rolled and tilted", 40), ("rolled and tilted", 5)):
    difference = here.largest_difference(here.GEOMETRIES[name], planes)
    assert difference < 5e-4, (name, planes, difference)
"""
    environment = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
