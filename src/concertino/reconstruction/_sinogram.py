"""Attenuation of the kept rows, and quick slices of it with a trial axis."""

import numpy as np
from numpy.typing import NDArray

from ._angles import angular_weights
from ._correct import FlatField, fill_padded
from ._gridding import GridPlan, Lattice, aligned_zeros, lanes_for
from ._rows import ProjectionRows
from ._settings import ReconstructionSettings


def attenuation_rows(
    rows: ProjectionRows,
    indices: NDArray[np.int64],
    flat_field: FlatField,
    settings: ReconstructionSettings,
) -> NDArray[np.float32]:
    """Attenuation of chosen projections, float32, (projection, row, column)."""
    assert rows.data is not None
    columns = rows.data.shape[2]
    out = np.empty((len(indices), rows.row_count, columns), np.float32)
    for row in range(rows.row_count):
        one = slice(row, row + 1)
        padded = np.empty((len(indices), columns, 1), np.float32)
        gains = flat_field.gains(indices, len(rows.present), one)
        fill_padded(rows.data[indices, one], flat_field, gains, one, settings, padded)
        out[:, row] = padded[:, :, 0]
    return out


def slices_with_center(
    sinograms: NDArray[np.float32], angles: NDArray[np.float64], center: float
) -> NDArray[np.float32]:
    """Slices of attenuation (angle, row, column) about a trial axis, float32, (row, y, x)."""
    count, rows, columns = sinograms.shape
    whole = Lattice(-(columns - 1) / 2, 1.0, columns)
    plan = GridPlan(columns, center, whole, whole, ReconstructionSettings())
    lanes = lanes_for(rows)
    volume = np.empty((rows, columns, columns), np.float32)
    for first in range(0, rows, lanes):
        part = sinograms[:, first : first + lanes].transpose(0, 2, 1)
        padded = aligned_zeros((count, plan.width, lanes))
        padded[:, :columns, : part.shape[2]] = part
        grid = plan.new_grid(lanes)
        plan.add(grid, padded, angles, angular_weights(angles), None, 1)
        plan.image(grid, volume[first : first + lanes], 1.0, None, 1)
    return volume
