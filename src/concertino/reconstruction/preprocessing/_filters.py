"""Frequency responses of the filters of filtered back projection."""

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.settings._settings import FilterName, ReconstructionSettings

BLACKMAN_HARRIS = (0.42323, 0.49755, 0.07922)


def ramp_response(width: int) -> NDArray[np.float64]:
    """Response of the band-limited ramp, from its samples in space.

    Sampling |k| in frequency would lose the mean; the transform of the sampled kernel keeps it.

    Parameters
    ----------
    width
        Length of the Fourier transform in pixels.

    Returns
    -------
    ndarray
        float64, (width,), in cycles per pixel, in the order of `numpy.fft.fftfreq`.

    References
    ----------
    A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging, chapter 3,
    doi:10.1137/1.9780898719277
    """
    distance = np.arange(width)
    distance = np.minimum(distance, width - distance)
    kernel = np.zeros(width)
    odd = distance % 2 == 1
    kernel[odd] = -1.0 / (np.pi * distance[odd]) ** 2
    kernel[0] = 0.25
    return np.asarray(np.fft.fft(kernel).real)


def filter_response(settings: ReconstructionSettings, width: int) -> NDArray[np.float64]:
    """Response of the filter in settings.

    Parameters
    ----------
    settings
        Name of the filter, its cut-off (Butterworth: where it falls to one half) and order.
    width
        Length of the Fourier transform in pixels.

    Returns
    -------
    ndarray
        float64, (width,), in cycles per pixel, in the order of `numpy.fft.fftfreq`; of an odd
        filter the imaginary part.
    """
    name = settings.filter
    if name == "none":
        return np.ones(width)
    relative = np.abs(np.fft.fftfreq(width)) * 2.0 / settings.cutoff
    if is_odd(name):
        return np.asarray(_hilbert_response(width) * np.where(relative <= 1.0 + 1e-12, 1.0, 0.0))
    return ramp_response(width) * _window(name, relative, settings.butterworth_order)


def is_odd(name: FilterName) -> bool:
    """Whether the response is imaginary: the filter of projections that are derivatives."""
    return name == "faris-byer"


def factor(name: FilterName) -> complex:
    """What the real array of `filter_response` is to be multiplied by."""
    return 1j if is_odd(name) else 1.0


def _hilbert_response(width: int) -> NDArray[np.float64]:
    """Imaginary response of 1 / (pi^2 n) at odd distances n.

    References
    ----------
    G. W. Faris and R. L. Byer, Three-dimensional beam-deflection optical tomography of a supersonic
    jet, doi:10.1364/AO.27.005202
    """
    distance = np.arange(width)
    distance = np.where(distance <= width // 2, distance, distance - width)
    kernel = np.zeros(width)
    odd = (distance % 2 == 1) & (np.abs(distance) < width / 2)
    kernel[odd] = 1.0 / (np.pi**2 * distance[odd])
    return np.asarray(np.fft.fft(kernel).imag)


def _window(name: FilterName, relative: NDArray[np.float64], order: float) -> NDArray[np.float64]:
    """Window at frequencies relative to the cut-off (0 to 1)."""
    if name == "butterworth":
        return np.asarray(1.0 / (1.0 + relative ** (2.0 * order)))
    inside = np.where(relative <= 1.0 + 1e-12, 1.0, 0.0)
    if name == "ramp":
        return inside
    if name == "shepp-logan":
        return np.asarray(inside * np.sinc(relative / 2.0))
    if name == "cosine":
        return np.asarray(inside * np.cos(np.pi * relative / 2.0))
    if name == "hamming":
        return np.asarray(inside * (0.54 + 0.46 * np.cos(np.pi * relative)))
    if name == "hann":
        return np.asarray(inside * (0.5 + 0.5 * np.cos(np.pi * relative)))
    a0, a1, a2 = BLACKMAN_HARRIS
    return np.asarray(
        inside * (a0 + a1 * np.cos(np.pi * relative) + a2 * np.cos(2.0 * np.pi * relative))
    )
