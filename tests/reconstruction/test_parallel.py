"""Parallel-beam slices against known truth, and against sums as the textbooks write them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import (
    OrthogonalPlanes,
    ReconstructionSettings,
    Reconstructor,
    reconstruct,
)
from concertino.testing._oracle import plain_slice

from .phantoms import blob_image, blob_sinogram, ellipse_image, ellipse_sinogram, inside, rms

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


@pytest.mark.parametrize("center", [63.5, 64.0, 63.13, 50.27, 78.9])
def test_a_smooth_object_comes_out_exact_wherever_the_axis_is(center: float) -> None:
    sinogram = blob_sinogram(COLUMNS, ANGLES, center)
    volume = reconstruct(_stack(sinogram), ANGLES, settings=ReconstructionSettings(center=center))
    truth = blob_image(*_points(COLUMNS))
    assert volume.shape == (1, COLUMNS, COLUMNS)
    assert volume.dtype == np.float32
    assert rms(volume[0] - truth, inside(COLUMNS)) < 5e-4


@pytest.mark.parametrize("turn", ["half", "full", "shuffled", "backwards"])
def test_any_set_of_angles_gives_the_same_object(turn: str) -> None:
    angles = {
        "half": ANGLES,
        "full": np.arange(2 * COUNT) * np.pi / COUNT,
        "shuffled": np.random.default_rng(1).permutation(ANGLES),
        "backwards": -ANGLES,
    }[turn]
    sinogram = blob_sinogram(COLUMNS, angles, 63.5)
    volume = reconstruct(_stack(sinogram), angles, settings=ReconstructionSettings(center=63.5))
    assert rms(volume[0] - blob_image(*_points(COLUMNS)), inside(COLUMNS)) < 5e-4


def test_sharp_edges_are_as_good_as_in_plain_sums() -> None:
    sinogram = ellipse_sinogram(COLUMNS, ANGLES, 63.5, 55.0)
    truth = ellipse_image(COLUMNS, 55.0)
    settings = ReconstructionSettings(center=63.5)
    fast = reconstruct(_stack(sinogram), ANGLES, settings=settings)[0]
    slow = plain_slice(sinogram, ANGLES, 63.5)
    mask = inside(COLUMNS)
    assert rms(fast - truth, mask) < 1.05 * rms(slow - truth, mask)


def test_each_slice_is_its_own_row() -> None:
    rows = [blob_sinogram(COLUMNS, ANGLES, 63.5) * (1 + row) for row in range(11)]
    settings = ReconstructionSettings(center=63.5)
    volume = reconstruct(_stack(*rows), ANGLES, settings=settings)
    truth = blob_image(*_points(COLUMNS))
    for row, image in enumerate(volume):
        assert rms(image / (1 + row) - truth, inside(COLUMNS)) < 5e-4
    chosen = reconstruct(_stack(*rows), ANGLES, settings=settings.updated(slices=(7, 2)))
    np.testing.assert_allclose(chosen, volume[[7, 2]], atol=3e-5)


def test_counts_with_flats_become_attenuation() -> None:
    sinogram = blob_sinogram(COLUMNS, ANGLES, 63.5) * 0.02
    counts = np.round(100 + 50000 * np.exp(-sinogram)).astype(np.uint16)[:, None]
    darks = np.full((3, 1, COLUMNS), 100, np.uint16)
    flats = np.full((4, 1, COLUMNS), 50100, np.uint16)
    volume = reconstruct(
        counts, ANGLES, darks=darks, flats=flats, settings=ReconstructionSettings(center=63.5)
    )
    truth = blob_image(*_points(COLUMNS)) * 0.02
    assert rms(volume[0] - truth, inside(COLUMNS)) < 2e-4


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


def test_a_region_is_a_window_of_the_whole() -> None:
    sinogram = _stack(blob_sinogram(COLUMNS, ANGLES, 60.2))
    settings = ReconstructionSettings(center=60.2)
    whole = reconstruct(sinogram, ANGLES, settings=settings)[0]
    window = settings.updated(x_region=(-23.5, 16.5, 1.0), y_region=(-13.5, 7.5, 1.0))
    part = reconstruct(sinogram, ANGLES, settings=window)[0]
    np.testing.assert_allclose(part, whole[50:71, 40:80], atol=1e-3)
    fine = settings.updated(x_region=(-23.5, 16.5, 0.5), y_region=(-13.5, 7.5, 0.25))
    zoomed = reconstruct(sinogram, ANGLES, settings=fine)[0]
    assert zoomed.shape == (84, 80)
    x, y = np.meshgrid(-23.5 + 0.5 * np.arange(80), 13.5 - 0.25 * np.arange(84))
    np.testing.assert_allclose(zoomed, blob_image(x, y), atol=2e-3)


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


@pytest.mark.parametrize("padding", ["zero", "edge", "mirror"])
def test_padding_stands_in_for_what_the_detector_does_not_see(padding: str) -> None:
    sinogram = ellipse_sinogram(COLUMNS, ANGLES, 63.5, 90.0)  # wider than the detector
    settings = ReconstructionSettings(center=63.5, padding=padding)
    fast = reconstruct(_stack(sinogram), ANGLES, settings=settings)[0]
    slow = plain_slice(sinogram, ANGLES, 63.5, padding)
    assert rms(fast - slow, inside(COLUMNS, 0.8)) < 0.15 * float(np.abs(slow).mean())


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
