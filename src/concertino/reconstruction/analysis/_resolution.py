"""How fine a reconstruction is: Fourier ring and shell correlation of two halves, and its noise.

References
----------
M. van Heel and M. Schatz, Fourier shell correlation threshold criteria, doi:10.1016/j.jsb.2005.05.009
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError

_HALF_BIT = (0.2071, 1.9102, 1.2071, 0.9102)


@dataclass(frozen=True, eq=False)
class Resolution:
    """Agreement of two independent halves of the data, by spatial frequency.

    Attributes
    ----------
    frequency
        float64, (ring,), cycles per px.
    correlation
        float64, (ring,): -1 to 1.
    threshold
        float64, (ring,): the half-bit criterion.
    resolution_px
        Period in px where the correlation falls below the threshold for good; 2 when it never does.
    signal_to_noise
        Ratio of the power that the halves share to the power of their mean's noise.
    """

    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]
    threshold: NDArray[np.float64]
    resolution_px: float
    signal_to_noise: float


def fourier_correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> Resolution:
    """Correlate two reconstructions of the same thing ring by ring, or shell by shell.

    Parameters
    ----------
    one, other
        float, (y, x) or (z, y, x): from odd and from even projections, say.

    Raises
    ------
    ParameterError
        The shapes differ or are not those of a slice or a volume.
    """
    if one.shape != other.shape or one.ndim not in (2, 3) or min(one.shape) < 8:
        raise ParameterError(
            f"first, second: arrays of shape {one.shape} and {other.shape} were given; give two "
            "slices (y, x) or volumes (z, y, x) of one shape and at least 8 px."
        )
    window = _window(one.shape)
    first, second = (np.fft.rfftn((part - part.mean()) * window) for part in (one, other))
    axes = [np.fft.fftfreq(size) for size in one.shape[:-1]] + [np.fft.rfftfreq(one.shape[-1])]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    rings = min(one.shape) // 2
    ring = np.minimum((radius * 2 * rings + 0.5).astype(np.int64), rings + 1)

    def total(values: NDArray[np.floating]) -> NDArray[np.float64]:
        sums = np.bincount(ring.ravel(), values.ravel().astype(np.float64), rings + 2)
        return np.asarray(sums[1 : rings + 1], dtype=np.float64)

    cross = total((first * np.conj(second)).real)
    power = np.sqrt(total(np.abs(first) ** 2) * total(np.abs(second) ** 2))
    correlation = cross / np.maximum(power, 1e-300)
    # a window makes neighbours in the spectrum alike: fewer of them are independent
    independent = np.sqrt(np.maximum(2.0 * total(np.ones(ring.shape)) * np.mean(window**2), 1.0))
    a, b, c, d = _HALF_BIT
    threshold = np.minimum((a + b / independent) / (c + d / independent), 1.0)
    frequency = np.arange(1, rings + 1) / (2.0 * rings)
    shared = float(np.maximum(cross, 0.0).sum())
    noise = float(np.maximum(power - cross, 0.0).sum()) / 2.0
    return Resolution(
        frequency,
        correlation,
        threshold,
        _crossing(frequency, correlation - threshold),
        shared / noise if noise > 0 else float("inf"),
    )


def _window(shape: tuple[int, ...]) -> NDArray[np.float64]:
    window = np.ones(shape)
    for axis, size in enumerate(shape):
        edge = np.hanning(size + 2)[1:-1]
        window *= edge.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return window


def _crossing(frequency: NDArray[np.float64], above: NDArray[np.float64]) -> float:
    """Period where a curve goes below zero and stays there for three rings."""
    below = above < 0
    for place in range(len(below)):
        if below[place : place + 3].all():
            if place == 0:
                return float(1.0 / frequency[0])
            share = above[place - 1] / (above[place - 1] - above[place])
            at = frequency[place - 1] + share * (frequency[place] - frequency[place - 1])
            return float(1.0 / at)
    return 2.0
