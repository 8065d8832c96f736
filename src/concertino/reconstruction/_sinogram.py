"""Attenuation of the kept rows."""

import numpy as np
from numpy.typing import NDArray

from ._correct import FlatField, fill_padded
from ._rows import ProjectionRows
from ._settings import ReconstructionSettings


def attenuation_rows(
    rows: ProjectionRows,
    indices: NDArray[np.int64],
    flat_field: FlatField,
    settings: ReconstructionSettings,
    chosen: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Attenuation of chosen projections in chosen rows, float32, (projection, row, column)."""
    columns = len(flat_field.offset[0])
    out = np.empty((len(indices), len(chosen), columns), np.float32)
    for place, row in enumerate(chosen):
        one = slice(int(row), int(row) + 1)
        padded = np.empty((len(indices), columns, 1), np.float32)
        gains = flat_field.gains(indices, len(rows.present), one)
        fill_padded(rows.part(indices, one), flat_field, gains, one, settings, padded)
        out[:, place] = padded[:, :, 0]
    return out
