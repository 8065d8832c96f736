"""One number for a slice: what a search makes largest or smallest."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError

Metric = Literal[
    "min", "max", "sum", "mean", "var", "std", "skew", "kurtosis", "sag", "entropy", "tenengrad",
    "negativity",
]  # fmt: skip

_SMALLEST_IS_BEST = ("sag", "entropy", "negativity")
_BINS = 256


def largest_is_best(metric: Metric) -> bool:
    """Whether the best slice has the largest value of a metric.

    Raises
    ------
    ParameterError
        If there is no such metric.
    """
    known = get_args(Metric)
    if metric not in known:
        raise ParameterError(f"metric: {metric!r} is unknown. Give one of {', '.join(known)}.")
    return metric not in _SMALLEST_IS_BEST


def slice_metric(image: NDArray[np.floating], metric: Metric) -> float:
    """Metric of a slice inside its inscribed ellipse.

    Parameters
    ----------
    image
        float, (y, x).
    metric
        'min', 'max', 'sum', 'mean', 'var', 'std', 'skew', 'kurtosis': of the pixels; 'sag': sum of
        absolute gradients; 'entropy': of the histogram, in bit; 'tenengrad': sum of squared
        gradients; 'negativity': sum of what lies below zero, which a wrong axis increases.

    Raises
    ------
    ParameterError
        If there is no such metric.

    Examples
    --------
    >>> import numpy as np
    >>> slice_metric(np.eye(8), "max")
    1.0
    """
    largest_is_best(metric)
    if metric in _OF_GRADIENTS:
        whole = np.asarray(image, dtype=np.float64)
        gradients = (_inside(np.gradient(whole, axis=axis)) for axis in (0, 1))
        return float(sum(_OF_GRADIENTS[metric](part) for part in gradients))
    return float(_OF_PIXELS[metric](_inside(image)))


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's correlation of the pixels of two images, which are lost; 0 where one is flat."""
    one -= one.mean(dtype=np.float64)
    other -= other.mean(dtype=np.float64)
    together, *squares = (
        float(np.mean(a * b, dtype=np.float64))
        for a, b in ((one, other), (one, one), (other, other))
    )
    return together / math.sqrt(squares[0] * squares[1]) if 0 not in squares else 0.0


def _inside(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pixels in the inscribed ellipse, float64, row by row."""
    edges = _edges(*image.shape)
    parts = [row[first:last] for row, (first, last) in zip(image, edges, strict=True)]
    return np.concatenate(parts, dtype=np.float64)


@lru_cache(maxsize=4)
def _edges(height: int, width: int) -> list[tuple[int, int]]:
    """Where the inscribed ellipse begins and ends in each row; all of an image of two rows or columns."""
    if min(height, width) <= 2:
        return [(0, width)] * height
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    squares = x[0] * x[0]
    rows = [np.flatnonzero(square + squares <= 1.0) for square in (y * y)[:, 0]]
    return [(int(row[0]), int(row[-1]) + 1) if len(row) else (0, 0) for row in rows]


def _variance(pixels: NDArray[np.float64]) -> float:
    """As `numpy.var`, which takes new memory for as many numbers; the pixels are lost."""
    pixels -= pixels.mean()
    pixels *= pixels
    return float(pixels.mean())


def _moment(order: int) -> Callable[[NDArray[np.float64]], float]:
    def standardised(pixels: NDArray[np.float64]) -> float:
        values = pixels - pixels.mean()
        squares = values * values
        spread = float(np.sqrt(np.mean(squares)))
        powers = squares * (values if order == 3 else squares)
        return 0.0 if spread == 0 else float(np.mean(powers)) / spread**order

    return standardised


def _entropy(pixels: NDArray[np.float64]) -> float:
    counts = np.histogram(pixels, bins=_BINS)[0]
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


_OF_PIXELS: dict[Metric, Callable[[NDArray[np.float64]], float]] = {
    "min": lambda pixels: pixels.min(),
    "max": lambda pixels: pixels.max(),
    "sum": lambda pixels: pixels.sum(),
    "mean": lambda pixels: pixels.mean(),
    "var": _variance,
    "std": lambda pixels: math.sqrt(_variance(pixels)),
    "skew": _moment(3),
    "kurtosis": lambda pixels: _moment(4)(pixels) - 3.0,
    "entropy": _entropy,
    "negativity": lambda pixels: -np.minimum(pixels, 0.0).sum(),
}
_OF_GRADIENTS: dict[Metric, Callable[[NDArray[np.float64]], float]] = {
    "sag": lambda gradient: np.abs(gradient).sum(),
    "tenengrad": lambda gradient: (gradient**2).sum(),
}
