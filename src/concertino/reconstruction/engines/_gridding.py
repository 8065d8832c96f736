"""Parallel-beam back projection through a Fourier grid.

By the projection-slice theorem a projection's spectrum is a line through the slice's. Lines are
spread onto an oversampled Cartesian grid with a short kernel, the grid is transformed, and the
kernel's own transform is divided out.

References
----------
A. H. Barnett, J. Magland and L. af Klinteberg, A parallel nonuniform fast Fourier transform library
based on an "exponential of semicircle" kernel, doi:10.1137/18M120885X

F. Marone and M. Stampanoni, Regridding reconstruction algorithm for real-time tomographic imaging,
doi:10.1107/S0909049512032864
"""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from concertino.reconstruction.kernels._aligned import aligned_zeros
from concertino.reconstruction.preprocessing._filters import factor, filter_response
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.reconstruction.settings._slice_geometry import SliceGeometry

from ._progress import SliceProgress

OVERSAMPLING = 1.25  # of a whole slice: what lies at its very edge is outside of the view anyway
WINDOW_OVERSAMPLING = 2.0  # of a part of it: what lies just beyond must not fold in
KERNEL_WIDTH = 4
MARGIN = 4  # cells around a grid: what a kernel at its edge reaches belongs to the other end
MOST_LANES = 8
TABLE_STEPS = 1024
_CACHED = 2**20  # bytes that a core keeps at hand
# Lines that SciPy transforms side by side; what is left over takes three times as long.
_TOGETHER = 4
_FEWEST_COLUMNS = 16  # that are worth a look at a row's page: rows of a large grid are pages apart
PHASE_BLOCK = 64
_BANDS_OF_HALF = 4  # for each thread


def groups_of(slices: int) -> list[slice]:
    """Return which of some slices share a grid: eight, and then the rest but for one of an odd number.

    Two are the real and the imaginary part of one image. Who has no partner is real: half of a grid does for it,
    whatever other slices are wanted, so that its bits are the same when these are made elsewhere.
    """
    pairs = slices - slices % 2
    edges = [*range(0, pairs, MOST_LANES), pairs, *range(slices, pairs, -1)]
    return [slice(first, last) for first, last in pairwise(edges)]


class SliceAccumulator:
    """All that is known before the first projection: sizes, tables, filter.

    Parameters
    ----------
    geometry
        Where detector, rotation axis and slices are.
    settings
        Filter and padding.
    """

    def __init__(self, geometry: SliceGeometry, settings: ReconstructionSettings) -> None:
        self.columns, self.center = geometry.columns, geometry.center
        self.x, self.y = x, y = geometry.x, geometry.y
        self.width = geometry.filter_width
        whole = min(x.reach, y.reach) >= self.columns / 2 - 1
        oversampling = OVERSAMPLING if whole else WINDOW_OVERSAMPLING
        cells_y, cells_x = _grid_size(y.count, oversampling), _grid_size(x.count, oversampling)
        self.grid_shape = (cells_y + 2 * MARGIN, cells_x + 2 * MARGIN)
        self._half_rows = cells_y // 2 + MARGIN
        self.response = self.response_of(settings)
        self._factor = factor(settings.filter)
        beta = _beta(oversampling)
        self.table = _kernel_table(beta)
        self.slope_x = x.step * cells_x / self.width
        self.slope_y = y.step * cells_y / self.width
        # all of them, but of image pixels that are wider than the detector's
        widest = max(x.step, y.step, 1.0)
        self.limit = int(self.width / 2 / widest + 1e-9)
        self.across = self.down = _correction(x.count, cells_x, beta)
        if (y.count, cells_y) != (x.count, cells_x):
            self.down = _correction(y.count, cells_y, beta)
        self._down_half = self.down * _signs(y.count).astype(np.float32)

    def response_of(self, settings: ReconstructionSettings) -> NDArray[np.float32]:
        """Response of a filter, float32, (`width`,), in the order of `fftfreq`."""
        scaled = (filter_response(settings, self.width) / self.width).astype(np.float32)
        scaled[self.width // 2] /= 2.0  # the highest comes from both ends of its line
        return scaled

    @staticmethod
    def lanes(slices: int) -> int:
        """How many slices lie side by side in memory when this many are wanted."""
        return next(count for count in (2, 4, MOST_LANES) if slices <= count or count == MOST_LANES)

    def shape_of(self, slices: int) -> tuple[int, int, int]:
        """Shape (row, column, lane) of a grid for some slices; of one, the frequencies that are not negative in y.

        Its others are the complex conjugates of these.
        """
        rows = self._half_rows if slices == 1 else self.grid_shape[0]
        return (rows, self.grid_shape[1], self.lanes(slices))

    def bytes_of(self, slices: int) -> int:
        """Memory of a grid for some slices."""
        rows, columns, lanes = self.shape_of(slices)
        return rows * columns * lanes * 4

    def _is_half(self, grid: NDArray[np.float32]) -> bool:
        return len(grid) == self._half_rows

    def add(
        self,
        grid: NDArray[np.float32],
        padded: NDArray[np.float32],
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
        pool: ThreadPoolExecutor | None = None,
        threads: int = 1,
    ) -> None:
        """Filter and spread a block of projections onto a grid.

        Parameters
        ----------
        grid
            float32, (row, column, lane), see `shape_of`; changed.
        padded
            float32, (projection, `width`, lane), padded rows; overwritten.
        angles, weights
            float64, (projection,), radians.
        pool, threads
            Where to compute, in how many bands; None: here.
        """
        spectra = scipy.fft.fft(
            padded.view(np.complex64), axis=1, overwrite_x=True, workers=threads if pool else 1
        ).view(np.float32)
        self.spread(grid, spectra, self.response, angles, weights, pool, threads)

    def spread(
        self,
        grid: NDArray[np.float32],
        spectra: NDArray[np.float32],
        response: NDArray[np.float32],
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
        pool: ThreadPoolExecutor | None,
        threads: int,
    ) -> None:
        """Spread spectra (projection, frequency, lane) times a response (frequency,) onto a grid.

        Frequencies are in the order of `fftfreq`; the highest may be there once, or with both signs.
        The rest is as for `add`.
        """
        from concertino.reconstruction.kernels._spread import spread

        lanes = spectra.shape[2]
        cosines, sines = np.cos(angles), np.sin(angles)
        slopes = np.stack([cosines * self.slope_x, sines * self.slope_y], axis=1)
        # the pixel that the grid calls its origin lies beside the rotation axis
        origin_x = self.x.start + (self.x.count // 2) * self.x.step
        origin_y = self.y.start + (self.y.count // 2) * self.y.step
        shift = self.center + origin_x * cosines - origin_y * sines
        turn = 2j * np.pi / self.width * shift[:, None]
        lowest = -(self.width // 2)
        coarse = np.exp(turn * np.arange(lowest, self.width // 2 + 1, PHASE_BLOCK)) * self._factor
        coarse = coarse.astype(np.complex64)
        fine = np.exp(turn * np.arange(PHASE_BLOCK)).astype(np.complex64)
        scales = weights.astype(np.float32)

        half = self._is_half(grid)
        middle = 0 if half else len(grid) // 2

        def one_band(band: NDArray[np.int64]) -> None:
            spread(
                spectra, slopes, coarse, fine, response, scales, self.limit, self.table, grid,
                middle, band, (0,) * lanes, (0,) * KERNEL_WIDTH, (0,),
            )  # fmt: skip

        # of a half, the first rows have most to do: who is done takes another of several bands
        count = threads * (_BANDS_OF_HALF if half else 1) if pool else 1
        run_on(pool, one_band, bands(len(grid), count))

    def image(
        self,
        grid: NDArray[np.float32],
        volume: NDArray[np.float32] | Sequence[NDArray[np.float32]],
        scale: float,
        half_way: NDArray[np.float32] | None = None,
        pool: ThreadPoolExecutor | None = None,
        threads: int = 1,
        progress: SliceProgress | None = None,
        share: float = 1.0,
    ) -> None:
        """Transform a grid into slices, in pieces that stay in the cache.

        Parameters
        ----------
        grid
            float32, (row, column, lane).
        volume
            float32, (slice, y, x), or one (y, x) after the other, written; at most as many slices as the grid has lanes.
        scale
            Factor of the result.
        half_way
            Memory like `grid` that may be overwritten; None: the grid itself.
        pool, threads
            Where to compute, in how many bands; None: here.
        progress, share
            Where to count this, and for how much.
        """
        from concertino.reconstruction.kernels._spread import unpack

        progress = progress or SliceProgress()
        x, y = self.x.count, self.y.count
        half = self._is_half(grid)
        source = grid.view(np.complex64)
        between = (grid if half_way is None else half_way).view(np.complex64)
        between = between[: 1 - MARGIN] if half else between[MARGIN:-MARGIN]
        down = self._down_half if half else self.down
        left = x // 2
        height, lanes = self.grid_shape[0] - 2 * MARGIN, source.shape[2]
        places = (np.arange(y) - y // 2) % height
        rows_at_once = _lines_at_once(self.grid_shape[1] * lanes * 8, _TOGETHER)
        columns_at_once = _lines_at_once(height * lanes * 8, _FEWEST_COLUMNS)
        folded = _folded_half(source) if half else _folded_whole(source)

        def some_rows(band: NDArray[np.int64]) -> None:
            for first in range(int(band[0]), int(band[1]), rows_at_once):
                rows = slice(first, min(first + rows_at_once, int(band[1])))
                lines = scipy.fft.ifft(folded(rows), axis=1, norm="forward", overwrite_x=True)
                between[rows, :left] = lines[:, lines.shape[1] - left :]
                between[rows, left:x] = lines[:, : x - left]
                progress.add(0.5 * share * len(lines) / len(between))

        def some_columns(band: NDArray[np.int64]) -> None:
            memory = np.empty(len(between) * columns_at_once * lanes, np.complex64)
            for first in range(int(band[0]), int(band[1]), columns_at_once):
                columns = slice(first, min(first + columns_at_once, int(band[1])))
                shape = (len(between), columns.stop - first, lanes)
                lines = memory[: math.prod(shape)].reshape(shape)
                lines[...] = between[:, columns]
                if half:
                    image = scipy.fft.irfft(lines, height, axis=0, norm="forward", overwrite_x=True)
                else:
                    image = scipy.fft.ifft(lines, axis=0, norm="forward", overwrite_x=True)
                for lane, target in enumerate(volume):
                    unpack(
                        image.view(np.float32), lane, places, self.across, down, np.float32(scale),
                        target, first,
                    )  # fmt: skip
                progress.add(0.5 * share * shape[1] / x)

        parts = threads if pool else 1
        run_on(pool, some_rows, bands(len(between), parts), progress)
        run_on(pool, some_columns, bands(x, parts), progress)


def _folded_whole(source: NDArray[np.complex64]) -> Callable[[slice], NDArray[np.complex64]]:
    """Return what gives some rows of a grid, with what lies beyond its edges added at the other end."""
    over_the_top, below = source[:MARGIN].copy(), source[-MARGIN:].copy()
    last = len(source) - 3 * MARGIN
    return _folded(source[MARGIN:-MARGIN], ((below, 0), (over_the_top, last)))


def _folded_half(source: NDArray[np.complex64]) -> Callable[[slice], NDArray[np.complex64]]:
    """Return the same for half of a grid.

    What lies beyond the highest frequency is the conjugate of what lies beyond the lowest one, on the
    other side of the middle column, and belongs before the highest.
    """
    before = np.zeros_like(source[:MARGIN])
    before[:, 1:] = source[: -MARGIN - 1 : -1, :0:-1].conj()
    return _folded(source[: 1 - MARGIN], ((before, len(source) - 2 * MARGIN + 1),))


def _folded(
    source: NDArray[np.complex64], beyond: Iterable[tuple[NDArray[np.complex64], int]]
) -> Callable[[slice], NDArray[np.complex64]]:
    """Return what gives rows of a grid, with some rows added from a row on, and the outer columns."""

    def folded(rows: slice) -> NDArray[np.complex64]:
        lines = source[rows].copy()
        for margin, begin in beyond:
            first, last = max(rows.start, begin), min(rows.stop, begin + MARGIN)
            if first < last:
                lines[first - rows.start : last - rows.start] += margin[
                    first - begin : last - begin
                ]
        inner = lines[:, MARGIN:-MARGIN]
        inner[:, :MARGIN] += lines[:, -MARGIN:]
        inner[:, -MARGIN:] += lines[:, :MARGIN]
        return inner

    return folded


def _lines_at_once(line_bytes: int, least: int) -> int:
    """Return how many lines are transformed together: what stays in the cache, but at least so many."""
    return max(least, _CACHED // line_bytes // _TOGETHER * _TOGETHER)


def run_on(
    pool: ThreadPoolExecutor | None,
    function: Callable[[NDArray[np.int64]], None],
    parts: Iterable[NDArray[np.int64]],
    progress: SliceProgress | None = None,
) -> None:
    """Call a function with each part, side by side when there is a pool, and tell how far it is."""
    if pool is None:
        for part in parts:
            function(part)
    else:
        (progress or SliceProgress()).wait([pool.submit(function, part) for part in parts])


def bands(rows: int, count: int) -> list[NDArray[np.int64]]:
    """Cut rows into [first, last) bands."""
    edges = np.linspace(0, rows, max(1, count) + 1).astype(np.int64)
    return [edges[i : i + 2] for i in range(len(edges) - 1)]


def _grid_size(count: int, oversampling: float) -> int:
    """Even, so that the origin's sign pattern is simple, and quick to transform."""
    wanted = int(np.ceil(oversampling * count)) + 2 * KERNEL_WIDTH
    return 2 * int(scipy.fft.next_fast_len((wanted + 1) // 2))


def _beta(oversampling: float) -> float:
    """Shape of the kernel that folds in least at an oversampling."""
    return float(0.976 * np.pi * KERNEL_WIDTH * (1 - 1 / (2 * oversampling)))


def _kernel(position: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Exponential of semicircle at positions -1 to 1, both excluded.

    At a window's very edge it is zero, or points that fall on cells would get lopsided windows.
    """
    squared = np.maximum(1.0 - position * position, 0.0)
    return np.where(squared > 0.0, np.exp(beta * (np.sqrt(squared) - 1.0)), 0.0)


def _kernel_table(beta: float) -> NDArray[np.float32]:
    """Kernel at the cells of a window, for each of TABLE_STEPS + 1 positions between cells."""
    offset = np.arange(TABLE_STEPS + 1)[:, None] / TABLE_STEPS + np.arange(KERNEL_WIDTH)[None]
    position = (offset - KERNEL_WIDTH / 2) / (KERNEL_WIDTH / 2)
    table = aligned_zeros((TABLE_STEPS + 1, KERNEL_WIDTH))
    table[:] = _kernel(np.clip(position, -1.0, 1.0), beta)
    return table


def _correction(count: int, size: int, beta: float) -> NDArray[np.float32]:
    """Reciprocal of the kernel's transform at image positions, with the origin's sign pattern."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    places = np.arange(count) - count // 2
    waves = np.cos(np.pi * KERNEL_WIDTH * np.outer(places, nodes) / size)
    transform = waves @ (weights * _kernel(nodes, beta)) * KERNEL_WIDTH / 2
    return np.asarray(_signs(count) / transform, dtype=np.float32)


def _signs(count: int) -> NDArray[np.float64]:
    """Return the signs of image positions whose frequencies are counted from the lowest."""
    return np.where((np.arange(count) - count // 2) % 2 == 0, 1.0, -1.0)
