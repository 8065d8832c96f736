"""One number for a slice: what a search makes largest or smallest."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError

Metric = Literal[
    "min", "max", "sum", "mean", "var", "std", "skew", "kurtosis", "sag", "entropy", "tenengrad",
    "negativity",
]  # fmt: skip

LARGEST_IS_BEST: dict[Metric, bool] = {
    "min": True,
    "max": True,
    "sum": True,
    "mean": True,
    "var": True,
    "std": True,
    "skew": True,
    "kurtosis": True,
    "sag": False,
    "entropy": False,
    "tenengrad": True,
    "negativity": False,
}
_BINS = 256


def largest_is_best(metric: Metric) -> bool:
    """Whether the best slice has the largest value of a metric.

    Raises
    ------
    ParameterError
        If there is no such metric.
    """
    if metric not in LARGEST_IS_BEST:
        raise ParameterError(
            f"metric: {metric!r} is unknown. Give one of {', '.join(LARGEST_IS_BEST)}."
        )
    return LARGEST_IS_BEST[metric]


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
    inside = np.ones(image.shape, dtype=bool)
    if min(image.shape) > 2:
        y, x = np.ogrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
        inside = np.asarray(y * y + x * x <= 1.0)
    return float(_METRICS[metric](np.asarray(image, dtype=np.float64), inside))


def _moment(order: int) -> Callable[[NDArray[np.float64], NDArray[np.bool_]], float]:
    def standardised(image: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
        values = image[inside] - image[inside].mean()
        spread = float(np.sqrt(np.mean(values**2)))
        return 0.0 if spread == 0 else float(np.mean(values**order)) / spread**order

    return standardised


def _gradients(
    image: NDArray[np.float64], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.gradient(image, axis=0)[inside], np.gradient(image, axis=1)[inside]


def _entropy(image: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    counts = np.histogram(image[inside], bins=_BINS)[0]
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


_METRICS: dict[Metric, Callable[[NDArray[np.float64], NDArray[np.bool_]], float]] = {
    "min": lambda image, inside: image[inside].min(),
    "max": lambda image, inside: image[inside].max(),
    "sum": lambda image, inside: image[inside].sum(),
    "mean": lambda image, inside: image[inside].mean(),
    "var": lambda image, inside: image[inside].var(),
    "std": lambda image, inside: image[inside].std(),
    "skew": _moment(3),
    "kurtosis": lambda image, inside: _moment(4)(image, inside) - 3.0,
    "sag": lambda image, inside: sum(np.abs(part).sum() for part in _gradients(image, inside)),
    "entropy": _entropy,
    "tenengrad": lambda image, inside: sum((part**2).sum() for part in _gradients(image, inside)),
    "negativity": lambda image, inside: -np.minimum(image[inside], 0.0).sum(),
}
