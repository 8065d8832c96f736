"""Where detector, rotation axis and slices are, in an upright parallel beam."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._settings import Interval, positions


@dataclass(frozen=True)
class Lattice:
    """Equally spaced image positions along one axis, in px from the rotation axis."""

    start: float
    step: float
    count: int

    @property
    def reach(self) -> float:
        """Largest distance from the axis."""
        return max(abs(self.start), abs(self.start + (self.count - 1) * self.step))


def lattice(interval: Interval) -> Lattice:
    """Positions of a (from, to, step) interval, `to` excluded."""
    return Lattice(interval[0], interval[2], len(positions(interval)))


@dataclass(frozen=True, eq=False)
class SliceGeometry:
    """Where detector, rotation axis and slices are, in an upright parallel beam.

    Attributes
    ----------
    columns
        Width of the detector in px.
    center
        Column of the rotation axis in px.
    x, y
        Positions of the slices' columns (to the right) and rows (downwards), px from the axis.
    """

    columns: int
    center: float
    x: Lattice
    y: Lattice

    @property
    def filter_width(self) -> int:
        """Length of the filter's transform.

        The filter must not reach round the end from any detector pixel to any image pixel inside of the
        circle of view, wherever the axis is.
        """
        import scipy.fft

        reach = max(self.center, self.columns - 1 - self.center) + 0.5
        across, down = self.x.reach, self.y.reach
        inside = min(float(np.hypot(across, down)), max(across, down, self.columns / 2))
        return 2 * int(scipy.fft.next_fast_len(int(np.ceil(max(self.columns, reach + inside)))))

    def places(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Detector columns of the slices' pixels, as sums.

        Parameters
        ----------
        angles
            float64, (projection,), radians.

        Returns
        -------
        ndarray
            float64, (projection, 3): the first pixel's column, and what the next pixel to the right and
            the next one below add to it.
        """
        cosines, sines = np.cos(angles), np.sin(angles)
        first = self.center + self.x.start * cosines - self.y.start * sines
        return np.stack([first, self.x.step * cosines, -self.y.step * sines], axis=1)
