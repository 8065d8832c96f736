"""What the processor has beside the contract of back ends: spoilt pixels, and plain back projection."""

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, reconstruct

from .oracle import plain_slice
from .phantoms import blob_image, blob_sinogram, ellipse_sinogram, inside, rms

COLUMNS, COUNT = 128, 200
ANGLES = np.arange(COUNT) * np.pi / COUNT


def _points(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    middle = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(middle, -middle)
    return x, y


def _stack(*sinograms: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.stack(sinograms, axis=1).astype(np.float32)


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


@pytest.mark.parametrize("method", ["gridding", "backprojection"])
def test_the_filter_of_faris_and_byer_takes_derivatives(method: str) -> None:
    lines = blob_sinogram(COLUMNS, ANGLES, 63.5)
    slope = (blob_sinogram(COLUMNS, ANGLES, 63.5 - 1e-3) - lines) / 1e-3
    settings = ReconstructionSettings(center=63.5, filter="faris-byer", method=method)
    volume = reconstruct(_stack(slope, 2 * slope, slope), ANGLES, settings=settings)
    truth = blob_image(*_points(COLUMNS))
    assert rms(volume[1] - 2 * truth, inside(COLUMNS)) < 0.01
    assert rms(volume[0] - truth, inside(COLUMNS)) < 0.005


@pytest.mark.parametrize("slices", [1, 3, 20])
@pytest.mark.parametrize("center", [63.5, 55.3])
def test_back_projection_is_plain_sums_made_fast(slices: int, center: float) -> None:
    lines = ellipse_sinogram(COLUMNS, ANGLES, center, 50.0)
    stack = _stack(*[lines * (1 + row) for row in range(slices)])
    settings = ReconstructionSettings(center=center, method="backprojection")
    volume = reconstruct(stack, ANGLES, settings=settings)
    plain = plain_slice(lines, ANGLES, center)
    mask = inside(COLUMNS, 0.85)
    for row, image in enumerate(volume):
        assert rms(image / (1 + row) - plain, mask) < 1e-4


def test_both_methods_agree_on_a_small_region() -> None:
    lines = _stack(blob_sinogram(COLUMNS, ANGLES, 63.5))
    small = ReconstructionSettings(
        center=63.5, x_region=(5.0, 15.0, 0.5), y_region=(-10.0, 0.0, 0.5)
    )
    x, y = np.meshgrid(5 + 0.5 * np.arange(20), 10 - 0.5 * np.arange(20))
    for method in ("auto", "gridding", "backprojection"):
        image = reconstruct(lines, ANGLES, settings=small.updated(method=method))[0]
        np.testing.assert_allclose(image, blob_image(x, y), atol=0.015)
