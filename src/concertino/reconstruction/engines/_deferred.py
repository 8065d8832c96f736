"""The engine for back ends that compute when slices are asked for, from the rows that are kept."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.backends._back_projector import BackProjector
from concertino.reconstruction.preprocessing._correct import FlatFieldCorrection, fill_padded
from concertino.reconstruction.preprocessing._rows import Rows
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.runtime._kept_memory import large_array

from ._progress import SliceProgress

WORKSPACE_BYTES = 2**27  # of rows and images that a back end has at a time


class DeferredEngine:
    """The counterpart of `Engine` for a `BackProjector`.

    Nothing is computed while projections arrive, so the result cannot depend on how they came: they
    are added in the order of their indices, always the same number at a time.

    Parameters
    ----------
    projector
        Who computes.
    rows
        The kept rows; each becomes a slice.
    flat_field
        What turns them into attenuation.
    angles
        float64, (projection,), radians.
    settings
        Preprocessing.
    pool
        Where rows are corrected.
    """

    def __init__(
        self,
        projector: BackProjector,
        rows: Rows,
        flat_field: FlatFieldCorrection,
        angles: NDArray[np.float64],
        settings: ReconstructionSettings,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._projector, self._rows, self._flat_field = projector, rows, flat_field
        self._angles, self._settings, self._pool = angles, settings, pool
        self._shape = (rows.row_count, *projector.image_shape)
        self.early = 0.0
        self.spread_blocks: list[int] = []

    def spread(self, block: int) -> None:
        """Leave a complete block where it is, among the kept rows: `slices` is told of it again."""

    def slices(
        self,
        rest: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]],
        scale: float,
        *,
        last: bool = False,
        only: NDArray[np.int64] | None = None,
        progress: SliceProgress | None = None,
    ) -> NDArray[np.float32]:
        """Return the volume, float32, (slice, y, x), of the projections in `rest`; as `Engine.slices`."""
        parts = list(rest)
        indices = np.concatenate([some for some, _ in parts])
        weights = (np.concatenate([some for _, some in parts]) * scale).astype(np.float32)
        wanted = np.arange(self._shape[0]) if only is None else only
        volume = large_array((len(wanted), *self._shape[1:]))
        together = slices_together(self._projector, len(wanted))
        progress = progress or SliceProgress()
        share = progress.left / len(wanted)
        for first in range(0, len(wanted), together):
            group = wanted[first : first + together]
            rows, images = self._projector.workspace(len(group))
            images[:] = 0.0
            for begin in range(0, len(indices), self._projector.projections):
                some = slice(begin, begin + self._projector.projections)
                self._fill(rows, indices[some], weights[some], group)
                self._projector.add(self._angles[indices[some]], self._pool)
            volume[first : first + together] = images
            progress.add(share * len(group))
        return volume

    def _fill(
        self,
        rows: NDArray[np.float32],
        indices: NDArray[np.int64],
        weights: NDArray[np.float32],
        group: NDArray[np.int64],
    ) -> None:
        """Write corrected, weighted and padded rows of some slices into a workspace."""

        def one(place: int) -> None:
            row = slice(int(group[place]), int(group[place]) + 1)
            target = rows[place, : len(indices)]
            fill_padded(
                self._rows, indices, row, self._flat_field, self._settings, target[:, :, None]
            )
            target *= weights[:, None]

        for _ in self._pool.map(one, range(len(group))):
            pass


def slices_together(projector: BackProjector, slices: int) -> int:
    """Return how many of some slices a workspace has room for."""
    return min(slices, max(1, WORKSPACE_BYTES // _slice_bytes(projector)))


def workspace_bytes(projector: BackProjector, slices: int) -> int:
    """Return the memory of a workspace."""
    return slices_together(projector, slices) * _slice_bytes(projector)


def _slice_bytes(projector: BackProjector) -> int:
    height, width = projector.image_shape
    return (projector.projections * projector.width + height * width) * 4
