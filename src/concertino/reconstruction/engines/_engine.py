"""Grids of all slices, filled block by block in the order of frame indices."""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.kernels._aligned import aligned_zeros
from concertino.reconstruction.kernels._scratch import Scratch
from concertino.reconstruction.preprocessing._correct import FlatFieldCorrection, fill_padded
from concertino.reconstruction.preprocessing._rows import Rows
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.runtime._kept_memory import large_array

from ._gridding import SliceAccumulator, groups_of
from ._progress import SliceProgress


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
    live
        Groups of slices that have a grid of their own; see `live_groups`.

    Attributes
    ----------
    early
        For which share of the slices the blocks are spread as they come.
    """

    def __init__(
        self,
        plan: SliceAccumulator,
        rows: Rows,
        flat_field: FlatFieldCorrection,
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
        settings: ReconstructionSettings,
        pool: ThreadPoolExecutor,
        threads: int,
        live: int,
    ) -> None:
        self.plan, self.flat_field = plan, flat_field
        self._rows, self._angles, self._weights, self._settings = rows, angles, weights, settings
        self._pool, self._threads = pool, threads
        count = rows.row_count
        self._groups = groups_of(count)
        self._group_of = np.repeat(np.arange(len(self._groups)), list(map(_size, self._groups)))
        self._most = live
        self._grids: dict[int, NDArray[np.float32]] = {
            group: self._new_grid(group) for group in range(live)
        }
        self._local = Scratch()
        self.early = live / len(self._groups)
        self.spread_blocks: list[int] = []

    def spread(self, block: int) -> None:
        """Spread a complete block of frame indices onto the live grids."""
        indices = self._indices(block)
        self._on_groups(
            list(self._grids),
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
        only: NDArray[np.int64] | None = None,
        progress: SliceProgress | None = None,
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
        only
            int64: places of the slices that are wanted; None: all. Their groups have grids of their
            own from then on, as far as there is memory.
        progress
            Where this is counted: it is all that is left.
        """
        extra = list(rest)
        whole = [(self._indices(b), self._weights[self._indices(b)]) for b in self.spread_blocks]
        wanted = np.arange(self._rows.row_count) if only is None else only
        groups = sorted({int(group) for group in self._group_of[wanted]})
        if only is not None and not last:
            self._keep_up_to_date(groups, whole)
        size = (self.plan.y.count, self.plan.x.count)
        volume = large_array((len(wanted), *size))
        progress = progress or SliceProgress()
        share = progress.left / len(groups)

        def one(group: int, pool: ThreadPoolExecutor | None) -> None:
            half_way = None
            if group in self._grids:
                grid, todo = self._grids[group], extra
                if not last:
                    half_way = self._scratch("grid", self._grid_shape(group))
                    if todo:
                        half_way[:] = grid
                        grid, half_way = half_way, None
            else:
                grid, todo = self._cleared_grid(group), whole + extra
            for indices, weights in todo:
                self._add(grid, group, indices, weights, pool)
                progress.add(0.5 * share / len(todo))
            rest = 0.5 * share if todo else share
            how = (scale, half_way, pool, self._threads, progress, rest)
            rows = self._groups[group]
            if only is None:
                self.plan.image(grid, volume[rows], *how)
                return
            target = np.empty((_size(rows), *size), np.float32)
            self.plan.image(grid, target, *how)
            for place, row in enumerate(wanted):
                if rows.start <= row < rows.stop:
                    volume[place] = target[row - rows.start]

        self._on_groups(groups, one, progress)
        return volume

    def _grid_shape(self, group: int) -> tuple[int, int, int]:
        return self.plan.shape_of(_size(self._groups[group]))

    def _new_grid(self, group: int) -> NDArray[np.float32]:
        return aligned_zeros(self._grid_shape(group))

    def _keep_up_to_date(
        self, groups: list[int], whole: list[tuple[NDArray[np.int64], NDArray[np.float64]]]
    ) -> None:
        """Give groups that are looked at grids of their own, in place of others if need be."""
        looked_at = set(groups[: self._most])
        for group in sorted(looked_at - set(self._grids)):
            if len(self._grids) == self._most:
                del self._grids[next(other for other in self._grids if other not in looked_at)]
            grid = self._new_grid(group)
            for indices, weights in whole:
                self._add(grid, group, indices, weights, self._pool if self._threads > 1 else None)
            self._grids[group] = grid

    def _scratch(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Memory of this thread that is used again and again."""
        memory = self._local.memory
        size = math.prod(shape)
        if name in memory and memory[name].size < size:
            del memory[name]  # it goes before there is another
        if name not in memory:
            memory[name] = aligned_zeros((size,))
        return memory[name][:size].reshape(shape)

    def _cleared_grid(self, group: int) -> NDArray[np.float32]:
        """A grid of this thread to which nothing was added; a new one comes empty from the system."""
        before = self._local.memory.get("grid")
        grid = self._scratch("grid", self._grid_shape(group))
        if self._local.memory["grid"] is before:
            grid[:] = 0.0
        return grid

    def _indices(self, block: int) -> NDArray[np.int64]:
        size = self._settings.projections_per_block
        return np.arange(block * size, min((block + 1) * size, len(self._angles)))

    def _on_groups(
        self,
        groups: Sequence[int],
        function: Callable[[int, ThreadPoolExecutor | None], None],
        progress: SliceProgress | None = None,
    ) -> None:
        """Run side by side: groups when there are enough of them, else parts of each."""
        if len(groups) < self._threads:
            for group in groups:
                function(group, self._pool if self._threads > 1 else None)
        else:
            (progress or SliceProgress()).wait(
                [self._pool.submit(function, group, None) for group in groups]
            )

    def _add(
        self,
        grid: NDArray[np.float32],
        group: int,
        indices: NDArray[np.int64],
        weights: NDArray[np.float64],
        pool: ThreadPoolExecutor | None,
    ) -> None:
        rows = self._groups[group]
        lanes = self.plan.lanes(_size(rows))
        padded = self._scratch("padded", (len(indices), self.plan.width, lanes))
        fill_padded(self._rows, indices, rows, self.flat_field, self._settings, padded)
        self.plan.add(grid, padded, self._angles[indices], weights, pool, self._threads)


def _size(group: slice) -> int:
    return int(group.stop - group.start)
