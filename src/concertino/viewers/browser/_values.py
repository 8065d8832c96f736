"""Which values a picture has: histogram and limits of its colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 128
_SAMPLED = 2**17


@dataclass(frozen=True, eq=False)
class Values:
    """The distribution of a picture's values; NaN and infinities do not count.

    Attributes
    ----------
    low, high : float
        Smallest and largest value; 0 and 1 when there is none.
    counts : ndarray of float, shape (n,)
        Pixels in each bin.
    edges : ndarray of float, shape (n + 1,)
        Of the bins.
    ordered : ndarray, shape (m,)
        Values in ascending order; at most some 100,000 at equal distances in the picture.
    """

    low: float
    high: float
    counts: NDArray[np.float64]
    edges: NDArray[np.float64]
    ordered: NDArray[Any]

    def between(self, percentiles: tuple[float, float]) -> tuple[float, float]:
        """Return the values at two percentiles, in percent."""
        if not len(self.ordered):
            return self.low, self.high
        last = len(self.ordered) - 1
        low, high = (self.ordered[round(last * percent / 100)] for percent in percentiles)
        return float(low), float(high)


def values_of(pixels: NDArray[Any]) -> Values:
    """Return the distribution of a picture's values.

    Parameters
    ----------
    pixels : ndarray, shape (height, width)
        Integers or floats.

    Returns
    -------
    Values
        Histogram and percentiles come from a sample in equal distances when there are more than
        130,000 pixels, the smallest and the largest value from all.
    """
    flat = pixels.reshape(-1)
    if flat.dtype.kind == "f":
        finite = np.isfinite(flat)
        if not finite.all():
            flat = flat[finite]
    if not flat.size:
        return Values(0.0, 1.0, np.zeros(BINS), np.linspace(0, 1, BINS + 1), flat)
    low, high = float(flat.min()), float(flat.max())
    # An odd step, so that it is in step with no width of a sensor's pattern.
    sample = np.sort(flat[:: flat.size // _SAMPLED | 1])
    edges = _edges(low, high, whole=flat.dtype.kind in "iu")
    places = np.searchsorted(sample, edges[1:-1])
    counts = np.diff(places, prepend=0, append=len(sample)) * (flat.size / len(sample))
    return Values(low, high, counts, edges, sample)


def _edges(low: float, high: float, *, whole: bool) -> NDArray[np.float64]:
    if whole:
        # Bins of whole numbers of counts, or some would hold more of them than others.
        width = max(1.0, np.ceil((high - low + 1) / BINS))
        bins = int(np.ceil((high - low + 1) / width))
        first = low - 0.5
        return np.linspace(first, first + bins * width, bins + 1)
    if high == low:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, BINS + 1)
