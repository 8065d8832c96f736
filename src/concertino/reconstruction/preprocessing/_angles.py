"""What each projection counts for, given the angles that are there."""

import numpy as np
from numpy.typing import NDArray

_WEDGE = (
    np.pi / 12
)  # rad; a gap that is wider, and far wider than those beside it, is a missing wedge
_FAR_WIDER = 4.0
_NEIGHBOURS = 5  # gaps on each side that tell what is usual there
_CLUSTER = 0.1  # angles that lie together within this share of the gaps around them count as one
_ROUNDING = 1e-9  # rad


def angular_weights(
    angles: NDArray[np.float64], period: float = float(np.pi)
) -> NDArray[np.float64]:
    """Weights of projections in the integral over half a turn.

    Angles that are equal within a tenth of the gaps around them share what one of them would count
    for, so that repeated turns average their noise. A group counts for half of the gaps to its
    neighbours, modulo the period: uneven, interlaced and lost angles are weighted properly. A wedge of
    more than 15 degrees (a scan that has just begun, frames that were never taken) is not given to the
    two beside it, unless gaps are that wide there anyway. The weights add up to pi whatever is there, which keeps a
    partial reconstruction on scale.

    Parameters
    ----------
    angles
        float, (projection,), radians, any order.
    period
        Turn after which a view says the same again, in radians: pi for parallel rays across the
        axis, 2 pi where opposite views differ (half acquisition, cone beam, laminography), infinite
        where none does (helix).

    Returns
    -------
    ndarray
        float64, (projection,), radians, sum pi.
    """
    if np.isinf(period):
        angles = angles - np.min(angles)
        period = float(np.max(angles)) + 2 * np.pi
    turned = np.mod(angles, period)
    order = np.argsort(turned, kind="stable")
    in_turn = turned[order]
    # equal steps stay exactly equal: rounding of the angles must not show in the weights
    ahead = np.asarray(np.round(np.diff(in_turn, append=in_turn[0] + period), 9), np.float64)
    ends = _cluster_ends(ahead)
    group_of = np.concatenate([[0], np.cumsum(ends[:-1])])
    if not ends[-1]:  # the last ones lie together with the first
        group_of[group_of == group_of[-1]] = 0
    sizes = np.bincount(group_of)
    # a group stands where its members are on average
    places = in_turn.copy()
    if not ends[-1]:
        places[(group_of == 0) & (in_turn > period / 2)] -= period
    middles = np.round(np.bincount(group_of, places) / sizes, 9)
    shares = _gap_shares(middles, period) / sizes
    weights = np.empty(len(angles))
    weights[order] = shares[group_of]
    return np.asarray(weights * (np.pi / weights.sum()))


def _cluster_ends(ahead: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a group of angles that count as one ends before each gap; gaps go around.

    A chain of angles is a group if it is short against the gap before it and the one behind it. In a
    region that is merely finer the chain is long, and stays what it is.
    """
    ends = ahead > 2 * _ROUNDING
    widest = float(ahead.max())
    if not ends.any():  # all angles are one
        ends = ends.copy()
        ends[-1] = True
        return ends
    limit, known = widest, 0
    while (limit := limit / 4) > _ROUNDING:
        apart = np.flatnonzero(ahead > limit)
        if len(apart) == known:  # the same as before
            continue
        known = len(apart)
        # each chain goes from behind one such gap to the next
        before = np.roll(apart, 1)
        total = np.concatenate([[0.0], np.cumsum(ahead)])
        extent = total[apart] - total[before + 1]
        extent[0] += total[-1]
        short = extent <= _CLUSTER * np.minimum(ahead[before], ahead[apart])
        short &= apart != before + 1  # nothing is between them
        for first, last in zip(before[short], apart[short], strict=True):
            if first < last:
                ends[first + 1 : last] = False
            else:
                ends[first + 1 :] = False
                ends[:last] = False
    return ends


def _gap_shares(middles: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Half of the gaps before and behind each of these places, wedges left out."""
    count = len(middles)
    if count == 1:
        return np.ones(1)
    ahead = np.round(np.diff(middles, append=middles[0] + period), 9)
    reach = min(_NEIGHBOURS, count - 1)
    around = np.stack([np.roll(ahead, shift) for shift in range(1, reach + 1)])
    before = np.median(around, axis=0)
    around = np.stack([np.roll(ahead, -shift) for shift in range(1, reach + 1)])
    behind = np.median(around, axis=0)
    usual = np.maximum(before, behind)
    ahead = np.where(is_wedge(ahead, usual), usual, ahead)
    return np.asarray(0.5 * (ahead + np.roll(ahead, 1)))


def is_wedge(gap: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether nothing is known of gaps between angles, given the usual one there; all in radians."""
    return np.asarray(gap > np.maximum(_WEDGE, _FAR_WIDER * usual))
