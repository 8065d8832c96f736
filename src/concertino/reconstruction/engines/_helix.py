"""What each row of a helix counts for, so that each place is seen evenly from all directions."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.settings._geometry import projection_matrices
from concertino.reconstruction.settings._settings import ReconstructionSettings

LOG = logging.getLogger("concertino.reconstruction")
_WIDEST_STEP = np.pi / 8  # rad; angles farther apart than this are no steady turning
_BACK_RAD, _BACK_ROWS = 0.05, 0.5  # so far may stage and encoder jitter back
_UPRIGHT = {f"volume_angle_{axis}": 0.0 for axis in "xyz"}


@dataclass(frozen=True, eq=False)
class RowShares:
    """Share of each row of each projection: a trapezoid over the angles from which its height is seen.

    A height that is seen over n half turns and some more would have some directions once more than others. So over
    as many angles as there are beyond the n half turns, projections fade in at the beginning and out at the end, and
    every direction counts n times in sum. In a parallel beam that is exact, in a cone beam as good as opposite rays
    are one, which goes with the angle of the cone.

    Attributes
    ----------
    matrices
        float64, (projection, 2, 2): from (height on the rotation axis, 1) to (row * w, w).
    turned
        float64, (projection,): angles since the beginning, never falling, in radians.
    upper, lower
        float64, (projection,): ends of what is seen of the axis, never falling.
    rising
        1, or -1 when heights are counted downwards.
    ends
        Angles where the scan begins and ends, in radians.
    """

    matrices: NDArray[np.float64]
    turned: NDArray[np.float64]
    upper: NDArray[np.float64]
    lower: NDArray[np.float64]
    rising: float
    ends: tuple[float, float]

    def at(self, indices: NDArray[np.int64], rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return float64, (index, row), 0 to 1, for rows (row,), or (index, row) of each projection."""
        heights = self.rising * _heights(self.matrices[indices], rows)
        begin = np.interp(heights, self.upper, self.turned, left=self.ends[0])
        end = np.interp(heights, self.lower, self.turned, right=self.ends[1])
        here = self.turned[indices, None]
        beyond = np.maximum(np.mod(end - begin + 1e-9, np.pi), 1e-6)
        fade = np.clip(np.minimum(here - begin, end - here) / beyond, 0, 1)
        return np.where(end - begin > np.pi, fade, 1.0)


def row_shares(
    settings: ReconstructionSettings, angles: NDArray[np.float64], center: float, rows: int
) -> RowShares | None:
    """Return what each row counts for beside the weight of its projection; None: all alike.

    That is so when the sample does not turn and rise steadily, which is logged, or the axis is tilted.

    Parameters
    ----------
    settings
        Geometry of a helix.
    angles
        float64, (projection,), radians.
    center
        Column where the rotation axis is seen.
    rows
        Height of the detector.
    """
    if bool(np.any(np.asarray(settings.axis_angle_x))) or len(angles) < 3:
        return None
    whole = projection_matrices(settings.updated(**_UPRIGHT), angles, center, rows)
    matrices = whole[:, 1:, 2:]
    edges = _heights(matrices, np.array([-0.5, rows - 0.5]))
    turned, middle = np.unwrap(angles), edges.mean(1)
    turned = (turned - turned[0]) * np.sign(turned[-1] - turned[0])
    rising = float(np.sign(middle[-1] - middle[0]))
    steps, climbs = np.diff(turned), np.diff(middle) * rising
    steady = steps.min() > -_BACK_RAD and steps.max() < _WIDEST_STEP and climbs.min() > -_BACK_ROWS
    if not steady or rising == 0:
        LOG.warning(
            "the sample does not turn and rise steadily in this helix (in one direction, in steps below "
            "22.5 deg), so places that are seen over no whole number of half turns may be off by 30 %%"
        )
        return None
    edges = edges * rising
    return RowShares(
        matrices,
        np.maximum.accumulate(turned),
        np.maximum.accumulate(edges.max(1)),
        np.maximum.accumulate(edges.min(1)),
        rising,
        # the first projection stands for half a step before it, the last one for half a step after it
        (float(turned[0] - steps[0] / 2), float(turned[-1] + steps[-1] / 2)),
    )


def _heights(matrices: NDArray[np.float64], rows: NDArray[Any]) -> NDArray[np.float64]:
    """Where on the rotation axis each row looks, float64, (projection, row)."""
    along, fixed = matrices[:, :, 0, None], matrices[:, :, 1, None]
    return np.asarray((fixed[:, 0] - rows * fixed[:, 1]) / (rows * along[:, 1] - along[:, 0]))
