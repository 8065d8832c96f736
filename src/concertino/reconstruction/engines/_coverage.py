"""How much of a helix each place of the volume was in the beam."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ._helix import RowShares

_POINTS = 17  # along x and y at which it is computed; it changes slowly in between
_LEAST_ARC = np.pi / 4  # rad; a place that was seen over less is not made brighter any more


def level_helix(
    volume: NDArray[np.float32],
    planes: Sequence[int],
    matrices: NDArray[np.float64],
    weights: NDArray[np.float64],
    angles: NDArray[np.float64],
    rows: int,
    shares: RowShares | None,
) -> None:
    """Bring each place to what it would be if all projections had seen it, in place.

    Parameters
    ----------
    volume
        float32, (z, y, x).
    planes
        Which plane of the whole volume each of them is.
    matrices
        float64, (projection, 3, 4): from indices (x, y, z, 1) to (column * w, row * w, w); measured
        rows begin at 1.
    weights
        float64, (projection,), radians; they add up to pi.
    angles
        float64, (projection,), radians: how far the sample turned decides on what is too little to go by.
    rows
        Rows of the detector.
    shares
        What each row counts for beside the weight of its projection.
    """
    _, height, width = volume.shape
    alike = bool((np.abs(matrices[:, 1:, :2]) < 1e-9).all())  # in a plane
    xs, ys = (
        np.linspace(0, size - 1, 1 if alike else min(_POINTS, size)) for size in (width, height)
    )
    across, down = _between(xs, width), _between(ys, height)
    least = np.pi * min(1.0, _LEAST_ARC / max(float(np.ptp(angles)), _LEAST_ARC))
    for plane, place in zip(volume, planes, strict=True):
        coarse = [[_seen(matrices, weights, (x, y, place), rows, shares) for x in xs] for y in ys]
        seen = down @ np.array(coarse) @ across.T
        plane *= (np.pi / np.maximum(seen, least)).astype(np.float32)


def _seen(
    matrices: NDArray[np.float64],
    weights: NDArray[np.float64],
    place: tuple[float, float, float],
    rows: int,
    shares: RowShares | None,
) -> float:
    """Sum of the weights with which projections see a place."""
    row, depth = (matrices[:, 1:, :3] @ np.array(place) + matrices[:, 1:, 3]).T
    row = row / depth - 1
    inside = np.flatnonzero((row >= -0.5) & (row <= rows - 0.5) & (weights != 0))
    if shares is None:
        return float(weights[inside].sum())
    row = np.clip(row[inside], 0, rows - 1)
    before = np.floor(row)  # as projections are interpolated between rows
    both = shares.at(inside, np.stack([before, np.minimum(before + 1, rows - 1)], 1))
    return float(weights[inside] @ (both[:, 0] + (row - before) * (both[:, 1] - both[:, 0])))


def _between(points: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Matrix (count, point) that interpolates linearly between points among 0 … count - 1."""
    return np.stack([np.interp(np.arange(count), points, row) for row in np.eye(len(points))], 1)
