"""Resolution and noise from two halves of the data."""

import numpy as np
import pytest

from concertino import ParameterError
from concertino.reconstruction import (
    ReconstructionSettings,
    Reconstructor,
    fourier_correlation,
)
from tests.reconstruction.phantoms import ellipse_sinogram


def _blurred(width: float, noise: float) -> float:
    generator = np.random.default_rng(0)
    spectrum = np.fft.fft2(generator.normal(size=(128, 128)))
    f2 = np.fft.fftfreq(128)[:, None] ** 2 + np.fft.fftfreq(128) ** 2
    sample = np.fft.ifft2(spectrum * np.exp(-2 * np.pi**2 * width**2 * f2)).real
    sample /= sample.std()
    one, other = (sample + noise * generator.normal(size=sample.shape) for _ in range(2))
    return fourier_correlation(one, other).resolution_px


def test_blur_and_noise_cost_resolution() -> None:
    assert _blurred(0.0, 0.0) == 2.0
    assert 2.0 < _blurred(1.0, 0.5) < _blurred(2.0, 0.5) < _blurred(2.0, 3.0)


def test_two_noises_share_nothing() -> None:
    generator = np.random.default_rng(1)
    found = fourier_correlation(generator.normal(size=(64, 64)), generator.normal(size=(64, 64)))
    assert found.resolution_px > 10
    assert found.signal_to_noise < 0.3


def test_a_volume_is_compared_by_shells() -> None:
    volume = np.random.default_rng(2).normal(size=(16, 32, 32))
    found = fourier_correlation(volume, volume)
    np.testing.assert_allclose(found.correlation, 1.0)
    assert found.signal_to_noise > 1e6


def test_more_noise_in_a_scan_is_a_worse_resolution() -> None:
    angles = np.arange(200) * np.pi / 200
    lines = ellipse_sinogram(96, angles, 47.5, 40.0)[:, None].astype(np.float32)
    found = []
    for noise in (0.05, 5.0):
        job = Reconstructor(
            ReconstructionSettings(center=47.5), num_projections=200, frame_shape=(1, 96)
        )
        job.add_projections(
            lines + noise * np.random.default_rng(3).normal(size=lines.shape).astype(np.float32), 0
        )
        found.append(job.resolution())
    assert found[0].resolution_px < found[1].resolution_px
    assert found[0].signal_to_noise > 5 * found[1].signal_to_noise


def test_shapes_must_agree() -> None:
    with pytest.raises(ParameterError, match=r"arrays of shape \(8, 8\) and \(8, 9\) were given"):
        fourier_correlation(np.zeros((8, 8)), np.zeros((8, 9)))
