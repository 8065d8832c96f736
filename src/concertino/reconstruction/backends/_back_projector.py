"""What a back end beside the processor's own engine has to offer: filtering and back projection."""

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.reconstruction.settings._slice_geometry import SliceGeometry


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
