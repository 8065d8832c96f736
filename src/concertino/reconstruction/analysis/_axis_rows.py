"""Which rows the rotation axis is found from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

AXIS_PIXELS = 2**22  # sinogram pixels that the axis is found from: enough, and under half a second


def axis_rows(projections: int, columns: int, rows: Sequence[int]) -> tuple[int, ...]:
    """Return the rows from which the rotation axis is found when these rows are kept.

    A reconstructor that keeps no others finds the same axis as one that keeps all.

    Parameters
    ----------
    projections
        How many there are.
    columns
        Width of the detector in px.
    rows
        Detector rows that become slices, in order.

    Examples
    --------
    >>> axis_rows(1500, 2048, range(100))
    (49,)
    """
    return tuple(int(rows[place]) for place in axis_places(projections, columns, len(rows)))


def axis_places(projections: int, columns: int, rows: int, least: int = 1) -> NDArray[np.int64]:
    """Choose evenly among a number of rows as many as are enough, `least` or more."""
    count = max(AXIS_PIXELS // max(1, projections * columns), least)
    if count >= rows:
        return np.arange(rows)
    return np.unique(np.linspace(0, rows - 1, count + 2)[1:-1].astype(np.int64))
