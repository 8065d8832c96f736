"""Attenuation of the kept rows, and the rotation axis from it."""

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.analysis._axis import estimate_axis, estimate_tilt
from concertino.reconstruction.analysis._axis_rows import axis_places
from concertino.reconstruction.analysis._result import AxisEstimate
from concertino.reconstruction.analysis._roll import axis_of_opposite, opposite_views
from concertino.reconstruction.settings._settings import ReconstructionSettings

from ._correct import FlatFieldCorrection, fill_padded
from ._rows import Rows

_ROLL_ROWS = 16  # from which on whole views tell more than rows
TILT_ROWS = 128  # rows that a tilt is found from


def attenuation_rows(
    rows: Rows,
    indices: NDArray[np.int64],
    flat_field: FlatFieldCorrection,
    settings: ReconstructionSettings,
    chosen: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Attenuation of chosen projections in chosen rows, float32, (projection, row, column)."""
    columns = len(flat_field.offset[0])
    out = np.empty((len(indices), len(chosen), columns), np.float32)
    for place, row in enumerate(chosen):
        one = slice(int(row), int(row) + 1)
        padded = np.empty((len(indices), columns, 1), np.float32)
        fill_padded(rows, indices, one, flat_field, settings, padded)
        out[:, place] = padded[:, :, 0]
    return out


def axis_of_rows(
    rows: Rows,
    flat_field: FlatFieldCorrection,
    kept: NDArray[np.int64],
    angles: NDArray[np.float64],
    height: int,
    settings: ReconstructionSettings,
    *,
    tilt: bool,
) -> AxisEstimate:
    """Find the rotation axis from some of the rows of the projections that are there.

    Parameters
    ----------
    rows, flat_field
        The kept rows, raw, and what turns them into attenuation.
    kept
        int64: which detector rows they are.
    angles
        float64, (projection,), radians.
    height
        Rows of the detector.
    settings
        Preprocessing, and where the beam's axis is.
    tilt
        Whether to find the axis's roll about the beam as well.
    """
    present = np.flatnonzero(rows.present)
    least = TILT_ROWS if tilt else 1
    places = axis_places(len(present), rows.columns, len(kept), least)
    sinograms = attenuation_rows(rows, present, flat_field, settings, places)
    if not tilt:
        return estimate_axis(sinograms, angles[present])
    middle = (height - 1) / 2 if settings.center_row is None else settings.center_row
    if len(kept) >= _ROLL_ROWS and bool(np.all(np.diff(kept) == 1)):
        upright = estimate_axis(sinograms[:, :: max(1, len(places) // 8)], angles[present])
        if upright.confidence > 0:
            views = [
                np.tensordot(
                    weights,
                    attenuation_rows(
                        rows, present[indices], flat_field, settings, np.arange(len(kept))
                    ),
                    1,
                )
                for indices, weights in opposite_views(angles[present])
            ]
            return axis_of_opposite(views[0], views[1], middle - float(kept[0]), upright.center_px)
    return estimate_tilt(sinograms, kept[places], middle, angles[present])
