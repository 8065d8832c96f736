"""The wanted rows of all projections, raw, by frame index."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError, ReconstructionError
from concertino.runtime._kept_memory import large_array

_KEPT_TYPES = ("uint16", "float32")
_PLANES_PX = 512  # as `Reconstructor.planes` has by default


class Rows(Protocol):
    """Rows of projections, of which some are there."""

    columns: int

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which projections are there."""
        ...

    @property
    def row_count(self) -> int:
        """Number of rows."""
        ...

    def part(self, indices: NDArray[np.int64], rows: slice) -> NDArray[np.generic]:
        """Copy of some rows of some projections (projection, row, column)."""
        ...


def stored_rows(
    needed: NDArray[np.int64], more: Sequence[int] | str, frame_shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the detector rows to keep: those needed, in their order, or with more in their own.

    Raises
    ------
    ParameterError
        If there is no such row.
    """
    height, columns = frame_shape
    if more == "needed":
        return needed
    if more == "all":
        return np.arange(height)
    wanted = np.arange(0) if isinstance(more, str) else np.asarray(more, dtype=np.int64)
    if more == "planes":
        return np.union1d(needed, rows_of_planes(height, -(-columns // _PLANES_PX)))
    if isinstance(more, str) or wanted.ndim != 1:
        raise ParameterError(
            f"keep_rows: {more!r} was given; give 'needed', 'planes', 'all' or numbers of detector "
            "rows."
        )
    outside = wanted[(wanted < 0) | (wanted >= height)]
    if len(outside):
        raise ParameterError(
            f"keep_rows: row {int(outside[0])} was given, and the frames have the rows 0 to "
            f"{height - 1}; choose other rows."
        )
    return np.union1d(needed, wanted)


def rows_of_planes(height: int, step: int) -> NDArray[np.int64]:
    """Detector rows that a vertical plane shows when it takes every n-th one."""
    return np.arange(min((step - 1) // 2, height - 1), height, step)


def places_among(having: Sequence[float], wanted: Sequence[float]) -> NDArray[np.int64]:
    """Places of wanted slices among all.

    Raises
    ------
    ParameterError
        If one is not there.
    """
    places = []
    for row in wanted:
        apart = np.abs(np.asarray(having) - row)
        place = int(np.argmin(apart))
        if apart[place] > 1e-6:
            raise ParameterError(
                f"Slice {row:g} was asked for, and the {len(having)} slices are of the rows "
                f"{min(having):g} to {max(having):g}; choose one of these, or other `slices`."
            )
        places.append(place)
    return np.array(places, dtype=np.int64)


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
        self.rows, self.columns = rows, columns
        self._wanted = _together(rows)
        self.arrived = np.zeros(count, dtype=bool)
        self.present = np.zeros(count, dtype=bool)
        self.data: NDArray[np.generic] | None = None
        self.frame_dtype: np.dtype[np.generic] | None = None
        self.replaced = 0
        self.itemsize = 2  # bytes a pixel; cameras count in 16 bit until they say otherwise
        self._lent = False  # the data is somebody else's

    @property
    def row_count(self) -> int:
        """Number of rows that are kept of each frame."""
        return len(self.rows)

    def expect(self, dtype: np.dtype[np.generic]) -> None:
        """Know the type of the frames that are about to come."""
        self.itemsize = kept_dtype(dtype).itemsize

    @property
    def counts(self) -> bool:
        """Whether the frames hold integers."""
        return self.frame_dtype is not None and self.frame_dtype.kind in "ui"

    def add(
        self,
        frames: NDArray[np.generic],
        start: int,
        *,
        replace: bool = False,
        first_row: int = 0,
    ) -> None:
        """Copy the wanted rows of frames (frame, row, column), the first with index `start`.

        Frames that are cut begin with the detector row `first_row`. Those that take the place of earlier
        ones count in `replaced`; they must not unless `replace` says so.
        """
        stop = start + len(frames)
        if self.data is None:
            self.frame_dtype = frames.dtype
            shape = (len(self.present), len(self.rows), self.columns)
            self.data = large_array(shape, kept_dtype(frames.dtype), zeros=True)
        elif frames.dtype != self.frame_dtype:
            raise ReconstructionError(
                f"Projections {start} to {stop - 1} are {frames.dtype}, and the ones before were "
                f"{self.frame_dtype}; feed all frames of a scan in one dtype."
            )
        again = start + np.flatnonzero(self.arrived[start:stop])
        if len(again) and not replace:
            twice = int(again[0])
            raise ReconstructionError(
                f"Projection {twice} was given twice. Feed each frame index once, or give "
                "replace=True to have the later one count."
            )
        if len(again) and self._lent:
            self.data, self._lent = self.data.copy(), False
        self.data[start:stop] = frames[:, self._among(first_row, frames.shape[1])]
        self.arrived[start:stop] = True
        if len(again):
            self.replaced += 1

    def _among(self, first_row: int, count: int) -> slice | NDArray[np.int64]:
        """Return where the wanted rows are in frames that are cut."""
        least, most = int(self.rows.min()), int(self.rows.max())
        if not first_row <= least <= most < first_row + count:
            raise ReconstructionError(
                f"Projections were given cut to the rows {first_row} to {first_row + count - 1}, "
                f"and the rows {least} to {most} are kept; give these."
            )
        if isinstance(self._wanted, slice):
            return slice(self._wanted.start - first_row, self._wanted.stop - first_row)
        return self._wanted - first_row

    def settle(self) -> None:
        """Have `present` be what has arrived: whoever computes sees one state from begin to end."""
        self.present = self.arrived.copy()

    def adopt(self, frames: NDArray[np.generic]) -> None:
        """Take a whole scan (frame, row, column) that stays as it is: without a copy if possible."""
        if frames.dtype == kept_dtype(frames.dtype) and isinstance(self._wanted, slice):
            self.data, self.frame_dtype = frames[:, self._wanted], frames.dtype
            self._lent = True
            self.arrived[:] = True
        else:
            self.add(frames, 0)

    def part(
        self, indices: NDArray[np.int64], rows: slice | NDArray[np.int64]
    ) -> NDArray[np.generic]:
        """Copy of some of the kept rows of some projections (projection, row, column)."""
        if self.data is None:
            raise ReconstructionError("No projections have come yet; feed some first.")
        if not isinstance(rows, slice):
            return np.ascontiguousarray(self.data[indices[:, None], rows])
        if indices[-1] - indices[0] + 1 == len(indices):
            return self.data[indices[0] : indices[-1] + 1, rows].copy()
        return self.data[indices, rows]

    def subset(self, rows: NDArray[np.int64]) -> "ProjectionRows":
        """Some of the rows, given by their places among those kept; shares memory if it can."""
        other = ProjectionRows(len(self.present), self.rows[rows], self.columns)
        other.arrived = self.present.copy()
        other.present = self.present.copy()
        other.frame_dtype, other.itemsize = self.frame_dtype, self.itemsize
        if self.data is not None:
            chosen = _together(rows)
            other.data, other._lent = self.data[:, chosen], isinstance(chosen, slice)
        return other


class ChosenRows:
    """Some of the rows of a `ProjectionRows`, as if only they were kept; they share everything.

    Parameters
    ----------
    rows
        All rows that are kept.
    places
        int64, (row,): places of the chosen ones among them.
    """

    def __init__(self, rows: ProjectionRows, places: NDArray[np.int64]) -> None:
        self._rows, self._places = rows, places
        self.columns = rows.columns

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which projections are there."""
        return self._rows.present

    @property
    def row_count(self) -> int:
        """Number of chosen rows."""
        return len(self._places)

    def part(self, indices: NDArray[np.int64], rows: slice) -> NDArray[np.generic]:
        """Copy of some of the chosen rows of some projections (projection, row, column)."""
        return self._rows.part(indices, _together(self._places[rows]))


def _together(places: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Places as a slice if they follow one another: rows that lie side by side are not copied one by one."""
    if (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places
