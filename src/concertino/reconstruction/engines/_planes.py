"""Three orthogonal planes, kept up to date while projections arrive: small, coarse and quick."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError
from concertino.reconstruction.analysis._result import OrthogonalPlanes
from concertino.reconstruction.kernels._aligned import aligned_zeros
from concertino.reconstruction.preprocessing._correct import FlatFieldCorrection, fill_padded
from concertino.reconstruction.preprocessing._rows import ChosenRows, ProjectionRows, rows_of_planes
from concertino.reconstruction.preprocessing._whole_projection_filters import (
    half_acquisition_weights,
)
from concertino.reconstruction.settings._layout import slice_width
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.reconstruction.settings._slice_geometry import Lattice, SliceGeometry

from ._backprojection import BackprojectionPlan
from ._gridding import SliceAccumulator


class PlanesKeeper:
    """Adds projections to three planes in upright parallel geometry, a block at a time.

    Columns are averaged and rows left out, so that a plane has at most about `pixels` across.

    Parameters
    ----------
    rows
        The kept rows, raw.
    across
        int64: places among the kept rows of those that the vertical planes show.
    flat_field
        What turns them into attenuation.
    angles, weights
        float64, (projection,), radians: weights as if all were there.
    center
        Column of the rotation axis.
    place
        x and y in px from the axis, and the place of a row among the kept ones.
    step
        Columns that are averaged.
    settings
        Filter and preprocessing.
    pool
        Where to compute.
    """

    def __init__(
        self,
        rows: ProjectionRows,
        across: NDArray[np.int64],
        flat_field: FlatFieldCorrection,
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
        center: float,
        place: tuple[float, float, int],
        step: int,
        settings: ReconstructionSettings,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._rows, self._flat_field = rows, flat_field
        self._angles, self._weights = angles, weights
        self._settings, self._pool = settings, pool
        self._sides: NDArray[np.float32] | None = None
        if settings.half_acquisition:
            self._sides = half_acquisition_weights(rows.columns, center)[:, None]
        self._given = np.zeros(len(angles), dtype=bool)
        self.step = step
        self._columns = rows.columns // step
        coarse = (center - (step - 1) / 2) / step
        size = slice_width(settings, rows.columns) // step
        whole = Lattice(-(size - 1) / 2, 1.0, size)
        # image rows count downwards, from plus to minus y
        at_x, at_y = Lattice(place[0] / step, 1.0, 1), Lattice(-place[1] / step, 1.0, 1)
        slice_, *lines = (
            SliceGeometry(self._columns, coarse, x, y)
            for x, y in ((whole, whole), (whole, at_y), (at_x, whole))
        )
        upright = [BackprojectionPlan(line, settings) for line in lines]
        lanes = BackprojectionPlan.lanes(len(across))
        groups = [across[i : i + lanes] for i in range(0, len(across), lanes)]
        self._parts = [_Part([SliceAccumulator(slice_, settings)], np.array([place[2]]), 1)]
        self._parts += [_Part(upright, group, len(across)) for group in groups]

    def catch_up(self, *, all_of_them: bool, most: int | None = None) -> bool:
        """Add the projections that have come since; only whole blocks, or all of them.

        So many blocks at most; return whether there are more.
        """
        block = self._settings.projections_per_block
        least = 1 if all_of_them else block
        waiting = np.flatnonzero(self._rows.present & ~self._given)
        while len(waiting) >= least and most != 0:
            most = None if most is None else most - 1
            indices, waiting = waiting[:block], waiting[block:]
            for _ in self._pool.map(lambda part, i=indices: self._add(part, i), self._parts):
                pass
            self._given[indices] = True
        return len(waiting) >= least

    def planes(self) -> OrthogonalPlanes:
        """Return the planes of what has come, on the scale of the whole."""
        self.catch_up(all_of_them=True)
        # lost frames are made up for by all others: for a look that is even enough
        scale = np.pi / float(self._weights[self._given].sum()) / self.step
        horizontal, *upright = self._pool.map(lambda part: part.images(scale), self._parts)
        xz = np.concatenate([across[:, 0] for across, _ in upright])
        yz = np.concatenate([along[:, :, 0] for _, along in upright])
        return OrthogonalPlanes(horizontal[0][0], xz, yz, self.step)

    def _add(self, part: "_Part", indices: NDArray[np.int64]) -> None:
        field, rows = self._flat_field.rows(part.rows), slice(0, len(part.rows))
        fine = aligned_zeros((len(indices), self._rows.columns, part.lanes))
        chosen = ChosenRows(self._rows, part.rows)
        fill_padded(chosen, indices, rows, field, self._settings, fine)
        if self._sides is not None:
            fine *= self._sides
        end = self._columns * self.step
        # one sum after the other: NumPy's reductions over few neighbours are slow
        coarse = fine[:, 0 : end : self.step].copy()
        for column in range(1, self.step):
            coarse += fine[:, column : end : self.step]
        coarse *= np.float32(1 / self.step)
        for plan, grid in part.sums:
            padded = aligned_zeros((len(indices), plan.width, part.lanes))
            padded[:, : self._columns] = coarse
            plan.add(grid, padded, self._angles[indices], self._weights[indices])


class _Part:
    """What is summed for some rows, which one plane or two are made of."""

    def __init__(
        self,
        plans: Sequence[SliceAccumulator | BackprojectionPlan],
        rows: NDArray[np.int64],
        like: int,
    ) -> None:
        self.rows, self.lanes = rows, plans[0].lanes(like)  # as for so many rows
        self.sums = [(plan, aligned_zeros(plan.shape_of(like))) for plan in plans]

    def images(self, scale: float) -> list[NDArray[np.float32]]:
        """Return float32, (row, y, x), for each plan."""
        volumes = []
        for plan, grid in self.sums:
            volume = np.empty((len(self.rows), plan.y.count, plan.x.count), np.float32)
            plan.image(grid, volume, scale, np.empty_like(grid))
            volumes.append(volume)
        return volumes


def load_code(rows: int) -> None:
    """Load the compiled code beforehand, so that the first look is as quick as the others.

    Parameters
    ----------
    rows
        Of a vertical plane.
    """
    settings, line, point = ReconstructionSettings(), Lattice(-7.5, 1.0, 16), Lattice(0.0, 1.0, 1)
    row, slice_ = np.zeros(1, np.int64), SliceGeometry(16, 7.5, line, line)
    parts = [
        _Part([SliceAccumulator(slice_, settings)], row, 1),
        _Part([BackprojectionPlan(SliceGeometry(16, 7.5, line, point), settings)], row, rows),
    ]
    for part in parts:
        for plan, grid in part.sums:
            padded = aligned_zeros((1, plan.width, part.lanes))
            plan.add(grid, padded, np.zeros(1), np.ones(1))
        part.images(1.0)


def rows_across(rows: tuple[int, ...], height: int, step: int) -> NDArray[np.int64]:
    """Places among the kept rows of those that vertical planes show: every n-th of the detector's.

    Where these are not all kept, every n-th of those that are.
    """
    kept = {row: place for place, row in enumerate(rows)}
    wanted = [int(row) for row in rows_of_planes(height, step)]
    if len(rows) > 1 and all(row in kept for row in wanted):
        return np.array([kept[row] for row in wanted])
    return rows_of_planes(len(rows), step)


def row_among(rows: tuple[int, ...], wanted: int | None) -> int:
    """Place of a detector row among the kept ones; None: the middle one.

    Raises
    ------
    ParameterError
        The row is not kept.
    """
    if wanted is None:
        return len(rows) // 2
    if wanted not in rows:
        raise ParameterError(
            f"A plane through row {wanted} was asked for, and only {len(rows)} rows are kept "
            f"({min(rows)} to {max(rows)}); choose one of these, or keep more by `slices` or "
            "`region`."
        )
    return rows.index(wanted)
