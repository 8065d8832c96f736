"""What a job keeps and makes: rows, slices, image positions, memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._checks import (
    check_center,
    checked_heights,
    checked_rows,
    rows_of_sweep,
)
from ._settings import Interval, ReconstructionSettings, positions
from ._slice_geometry import SliceGeometry, lattice


@dataclass(frozen=True, eq=False)
class Layout:
    """What follows from settings and frame shape alone.

    Attributes
    ----------
    kept
        int64: detector rows that are kept of each frame.
    sliced
        int64: places among the kept rows of those that become slices.
    heights
        float64: heights of the slices above the beam's axis in a general geometry; None: each
        slice is a row.
    x, y
        Positions of the image's columns and rows.
    conditioned
        Whether the projections must be treated as a whole before they are filtered.
    """

    kept: NDArray[np.int64]
    sliced: NDArray[np.int64]
    heights: NDArray[np.float64] | None
    x: Interval
    y: Interval
    conditioned: bool

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.sliced) if self.heights is None else len(self.heights)

    def geometry(self, columns: int, center: float) -> SliceGeometry:
        """Where the slices are, with the axis in a column of a detector so wide."""
        return SliceGeometry(columns, center, lattice(self.x), lattice(self.y))

    def bytes(self, projections: int, columns: int, itemsize: int) -> int:
        """Memory for the kept rows, of so many bytes a pixel, the conditioned ones and the result."""
        pixels = len(positions(self.x)) * len(positions(self.y))
        rows = len(self.kept) * itemsize + (len(self.sliced) * 4 if self.conditioned else 0)
        volume = pixels * 4 * self.slices
        return projections * columns * rows + volume


def layout_of(settings: ReconstructionSettings, frame_shape: tuple[int, int]) -> Layout:
    """Lay out a job.

    Raises
    ------
    ParameterError
        Rows or the axis lie outside of the frame.
    """
    rows, columns = frame_shape
    heights = None
    if settings.z_parameter is not None:
        wanted = rows_of_sweep(settings, rows)
    elif settings.general:
        wanted = np.arange(rows)
        heights = checked_heights(settings, rows)
    else:
        wanted = checked_rows(settings, rows)
    if settings.center is not None:
        check_center(settings.center, columns)
    phase = settings.phase_method != "none"
    size = slice_width(settings, columns)
    return Layout(
        kept=np.arange(rows) if phase else wanted,
        sliced=wanted if phase else np.arange(len(wanted)),
        heights=heights,
        x=settings.x_region or _centred(size),
        y=settings.y_region or _centred(size),
        conditioned=(phase or settings.stripe_removal != "none" or bool(settings.half_acquisition)),
    )


def slice_width(settings: ReconstructionSettings, columns: int) -> int:
    """Return how many px a slice has across: as many as the sample that was seen from both sides."""
    if not settings.half_acquisition:
        return columns
    center = 0.0 if settings.center is None else settings.center
    return round(2 * max(center, columns - 1 - center) + 1)


def _centred(size: int) -> Interval:
    start = -(size - 1) / 2
    return (start, start + size, 1.0)
