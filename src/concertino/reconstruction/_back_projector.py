"""What a back end beside the processor's own engine has to offer: filtering and back projection."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ._gridding import Lattice
from ._settings import ReconstructionSettings


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


class BackProjector(Protocol):
    """Filters rows of projections and back-projects them, many at a time.

    Rows come corrected, weighted and padded: a row of `width` pixels begins with the detector's first
    column, and what is to the left of the detector stands at the end of the row, as on a circle.
    """

    width: int
    """Length of a padded row in px."""

    projections: int
    """How many projections it takes at a time, at most."""

    image_shape: tuple[int, int]
    """Shape of a slice (y, x)."""

    def workspace(self, slices: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give memory for some slices, to be filled: the old one may be lost.

        Returns
        -------
        rows
            float32, (slice, `projections`, `width`).
        images
            float32, (slice, y, x).
        """
        ...

    def add(self, angles: NDArray[np.float64], pool: ThreadPoolExecutor) -> None:
        """Filter the rows in the workspace and add their back projection to the images.

        Parameters
        ----------
        angles
            float64, radians, of the first so many projections; rows beyond are not looked at.
        pool
            Where to compute.

        Raises
        ------
        ReconstructionError
            The back end failed.
        """
        ...


class MakeBackProjector(Protocol):
    """Makes a back projector once all is known that does not change."""

    def __call__(
        self, geometry: SliceGeometry, settings: ReconstructionSettings, projections: int
    ) -> BackProjector:
        """Make one for scans of so many projections."""
        ...
