"""Grids of all slices, filled block by block in the order of frame indices."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ._correct import FlatField, fill_padded
from ._gridding import aligned_zeros
from ._plan import Plan
from ._rows import ProjectionRows
from ._settings import ReconstructionSettings


class Engine:
    """Turns rows into slices with one plan and one flat field.

    Slices are taken in groups that lie side by side in memory. As many groups as fit the memory have
    a grid of their own that is filled while projections arrive; the others are gridded from the
    kept rows when slices are asked for. Either way a grid receives the blocks of projections in one
    order, which is why the result does not depend on how frames were batched.

    Parameters
    ----------
    plan
        Sizes and filter.
    rows
        The kept rows.
    flat_field
        What turns them into attenuation.
    angles, weights
        float64, (projection,), radians: weights as if all were there.
    settings
        Preprocessing and block size.
    pool, threads
        Where to compute.
    grid_bytes
        Memory for grids.
    """

    def __init__(
        self,
        plan: Plan,
        rows: ProjectionRows,
        flat_field: FlatField,
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
        settings: ReconstructionSettings,
        pool: ThreadPoolExecutor,
        threads: int,
        grid_bytes: int,
    ) -> None:
        self.plan, self.flat_field = plan, flat_field
        self._rows, self._angles, self._weights, self._settings = rows, angles, weights, settings
        self._pool, self._threads = pool, threads
        count = rows.row_count
        self._lanes = plan.lanes(count)
        self._groups = [
            slice(start, min(start + self._lanes, count)) for start in range(0, count, self._lanes)
        ]
        live = max(0, grid_bytes // plan.grid_bytes(self._lanes))
        self._grids: list[NDArray[np.float32]] = [
            aligned_zeros((*plan.grid_shape, self._lanes)) for _ in self._groups[: int(live)]
        ]
        self._local = threading.local()
        self.spread_blocks: list[int] = []

    def spread(self, block: int) -> None:
        """Spread a complete block of frame indices onto the live grids."""
        indices = self._indices(block)
        self._on_groups(
            range(len(self._grids)),
            lambda group, pool: self._add(
                self._grids[group], group, indices, self._weights[indices], pool
            ),
        )
        self.spread_blocks.append(block)

    def slices(
        self,
        rest: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]],
        scale: float,
        *,
        last: bool = False,
    ) -> NDArray[np.float32]:
        """Return the volume, float32, (slice, y, x), with `rest` added that is not yet spread.

        Parameters
        ----------
        rest
            Frame indices and weights of what comes on top of the blocks that were spread.
        scale
            Factor of the result.
        last
            The grids are not needed any more: they are transformed in place, and spread nothing
            after this.
        """
        extra = list(rest)
        whole = [(self._indices(b), self._weights[self._indices(b)]) for b in self.spread_blocks]
        shape = (self._rows.row_count, self.plan.y.count, self.plan.x.count)
        volume = np.empty(shape, np.float32)

        def one(group: int, pool: ThreadPoolExecutor | None) -> None:
            half_way = None
            if group < len(self._grids):
                grid, todo = self._grids[group], extra
                if not last:
                    half_way = self._scratch("grid", self.plan.grid_shape)
                    if todo:
                        half_way[:] = grid
                        grid, half_way = half_way, None
            else:
                grid, todo = self._scratch("grid", self.plan.grid_shape), whole + extra
                grid[:] = 0.0
            for indices, weights in todo:
                self._add(grid, group, indices, weights, pool)
            target = volume[self._groups[group]]
            self.plan.image(grid, target, scale, pool, self._threads, half_way)

        self._on_groups(range(len(self._groups)), one)
        return volume

    def _scratch(self, name: str, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Memory of this thread that is used again and again, (*shape, lane)."""
        if not hasattr(self._local, name):
            setattr(self._local, name, aligned_zeros((*shape, self._lanes)))
        kept: NDArray[np.float32] = getattr(self._local, name)
        return kept

    def _indices(self, block: int) -> NDArray[np.int64]:
        size = self._settings.projections_per_block
        return np.arange(block * size, min((block + 1) * size, len(self._angles)))

    def _on_groups(
        self, groups: range, function: Callable[[int, ThreadPoolExecutor | None], None]
    ) -> None:
        """Run side by side: groups when there are enough of them, else parts of each."""
        if len(groups) < self._threads:
            for group in groups:
                function(group, self._pool if self._threads > 1 else None)
        else:
            for _ in self._pool.map(lambda group: function(group, None), groups):
                pass

    def _add(
        self,
        grid: NDArray[np.float32],
        group: int,
        indices: NDArray[np.int64],
        weights: NDArray[np.float64],
        pool: ThreadPoolExecutor | None,
    ) -> None:
        rows = self._groups[group]
        padded = self._scratch("padded", (self._settings.projections_per_block, self.plan.width))
        padded = padded[: len(indices)]
        raw = self._rows.part(indices, rows)
        gains = self.flat_field.gains(indices, len(self._angles), rows)
        fill_padded(raw, self.flat_field, gains, rows, self._settings, padded)
        self.plan.add(grid, padded, self._angles[indices], weights, pool, self._threads)
