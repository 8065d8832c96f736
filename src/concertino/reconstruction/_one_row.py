"""Slices of one row of a scan, with several settings."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ._backends import chosen_backend
from ._blocks import corrections
from ._layout import layout_of
from ._rows import Rows
from ._settings import ReconstructionSettings
from ._slicing import Slicing

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from ._lanes import LaneSlices


class OneRow(Slicing):
    """The part of `Reconstructor` that knows what a strip of slices of one row needs.

    Parameters
    ----------
    settings, num_projections, frame_shape, angles, keep_rows, live
        As for `Reconstructor`.
    """

    def _slices_at_once(self, settings: ReconstructionSettings) -> int:
        """How many jobs of one slice go side by side: one for each thread, if there is memory."""
        from ._memory import job_bytes

        each = job_bytes(
            self.backend, layout_of(settings, self.frame_shape), settings,
            (self.num_projections, *self.frame_shape), 1, self._budget, self._own_bytes(settings),
            self._live,
        )  # fmt: skip
        return max(1, min(self._threads, (self._budget - self._held) // each))

    def _own_bytes(self, settings: ReconstructionSettings) -> int:
        """Memory for treated rows and the result with other settings; raw rows are shared."""
        layout = layout_of(settings, self.frame_shape)
        return layout.bytes(self.num_projections, self.frame_shape[1], 0)

    def _has_lanes(self, settings: ReconstructionSettings) -> bool:
        """Return whether a slice is made on a grid, of rows that are the same for all axes."""
        other = settings.general or settings.half_acquisition or chosen_backend(settings)._make
        return not other

    def _lane_slices(self, pool: ThreadPoolExecutor, spare_bytes: int) -> "LaneSlices":
        """Return what makes a slice of the first row with each of several axes or cut-offs."""
        from ._condition import conditioned
        from ._gridding import lattice
        from ._lanes import LaneSlices

        self._check_ready(1)
        rows: Rows = self._needed_rows()
        field, layout, settings = self._field(), self._layout, self.settings
        if layout.conditioned:
            rows, field = conditioned(
                rows, field, settings, layout.sliced, self.axis().center_px, self._threads
            )
        present, weights = np.flatnonzero(self._rows.present), self._scan_angles.weights
        scale, parts = corrections(
            present, [], settings.projections_per_block, weights,
            self._scan_angles.weights_of(present),
        )  # fmt: skip
        return LaneSlices(
            rows, field, self.angles, parts, scale, lattice(layout.x), lattice(layout.y), pool,
            self._threads, spare_bytes,
        )  # fmt: skip

    def _first_row(self) -> tuple[int]:
        chosen = self.settings.slices
        if chosen is not None:
            return (chosen[0],)
        by_region = self.settings.region is not None and self.settings.z_parameter is None
        rows = [int(row) for row in self.slice_rows] if by_region else list(self.rows)
        return (rows[len(rows) // 2],)
