"""How much of a helix each place of the volume was in the beam."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_POINTS = 17  # along x and y at which it is computed; it changes slowly in between
_LEAST_ARC = np.pi / 4  # rad; a place that was seen over less is not made brighter any more


class Coverage:
    """Sum of the weights of the projections that see each place of a volume.

    Parameters
    ----------
    matrices
        float64, (projection, 3, 4): from indices (x, y, z, 1) to (column * w, row * w, w); measured
        rows begin at 1.
    weights
        float64, (projection,), radians; they add up to pi.
    angles
        float64, (projection,), radians: how far the sample turned decides on what is too little to go by.
    extent
        (planes, height, width) of the volume.
    rows
        Rows of the detector.
    """

    def __init__(
        self,
        matrices: NDArray[np.float64],
        weights: NDArray[np.float64],
        angles: NDArray[np.float64],
        extent: tuple[int, int, int],
        rows: int,
    ) -> None:
        planes, height, width = extent
        xs = np.linspace(0, width - 1, min(_POINTS, width))
        ys = np.linspace(0, height - 1, min(_POINTS, height))
        self._coarse = np.empty((planes, len(ys), len(xs)))
        for j, y in enumerate(ys):
            for i, x in enumerate(xs):
                at_zero = matrices[:, 1:, 0] * x + matrices[:, 1:, 1] * y + matrices[:, 1:, 3]
                line = _along_line(at_zero, matrices[:, 1:, 2], weights, planes, rows)
                self._coarse[:, j, i] = line
        self._across, self._down = _between(xs, width), _between(ys, height)
        self._least = np.pi * min(1.0, _LEAST_ARC / max(float(np.ptp(angles)), _LEAST_ARC))

    def level(self, volume: NDArray[np.float32], planes: Iterable[int]) -> None:
        """Bring each place to what it would be if all projections had seen it, in place.

        Parameters
        ----------
        volume
            float32, (z, y, x).
        planes
            Which plane of the whole volume each of them is.
        """
        for plane, place in zip(volume, planes, strict=True):
            seen = self._down @ self._coarse[place] @ self._across.T
            plane *= (np.pi / np.maximum(seen, self._least)).astype(np.float32)


def _along_line(
    at_zero: NDArray[np.float64],
    slope: NDArray[np.float64],
    weights: NDArray[np.float64],
    planes: int,
    rows: int,
) -> NDArray[np.float64]:
    """Sum of weights at each z of a line whose (row * w, w) begins and grows as given."""
    low, high = np.zeros(len(weights)), np.full(len(weights), planes - 1.0)
    for sign, edge in ((1.0, 0.5), (-1.0, rows + 0.5)):
        value = sign * (at_zero[:, 0] - edge * at_zero[:, 1])
        change = sign * (slope[:, 0] - edge * slope[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = -value / change
        low = np.where(change > 1e-12, np.maximum(low, crossing), low)
        high = np.where(change < -1e-12, np.minimum(high, crossing), high)
        high = np.where((np.abs(change) <= 1e-12) & (value < 0), -1.0, high)
    seen = low <= high
    steps = np.zeros(planes + 1)
    np.add.at(steps, np.ceil(low[seen]).astype(int), weights[seen])
    np.add.at(steps, np.floor(high[seen]).astype(int) + 1, -weights[seen])
    return np.asarray(np.cumsum(steps)[:planes])


def _between(points: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Matrix (count, point) that interpolates linearly between points among 0 … count - 1."""
    return np.stack([np.interp(np.arange(count), points, row) for row in np.eye(len(points))], 1)
