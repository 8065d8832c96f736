"""What each projection counts for, given the angles that are there."""

import numpy as np
from numpy.typing import NDArray

GAP_LIMIT = 2.0  # gaps count up to this many times the usual one; beyond, nothing is known anyway


def angular_weights(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of projections in the integral over half a turn.

    A projection counts for half of the gaps to its neighbours modulo pi, so that uneven, repeated,
    interlaced, 360-degree and missing angles are all weighted properly. A gap much wider than the
    usual one (a scan that has just begun, a missing wedge) is not given to the two beside it. The
    weights add up to pi whatever is there, which keeps a partial reconstruction on scale.

    Parameters
    ----------
    angles
        float, (projection,), radians, any order.

    Returns
    -------
    ndarray
        float64, (projection,), radians, sum pi.
    """
    if len(angles) == 1:
        return np.array([np.pi])
    turned = np.mod(angles, np.pi)
    order = np.argsort(turned, kind="stable")
    ahead = np.diff(turned[order], append=turned[order[0]] + np.pi)
    # equal steps stay exactly equal: rounding of the angles must not show in the weights
    ahead = np.round(ahead, 9)
    usual = float(np.median(ahead[ahead > 0]))
    ahead = np.minimum(ahead, GAP_LIMIT * usual + 1e-12) if usual > 0 else np.ones_like(ahead)
    sorted_weights = 0.5 * (ahead + np.roll(ahead, 1))
    weights = np.empty_like(sorted_weights)
    weights[order] = sorted_weights
    return np.asarray(weights * (np.pi / weights.sum()))
