"""Parallel-beam back projection, pixel by pixel with linear interpolation.

For planes across the slices: slower than gridding for whole slices, cheaper for a line of each.
"""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from concertino.reconstruction.kernels._aligned import aligned_zeros
from concertino.reconstruction.preprocessing._filters import factor, filter_response
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.reconstruction.settings._slice_geometry import SliceGeometry


class BackprojectionPlan:
    """All that is known before the first projection; the counterpart of `SliceAccumulator`.

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
        self.grid_shape = (y.count, x.count)
        response = filter_response(settings, self.width) * factor(settings.filter)
        self.response = response.astype(np.complex64)

    @staticmethod
    def lanes(slices: int) -> int:
        """How many slices lie side by side in memory when this many are wanted."""
        return next(count for count in (2, 4, 8, 16, 32) if slices <= count or count == 32)

    def shape_of(self, slices: int) -> tuple[int, int, int]:
        """Shape (row, column, lane) of an image for some slices."""
        return (*self.grid_shape, self.lanes(slices))

    def add(
        self,
        grid: NDArray[np.float32],
        padded: NDArray[np.float32],
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> None:
        """Filter a block of projections and add it to an image; as `SliceAccumulator.add`."""
        from concertino.reconstruction.kernels._pixel_backprojection import AT_ONCE, accumulate

        lanes = padded.shape[2]
        spectra = scipy.fft.fft(padded.view(np.complex64), axis=1, overwrite_x=True)
        spectra *= self.response[None, :, None] * weights.astype(np.float32)[:, None, None]
        filtered = scipy.fft.ifft(spectra, axis=1, overwrite_x=True)
        # the filter's tails beyond the detector's left edge lie at the end of the circle
        before = (self.width - self.columns) // 2
        whole = -(-len(angles) // AT_ONCE) * AT_ONCE
        rows = aligned_zeros((whole, self.width + 1, lanes))
        values = filtered.view(np.float32)
        rows[: len(angles), :before] = values[:, self.width - before :]
        rows[: len(angles), before : self.width] = values[:, : self.width - before]
        lines = np.zeros((whole, 2))
        lines[: len(angles), 0], lines[: len(angles), 1] = np.cos(angles), np.sin(angles)
        origin = self.center + before + self.x.start * lines[:, 0] - self.y.start * lines[:, 1]
        steps = (self.x.step, self.y.step)
        accumulate(rows, lines, origin, steps, grid, 0, self.y.count, (0,) * lanes)

    def image(
        self,
        grid: NDArray[np.float32],
        volume: NDArray[np.float32],
        scale: float,
        half_way: NDArray[np.float32],
    ) -> None:
        """Store the lanes as slices; as `SliceAccumulator.image`, but nothing is needed half-way."""
        for lane in range(volume.shape[0]):
            np.multiply(grid[:, :, lane], np.float32(scale), out=volume[lane])
