"""What the processor has beside the contract of back ends: spoilt pixels, and plain back projection."""

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import (
    OrthogonalPlanes,
    ReconstructionSettings,
    Reconstructor,
    reconstruct,
)
from tests.reconstruction.oracle import plain_slice
from tests.reconstruction.phantoms import blob_image, blob_sinogram, ellipse_sinogram, inside, rms

COLUMNS, COUNT = 128, 200
ANGLES = np.arange(COUNT) * np.pi / COUNT


def _points(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    middle = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(middle, -middle)
    return x, y


def _stack(*sinograms: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.stack(sinograms, axis=1).astype(np.float32)


def _job(stack: NDArray[np.float32], settings: ReconstructionSettings) -> Reconstructor:
    job = Reconstructor(settings, num_projections=COUNT, frame_shape=stack.shape[1:], angles=ANGLES)
    job.add_projections(stack, 0)
    return job


def _lines(
    planes: OrthogonalPlanes, truth: NDArray[np.floating], place: float
) -> list[tuple[NDArray[np.float32], NDArray[np.floating], NDArray[np.bool_]]]:
    """Both vertical planes at a place, with the lines of a slice that they are to show."""
    across = int((COLUMNS - 1) / 2 - place), slice(None)
    along = slice(None), int((COLUMNS - 1) / 2 + place)
    mask = inside(COLUMNS, 0.85)
    return [(planes.xz, truth[across], mask[across]), (planes.yz, truth[along], mask[along])]


def test_a_dead_pixel_and_a_nan_are_mended() -> None:
    sinogram = blob_sinogram(COLUMNS, ANGLES, 63.5) * 0.02
    counts = (50000 * np.exp(-sinogram)).astype(np.float32)[:, None]
    flats = np.full((1, 1, COLUMNS), 50000, np.float32)
    flats[..., 20] = 0
    counts[:, :, 20] = 0
    counts[7, 0, 90:93] = [np.nan, np.inf, np.nan]
    settings = ReconstructionSettings(center=63.5)
    volume = reconstruct(counts, ANGLES, flats=flats, settings=settings)
    truth = blob_image(*_points(COLUMNS)) * 0.02
    assert np.isfinite(volume).all()
    assert rms(volume[0] - truth, inside(COLUMNS)) < 2e-4


def test_the_filter_of_faris_and_byer_takes_derivatives() -> None:
    lines = blob_sinogram(COLUMNS, ANGLES, 63.5)
    slope = (blob_sinogram(COLUMNS, ANGLES, 63.5 - 1e-3) - lines) / 1e-3
    settings = ReconstructionSettings(center=63.5, filter="faris-byer")
    job = _job(_stack(slope, 2 * slope, slope), settings)
    planes, volume = job.planes(x=8.5, y=8.5), job.finish().volume
    truth = blob_image(*_points(COLUMNS))
    assert rms(volume[1] - 2 * truth, inside(COLUMNS)) < 0.01
    assert rms(volume[0] - truth, inside(COLUMNS)) < 0.005
    for plane, line, mask in _lines(planes, truth, 8.5):
        assert rms(plane[1] - 2 * line, mask) < 0.01


@pytest.mark.parametrize("slices", [1, 3, 20])
@pytest.mark.parametrize("center", [63.5, 55.3])
def test_back_projection_is_plain_sums_made_fast(slices: int, center: float) -> None:
    lines = ellipse_sinogram(COLUMNS, ANGLES, center, 50.0)
    stack = _stack(*[lines * (1 + row) for row in range(slices)])
    job = _job(stack, ReconstructionSettings(center=center))
    plain = plain_slice(lines, ANGLES, center)
    for place in (-30.5, 0.5, 20.5):
        for plane, line, mask in _lines(job.planes(x=place, y=place), plain, place):
            for row, found in enumerate(plane):
                assert rms(found / (1 + row) - line, mask) < 1e-4


def test_a_small_region() -> None:
    lines = _stack(blob_sinogram(COLUMNS, ANGLES, 63.5))
    small = ReconstructionSettings(
        center=63.5, x_region=(5.0, 15.0, 0.5), y_region=(-10.0, 0.0, 0.5)
    )
    x, y = np.meshgrid(5 + 0.5 * np.arange(20), 10 - 0.5 * np.arange(20))
    image = reconstruct(lines, ANGLES, settings=small)[0]
    np.testing.assert_allclose(image, blob_image(x, y), atol=2e-3)
