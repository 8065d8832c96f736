"""Sweeps and searches: the true value wins, and doubt is said."""

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError, ReconstructionError
from concertino.reconstruction import (
    Metric,
    ReconstructionSettings,
    Reconstructor,
    find_parameter,
    reconstruct,
    slice_metric,
)

from .phantoms import ellipse_sinogram

COLUMNS, COUNT = 128, 180
ANGLES = np.arange(COUNT) * np.pi / COUNT
CENTER = 60.3


@pytest.fixture(scope="module")
def lines() -> NDArray[np.float32]:
    one = ellipse_sinogram(COLUMNS, ANGLES, CENTER, 50.0)
    return np.stack([one, 1.1 * one, 1.2 * one], axis=1).astype(np.float32)


def test_a_sweep_gives_one_slice_for_each_value(lines: NDArray[np.float32]) -> None:
    settings = ReconstructionSettings(z_parameter="center", region=(58, 63, 1), slices=(1,))
    strip = reconstruct(lines, ANGLES, settings=settings)
    assert strip.shape == (5, COLUMNS, COLUMNS)
    alone = reconstruct(lines, ANGLES, settings=ReconstructionSettings(center=60, slices=(1,)))
    np.testing.assert_array_equal(strip[2], alone[0])


@pytest.mark.parametrize("metric", ["tenengrad", "sag", "negativity", "entropy"])
def test_the_axis_by_the_sharpest_slice(lines: NDArray[np.float32], metric: Metric) -> None:
    found = find_parameter(
        lines, ANGLES, parameter="center", region=(56.0, 65.0, 1.0), metric=metric
    )
    assert found.value == pytest.approx(CENTER, abs=0.3)
    assert found.confidence > 0.7
    assert len(found.values) == len(found.metrics) > 9
    assert (np.diff(found.values) > 0).all()


def test_noise_has_no_best_value() -> None:
    noise = np.random.default_rng(0).normal(size=(COUNT, 1, COLUMNS)).astype(np.float32)
    found = find_parameter(noise, ANGLES, parameter="center", region=(50.0, 75.0, 1.0))
    assert found.confidence < 0.3


def test_several_settings_in_turn_and_together(lines: NDArray[np.float32]) -> None:
    job = Reconstructor(
        ReconstructionSettings(slices=(0,)),
        num_projections=COUNT,
        frame_shape=(3, COLUMNS),
        angles=ANGLES,
    )
    job.add_projections(lines, 0)
    in_turn = job.find_parameters({"center": (57.0, 64.0, 1.0)}, "negativity", iterations=1)
    assert in_turn["center"] == pytest.approx(CENTER, abs=0.3)
    together = job.find_parameters(
        {"center": (57.0, 64.0, 1.0)}, "negativity", iterations=1, together=True
    )
    assert together["center"] == pytest.approx(CENTER, abs=0.3)


def test_again_with_other_settings(lines: NDArray[np.float32]) -> None:
    first = ReconstructionSettings(center=CENTER, slices=(0, 2))
    job = Reconstructor(first, num_projections=COUNT, frame_shape=(3, COLUMNS), angles=ANGLES)
    job.add_projections(lines, 0)
    job.finish()
    other = first.updated(filter="hann", slices=(2,), overall_angle=0.3)
    again = job.rereconstruct(other)
    expected = reconstruct(lines, ANGLES, settings=other)
    np.testing.assert_array_equal(again.volume, expected)
    with pytest.raises(ReconstructionError, match="row 1 is needed, but only 2 rows were kept"):
        job.rereconstruct(first.updated(slices=(1,)))
    with pytest.raises(ReconstructionError, match="darks and flats were combined by average"):
        job.rereconstruct(first.updated(flats="median"))


def test_what_cannot_be_swept() -> None:
    with pytest.raises(ParameterError, match="'filter' is not a setting that can be swept"):
        ReconstructionSettings(z_parameter="filter", region=(0, 1, 1))
    with pytest.raises(ParameterError, match="z_parameter needs `region`"):
        ReconstructionSettings(z_parameter="center")
    with pytest.raises(ParameterError, match="needs at least 3 places"):
        find_parameter(np.zeros((4, 1, 16), np.float32), parameter="center", region=(7.0, 8.0, 1.0))


def test_metrics_of_a_known_image() -> None:
    image = np.zeros((9, 9))
    image[4, 4] = 2.0
    image[4, 5] = -1.0
    assert slice_metric(image, "max") == 2.0
    assert slice_metric(image, "min") == -1.0
    assert slice_metric(image, "sum") == 1.0
    assert slice_metric(image, "negativity") == 1.0
    assert slice_metric(image, "std") == pytest.approx(slice_metric(image, "var") ** 0.5)
    for metric in ("skew", "kurtosis", "sag", "entropy", "tenengrad", "mean"):
        assert slice_metric(image, metric) > 0
