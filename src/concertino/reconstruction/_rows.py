"""The wanted rows of all projections, raw, by frame index."""

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ReconstructionError

_KEPT_TYPES = ("uint16", "float32")


def kept_dtype(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """The dtype in which rows are kept: uint16 when nothing is lost by it, else float32."""
    if dtype.name in _KEPT_TYPES:
        return np.dtype(dtype.name)
    return np.dtype("uint16" if dtype in (np.dtype("u1"), np.dtype("u2")) else "float32")


class ProjectionRows:
    """Rows that were copied out of frames, and which frames have come.

    Parameters
    ----------
    count
        Number of projections of the scan.
    rows
        The detector rows that are kept, in this order.
    columns
        Width of the detector in px.
    """

    def __init__(self, count: int, rows: NDArray[np.int64], columns: int) -> None:
        self._rows, self.columns = rows, columns
        self._wanted: slice | NDArray[np.int64] = rows
        if len(rows) == 1 or bool(np.all(np.diff(rows) == 1)):
            self._wanted = slice(int(rows[0]), int(rows[-1]) + 1)
        self.present = np.zeros(count, dtype=bool)
        self.data: NDArray[np.generic] | None = None
        self.frame_dtype: np.dtype[np.generic] | None = None

    @property
    def row_count(self) -> int:
        """Number of rows that are kept of each frame."""
        return len(self._rows)

    @property
    def counts(self) -> bool:
        """Whether the frames hold integers."""
        return self.frame_dtype is not None and self.frame_dtype.kind in "ui"

    def bytes(self, itemsize: int = 4) -> int:
        """Memory that the rows of the whole scan take."""
        return len(self.present) * len(self._rows) * self.columns * itemsize

    def add(self, frames: NDArray[np.generic], start: int) -> None:
        """Copy the wanted rows of frames (frame, row, column), the first with index `start`."""
        stop = start + len(frames)
        if self.data is None:
            self.frame_dtype = frames.dtype
            shape = (len(self.present), len(self._rows), self.columns)
            self.data = np.zeros(shape, kept_dtype(frames.dtype))
        elif frames.dtype != self.frame_dtype:
            raise ReconstructionError(
                f"projections {start} to {stop - 1} are {frames.dtype}, the ones before were "
                f"{self.frame_dtype}; feed all frames of a scan in one dtype"
            )
        if self.present[start:stop].any():
            twice = start + int(np.flatnonzero(self.present[start:stop])[0])
            raise ReconstructionError(
                f"projection {twice} was given twice; each frame index is fed once"
            )
        self.data[start:stop] = frames[:, self._wanted]
        self.present[start:stop] = True

    def adopt(self, frames: NDArray[np.generic]) -> None:
        """Take a whole scan (frame, row, column) that stays as it is: without a copy if possible."""
        if frames.dtype == kept_dtype(frames.dtype) and isinstance(self._wanted, slice):
            self.data, self.frame_dtype = frames[:, self._wanted], frames.dtype
            self.present[:] = True
        else:
            self.add(frames, 0)

    def part(self, indices: NDArray[np.int64], rows: slice) -> NDArray[np.generic]:
        """Copy of some rows of some projections (projection, row, column)."""
        if self.data is None:
            raise ReconstructionError("no projections have come yet")
        if indices[-1] - indices[0] + 1 == len(indices):
            return self.data[indices[0] : indices[-1] + 1, rows].copy()
        return self.data[indices, rows]

    def subset(self, rows: NDArray[np.int64]) -> "ProjectionRows":
        """Some of the rows, given by their places among those kept; shares memory if it can."""
        other = ProjectionRows(len(self.present), self._rows[rows], self.columns)
        other.present = self.present.copy()
        other.frame_dtype = self.frame_dtype
        if self.data is not None:
            whole = slice(int(rows[0]), int(rows[-1]) + 1)
            together = bool(np.all(np.diff(rows) == 1))
            other.data = self.data[:, whole] if together else self.data[:, rows]
        return other
