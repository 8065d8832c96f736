"""Slices in any geometry, by back projection of whole projections onto a volume.

References
----------
L. A. Feldkamp, L. C. Davis and J. W. Kress, Practical cone-beam algorithm,
doi:10.1364/JOSAA.1.000612

L. Helfen et al., On the implementation of computed laminography using synchrotron radiation,
doi:10.1063/1.3596566
"""

import itertools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from concertino.reconstruction.kernels._aligned import aligned_zeros
from concertino.reconstruction.preprocessing._correct import FlatFieldCorrection, fill_padded
from concertino.reconstruction.preprocessing._filters import factor, filter_response, is_odd
from concertino.reconstruction.preprocessing._rows import Rows
from concertino.reconstruction.preprocessing._short_scan import fan_angles, short_scan
from concertino.reconstruction.settings._geometry import projection_matrices
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.reconstruction.settings._slice_geometry import SliceGeometry

from ._coverage import level_helix
from ._helix import row_shares
from ._progress import SliceProgress

_PIECE_BYTES = 2**27  # of filtered projections that are held at a time
_TALL = 16  # planes from which on lines along z are longer than their overhead
_TALL_TILE, _FLAT_TILE = (8, 8, 128), (32, 1, 64)


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
    geometry
        Where the rotation axis is seen, and the slices' columns and rows are.
    z
        float64, (slice,): heights of the slices above the beam's axis, equally spaced.
    settings
        Geometry, filter, preprocessing.
    pool, threads
        Where to compute.
    """

    def __init__(
        self,
        rows: Rows,
        flat_field: FlatFieldCorrection,
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
        geometry: SliceGeometry,
        z: NDArray[np.float64],
        settings: ReconstructionSettings,
        pool: ThreadPoolExecutor,
        threads: int,
    ) -> None:
        self._rows, self._flat_field, self._settings = rows, flat_field, settings
        self._weights, self._pool, self._threads = weights, pool, threads
        self._angles = angles
        center, x, y = geometry.center, geometry.x, geometry.y
        self._short = short_scan(settings, angles, rows.columns, center)
        self._helical = settings.helical
        self._shares = (
            row_shares(settings, angles, center, rows.row_count) if self._helical else None
        )
        self._columns, self._center = rows.columns, center
        self._width = geometry.filter_width
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
        matrices = projection_matrices(settings, angles, center, height) @ to_world
        matrices[:, :2] += matrices[:, 2:]  # in memory the measured elements begin at 1
        self._matrices = matrices
        self._shape = (len(z), y.count, x.count)
        self._tall = len(z) >= _TALL
        self._slabs = _slabs(self._shape, self._tall, matrices)
        self._volume = aligned_zeros((int(np.prod(self._shape)),))
        scale = factor(settings.filter) * (
            1.0 if is_odd(settings.filter) else settings.magnification
        )
        self._response = (filter_response(settings, self._width) * scale).astype(np.complex64)
        # of what an oblique axis sweeps, only this share is new
        pitch = np.asarray(settings.axis_angle_x, dtype=np.float64)
        self._swept = np.broadcast_to(np.abs(np.cos(pitch)), (len(angles),))
        self.early = 1.0  # all is added as it comes
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
        only: NDArray[np.int64] | None = None,
        progress: SliceProgress | None = None,
    ) -> NDArray[np.float32]:
        """Return the volume, float32, (slice, y, x); as `Engine.slices`.

        Some slices alone are made of whole blocks, as soon as there is one.
        """
        if only is not None and self.spread_blocks:
            chosen = self._chosen(only) * np.float32(scale)
            self._level(chosen, [], scale, only)
            return chosen
        todo = list(rest)
        volume = self._volume if last or not todo else self._volume.copy()
        progress = progress or SliceProgress()
        left = progress.left
        for indices, weights in todo:
            self._add(volume, indices, weights)
            progress.add(left / len(todo))
        if volume is self._volume and not last:
            volume = volume.copy()
        volume *= np.float32(scale)
        if self._tall:
            for slab in self._slabs:
                slab.turn_upright(volume)
        whole = volume.reshape(self._shape)
        self._level(whole, todo, scale, None)
        return whole if only is None else whole[only]

    def _level(
        self,
        volume: NDArray[np.float32],
        rest: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]],
        scale: float,
        only: NDArray[np.int64] | None,
    ) -> None:
        """Make up for what a helix did not see, of all slices or of some."""
        if not self._helical:
            return
        size, counted = self._settings.projections_per_block, np.zeros(len(self._weights))
        for block in self.spread_blocks:
            indices = slice(block * size, (block + 1) * size)
            counted[indices] = self._weights[indices]
        for some, weights in rest:
            counted[some] += weights
        planes = range(self._shape[0]) if only is None else only.tolist()
        level_helix(
            volume, planes, self._matrices, counted * scale, self._angles,
            self._rows.row_count, self._shares,
        )  # fmt: skip

    def _chosen(self, only: NDArray[np.int64]) -> NDArray[np.float32]:
        """Slices of what has been added, in whatever order it lies in memory."""
        if not self._tall:
            return self._volume.reshape(self._shape)[only]
        chosen = np.empty((len(only), *self._shape[1:]), np.float32)
        first = 0
        for slab in self._slabs:
            lines = self._volume[slab.elements].reshape(slab.extent)
            for place, wanted in enumerate(only):
                if first <= wanted < first + slab.extent[2]:
                    chosen[place] = lines[:, :, wanted - first]
            first += slab.extent[2]
        return chosen

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
        from concertino.reconstruction.kernels._interpolate import AT_ONCE
        from concertino.reconstruction.kernels._voxel_backprojection import trace

        height, columns = self._rows.row_count, self._columns
        rows = slice(0, height)
        lanes = height + height % 2
        padded = aligned_zeros((len(indices), self._width, lanes))
        fill_padded(self._rows, indices, rows, self._flat_field, self._settings, padded)
        obliquity = self._obliquity()
        if obliquity is not None:
            padded[:, :columns, :height] *= obliquity
        if self._shares is not None:
            padded[:, :columns, :height] *= self._shares.at(indices, np.arange(height))[:, None]
        if self._short is not None:
            fan = fan_angles(self._settings, columns, self._center)
            padded[:, :columns] *= self._short.shares(self._angles[indices], fan)[:, :, None]
        spectra = scipy.fft.fft(
            padded.view(np.complex64), axis=1, overwrite_x=True, workers=self._threads
        )
        scales = (weights * self._swept[indices]).astype(np.float32)
        spectra *= self._response[None, :, None] * scales[:, None, None]
        filtered = scipy.fft.ifft(spectra, axis=1, overwrite_x=True, workers=self._threads)
        seen = filtered.view(np.float32)[:, :columns, :height]
        if not self._tall:
            seen = seen.transpose(0, 2, 1)
        shape = seen.shape[1:]
        # edges are repeated; slow elements begin on a cache line; there is room behind the last
        stride = -(-(shape[1] + 2) // AT_ONCE) * AT_ONCE
        size = len(indices) * (shape[0] + 2) * stride
        memory = aligned_zeros((size + 3 * AT_ONCE,))
        projections = memory[:size].reshape(len(indices), shape[0] + 2, stride)
        projections[:, 1:-1, 1 : shape[1] + 1] = seen
        projections[:, 0], projections[:, -1] = projections[:, 1], projections[:, -2]
        projections[:, :, 0] = projections[:, :, 1]
        projections[:, :, shape[1] + 1] = projections[:, :, shape[1]]
        depths = (0, 0) if self._settings.source_distance is not None else (0,)

        def one_row(part: tuple[_Slab, NDArray[np.float64], int]) -> None:
            slab, matrices, row = part
            elements = volume[slab.elements]
            trace(
                projections, shape, matrices, elements, slab.extent, slab.strides, slab.tile,
                row, depths,
            )  # fmt: skip

        todo = []
        for slab in self._slabs:
            matrices = np.ascontiguousarray(slab.matrices[indices])
            rows_of_tiles = -(-slab.extent[0] // slab.tile[0])
            todo += [(slab, matrices, row) for row in range(rows_of_tiles)]
        for _ in self._pool.map(one_row, todo):
            pass


def scratch_bytes(
    slices: int, geometry: SliceGeometry, height: int, settings: ReconstructionSettings
) -> int:
    """Memory of a piece of projections, or of a slab that is turned upright, which comes later."""
    columns, width = geometry.columns, geometry.filter_width
    piece = min(settings.projections_per_block, max(1, _PIECE_BYTES // (width * (height + 1) * 8)))
    projections = piece * (height * (width * 8 + columns * 2) + (columns + 2) * (height + 16) * 4)
    planes = -(-slices // -(-slices // _TALL_TILE[2])) if slices >= _TALL else 0
    return max(projections, planes * geometry.x.count * geometry.y.count * 4)


@dataclass(frozen=True, eq=False)
class _Slab:
    """Some planes of a volume, in the order in memory that suits lines through them.

    Attributes
    ----------
    elements
        Where the slab is in the flat volume.
    extent, strides, tile
        As in `trace`.
    matrices
        float64, (projection, 3, 4): from indices along these axes to the detector's slow and fast one.
    """

    elements: slice
    extent: tuple[int, int, int]
    strides: tuple[int, int]
    tile: tuple[int, int, int]
    matrices: NDArray[np.float64]

    def turn_upright(self, volume: NDArray[np.float32]) -> None:
        """Reorder (y, x, z), in which lines were added, to (z, y, x)."""
        lines = volume[self.elements].reshape(self.extent)
        planes = volume[self.elements].reshape((self.extent[2], *self.extent[:2]))
        planes[:] = lines.transpose(2, 0, 1).copy()


def _slabs(shape: tuple[int, int, int], tall: bool, matrices: NDArray[np.float64]) -> list[_Slab]:
    """Cut a volume (z, y, x) into slabs; `matrices` project indices (x, y, z, 1)."""
    planes, height, width = shape
    if not tall:  # lines along x, the detector's rows are contiguous
        swapped = np.ascontiguousarray(matrices[:, [1, 0, 2]][:, :, [1, 2, 0, 3]])
        extent, strides = (height, planes, width), (width, width * height)
        return [_Slab(slice(None), extent, strides, _FLAT_TILE, swapped)]
    edges = np.linspace(0, planes, -(-planes // _TALL_TILE[2]) + 1).astype(int).tolist()
    slabs = []
    for first, last in itertools.pairwise(edges):
        moved = matrices[:, :, [1, 0, 2, 3]]
        moved[:, :, 3] += matrices[:, :, 2] * first
        plane = height * width
        extent, strides = (height, width, last - first), (width * (last - first), last - first)
        slabs.append(_Slab(slice(first * plane, last * plane), extent, strides, _TALL_TILE, moved))
    return slabs
