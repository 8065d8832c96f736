"""Slices in any geometry, by back projection of whole projections onto a volume.

References
----------
L. A. Feldkamp, L. C. Davis and J. W. Kress, Practical cone-beam algorithm,
doi:10.1364/JOSAA.1.000612

L. Helfen et al., On the implementation of computed laminography using synchrotron radiation,
doi:10.1063/1.3596566
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ._correct import FlatField, fill_padded
from ._filters import factor, filter_response, is_odd
from ._geometry import projection_matrices
from ._gridding import Lattice, aligned_zeros, bands, filter_width, run_on
from ._rows import ProjectionRows
from ._settings import ReconstructionSettings

_PIECE_BYTES = 2**27  # of filtered projections that are held at a time


class VolumeEngine:
    """The counterpart of `Engine` for geometries in which a slice needs many detector rows.

    Parameters
    ----------
    rows
        The kept rows: all of the detector.
    flat_field
        What turns them into attenuation.
    angles, weights
        float64, (projection,), radians.
    center
        Column where the rotation axis is seen.
    x, y
        Positions of the slices' columns and rows.
    z
        float64, (slice,): heights of the slices above the beam's axis, equally spaced.
    settings
        Geometry, filter, preprocessing.
    pool, threads
        Where to compute.
    """

    def __init__(
        self,
        rows: ProjectionRows,
        flat_field: FlatField,
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
        center: float,
        x: Lattice,
        y: Lattice,
        z: NDArray[np.float64],
        settings: ReconstructionSettings,
        pool: ThreadPoolExecutor,
        threads: int,
    ) -> None:
        self._rows, self._flat_field, self._settings = rows, flat_field, settings
        self._weights, self._pool, self._threads = weights, pool, threads
        self._columns, self._center = rows.columns, center
        self._width = filter_width(rows.columns, center, x, y)
        step = float(z[1] - z[0]) if len(z) > 1 else 1.0
        to_world = np.array(
            [
                [x.step, 0, 0, x.start],
                [0, -y.step, 0, -y.start],
                [0, 0, step, z[0]],
                [0, 0, 0, 1.0],
            ]
        )
        height = rows.row_count
        self._matrices = projection_matrices(settings, angles, center, height) @ to_world
        self._volume = np.zeros((y.count, x.count, len(z)), np.float32)
        response = filter_response(
            settings.filter, self._width, settings.cutoff, settings.butterworth_order
        )
        scale = factor(settings.filter) * (
            1.0 if is_odd(settings.filter) else self._magnification()
        )
        self._response = (response * scale).astype(np.complex64)
        # of what an oblique axis sweeps, only this share is new
        pitch = np.asarray(settings.axis_angle_x, dtype=np.float64)
        self._swept = np.broadcast_to(np.abs(np.cos(pitch)), (len(angles),))
        self.spread_blocks: list[int] = []

    def spread(self, block: int) -> None:
        """Add a complete block of frame indices to the volume."""
        size = self._settings.projections_per_block
        indices = np.arange(block * size, min((block + 1) * size, len(self._weights)))
        self._add(self._volume, indices, self._weights[indices])
        self.spread_blocks.append(block)

    def slices(
        self,
        rest: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]],
        scale: float,
        *,
        last: bool = False,
    ) -> NDArray[np.float32]:
        """Return the volume, float32, (slice, y, x); as `Engine.slices`."""
        todo = list(rest)
        volume = self._volume if last or not todo else self._volume.copy()
        for indices, weights in todo:
            self._add(volume, indices, weights)
        return np.ascontiguousarray(volume.transpose(2, 0, 1)) * np.float32(scale)

    def _magnification(self) -> float:
        distance = self._settings.source_distance
        if distance is None:
            return 1.0
        return (distance + self._settings.detector_distance) / distance

    def _obliquity(self) -> NDArray[np.float32] | None:
        """Cosine of each ray with the beam's axis, float32, (column, row); None: parallel beam."""
        settings = self._settings
        if settings.source_distance is None:
            return None
        reach = settings.source_distance + settings.detector_distance
        height = self._rows.row_count
        middle = (height - 1) / 2 if settings.center_row is None else settings.center_row
        across = (np.arange(self._columns) - self._center)[:, None] / reach
        down = (np.arange(height) - middle)[None] / reach
        return np.asarray(1.0 / np.sqrt(1.0 + across**2 + down**2), dtype=np.float32)

    def _add(
        self, volume: NDArray[np.float32], indices: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> None:
        piece = max(1, _PIECE_BYTES // (self._width * (self._rows.row_count + 1) * 8))
        for first in range(0, len(indices), piece):
            part = slice(first, first + piece)
            self._add_piece(volume, indices[part], weights[part])

    def _add_piece(
        self, volume: NDArray[np.float32], indices: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> None:
        from ._trace import trace

        height, columns = self._rows.row_count, self._columns
        rows = slice(0, height)
        lanes = height + height % 2
        padded = aligned_zeros((len(indices), self._width, lanes))
        gains = self._flat_field.gains(indices, len(self._matrices), rows)
        raw = self._rows.part(indices, rows)
        fill_padded(raw, self._flat_field, gains, rows, self._settings, padded)
        obliquity = self._obliquity()
        if obliquity is not None:
            padded[:, :columns, :height] *= obliquity
        spectra = scipy.fft.fft(
            padded.view(np.complex64), axis=1, overwrite_x=True, workers=self._threads
        )
        scales = (weights * self._swept[indices]).astype(np.float32)
        spectra *= self._response[None, :, None] * scales[:, None, None]
        filtered = scipy.fft.ifft(spectra, axis=1, overwrite_x=True, workers=self._threads)
        projections = np.zeros((len(indices), columns + 1, height + 1), np.float32)
        projections[:, :columns, :height] = filtered.view(np.float32)[:, :columns, :height]
        matrices = np.ascontiguousarray(self._matrices[indices])
        weighted = self._settings.source_distance is not None

        def one_band(band: NDArray[np.int64]) -> None:
            trace(
                projections, matrices, (columns, height), weighted, volume,
                int(band[0]), int(band[1]),
            )  # fmt: skip

        run_on(self._pool, one_band, bands(volume.shape[0], 4 * self._threads))
