"""Find how the rotation axis is rolled about the beam: views from opposite sides are mirror images.

With a rolled axis a detector row looks at one height of the sample on one side and at another on the other
side. So no row shows where the axis is at its height (those of a sphere show an upright axis, whatever its
roll); but whole projections half a turn apart are each other's reflection in the axis.
"""

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from ._result import AxisEstimate

_SPAN = np.deg2rad(5.0)  # within which a pixel changes like a parabola
_VIEWS = (3, 24)  # at least and at most, that are taken together to lower the noise
_SMOOTHING_PX = 1.0
_STEPS = 12
_STILL = 1e-3  # px at the far end of the axis


def opposite_views(
    angles: NDArray[np.float64],
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Choose views for `axis_of_opposite`: indices and weights of the front, and of the back.

    Parameters
    ----------
    angles
        float64, (projection,), radians, that cover half a turn or more.
    """
    chosen = []
    for target in (0.0, np.pi):
        away = np.mod(angles - angles.min() - target + np.pi, 2 * np.pi) - np.pi
        order = np.argsort(np.abs(away), kind="stable")
        count = int(np.clip(np.count_nonzero(np.abs(away) <= _SPAN), *_VIEWS))
        indices = order[:count]
        chosen.append((indices, view_weights(away[indices])))
    return chosen


def view_weights(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights with which neighbouring views add up to the one at angle 0.

    Each pixel is taken to change with the angle as a parabola.

    Parameters
    ----------
    angles
        float64, (view,), radians.
    """
    scaled = angles / np.abs(angles).max()
    weights: NDArray[np.float64] = np.linalg.pinv(np.stack([scaled**0, scaled, scaled**2], 1))[0]
    return weights


def axis_of_opposite(
    front: NDArray[np.floating], back: NDArray[np.floating], middle: float, center: float
) -> AxisEstimate:
    """Find the line in which two views from opposite sides are each other's reflection.

    Parameters
    ----------
    front, back
        float, (row, column): attenuation, half a turn apart.
    middle
        Row where `center_px` is told.
    center
        Column to begin with.
    """
    one, other = (
        scipy.ndimage.gaussian_filter(np.asarray(view, np.float64), _SMOOTHING_PX)
        for view in (front, back)
    )
    rows, columns = one.shape
    up = middle - np.arange(rows, dtype=np.float64)[:, None]
    across = np.arange(columns, dtype=np.float64)[None]
    far = max(middle, rows - 1 - middle, 1.0)

    def reflected(column: float, roll: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        c, s = np.cos(2 * roll), np.sin(2 * roll)
        right = across - column
        x = column - c * right + s * up
        row = middle - (s * right + c * up)
        seen = (x >= 0) & (x <= columns - 1) & (row >= 0) & (row <= rows - 1)
        return scipy.ndimage.map_coordinates(other, [row, x], order=3, mode="nearest"), seen

    values = np.array([center, 0.0])
    small = np.array([0.1, 0.1 / far])
    for _ in range(_STEPS):
        image, seen = reflected(*values)
        slopes = []
        for place in range(2):
            ahead, behind = values.copy(), values.copy()
            ahead[place] += small[place]
            behind[place] -= small[place]
            change = reflected(*ahead)[0] - reflected(*behind)[0]
            slopes.append((change / (2 * small[place]))[seen])
        step = np.linalg.lstsq(np.stack(slopes, 1), (one - image)[seen], rcond=None)[0]
        step = np.clip(step, -20.0 * small, 20.0 * small)
        values += step
        if abs(step[0]) < _STILL and abs(step[1]) * far < _STILL:
            break
    image, seen = reflected(*values)
    likeness = 0.0
    if np.count_nonzero(seen) > 16 and one[seen].std() > 0 and image[seen].std() > 0:
        likeness = float(np.corrcoef(one[seen], image[seen])[0, 1])
    return AxisEstimate(
        float(values[0]),
        float(np.clip(likeness, 0.0, 1.0)),
        "reflection of opposite views in the axis",
        float(values[1]),
    )
