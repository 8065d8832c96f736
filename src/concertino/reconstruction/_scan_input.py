"""Frames and angles of a scan, as they come in from any thread."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ReconstructionError

from ._beside import Beside
from ._checks import checked_frames
from ._flatfield import FlatFrames
from ._rows import ProjectionRows
from ._scan_angles import ScanAngles


class ScanInput:
    """The part of `Reconstructor` that takes frames.

    Parameters
    ----------
    frame_shape
        (rows, columns) of a frame.
    angles
        Of all projections.
    rows
        Takes the projections' rows that are kept.
    flats
        Takes darks and flats.
    """

    def __init__(
        self,
        frame_shape: tuple[int, int],
        angles: ScanAngles,
        rows: ProjectionRows,
        flats: FlatFrames,
    ) -> None:
        self.frame_shape = frame_shape
        self.num_projections = len(angles.scan)
        self.timings: dict[str, float] = {}
        self._scan_angles, self._rows, self._flats = angles, rows, flats
        self._lock = threading.RLock()
        self._storing = threading.Lock()
        self._replaced = 0
        self._beside: Beside | None = None

    @property
    def angles(self) -> NDArray[np.float64]:
        """Angle of each projection, as known now, in radians, with the `overall_angle`."""
        return self._scan_angles.turned

    @property
    def rows(self) -> tuple[int, ...]:
        """The detector rows that are kept."""
        return tuple(int(row) for row in self._rows.rows)

    @property
    def received(self) -> int:
        """Number of projections that have come."""
        return int(self._rows.arrived.sum())

    @property
    def missing(self) -> tuple[int, ...]:
        """Frame indices of projections that have not come."""
        return tuple(int(index) for index in np.flatnonzero(~self._rows.arrived))

    def add_darks(self, frames: NDArray[np.generic]) -> None:
        """Add dark frames (frame, row, column), in any number of calls."""
        with self._lock, self._timed("darks and flats"):
            self._flats.darks.add(checked_frames(frames, self.frame_shape, "darks"))

    def add_flats(self, frames: NDArray[np.generic]) -> None:
        """Add flat frames (frame, row, column); flats after the first projections count as after."""
        with self._lock, self._timed("darks and flats"):
            after = self._rows.data is not None
            stack = checked_frames(frames, self.frame_shape, "flats")
            (self._flats.after if after else self._flats.before).add(stack)

    def forget_darks(self) -> None:
        """Leave out the darks that have come: they are taken again."""
        with self._lock:
            self._flats.forget_darks()

    def forget_flats(self) -> None:
        """Leave out the flats that have come: they are taken again."""
        with self._lock:
            self._flats.forget_flats()

    def add_projections(
        self,
        frames: NDArray[np.generic],
        start: int,
        *,
        replace: bool = False,
        first_row: int | None = None,
    ) -> None:
        """Add projections (frame, row, column), the first of which has the frame index `start`.

        Parameters
        ----------
        frames
            (frame, row, column).
        start
            Index of the first.
        replace
            A projection that was given before is replaced, with the same bits as if only the later
            one had come.
        first_row
            The frames are cut to consecutive rows, this one and those after it, all that are kept among them.

        Raises
        ------
        ReconstructionError
            Shape, dtype or indices do not fit the scan, or a projection was given before and
            `replace` was not.
        """
        cut = first_row is not None and np.ndim(frames) > 1
        height = np.shape(frames)[-2] if cut else None
        self._add(
            frames,
            start,
            lambda stack, first: self._rows.add(
                stack, first, replace=replace, first_row=first_row or 0
            ),
            height,
        )

    def set_angles(self, angles: ArrayLike, known: ArrayLike) -> None:
        """Tell other angles than the planned ones, such as measured ones as far as they are known.

        May be called at any time. A projection whose angle is not known yet is used in previews
        only, until it is or `finish` is called. What each counts for follows the planned angles until all
        are known, and then these if some weight differs by more than a tenth.

        Parameters
        ----------
        angles
            float, (projection,), radians, of the whole scan.
        known
            bool, (projection,): which of them are final; the others will change.

        Raises
        ------
        ParameterError
            The arrays do not fit the scan.
        """
        self._scan_angles.tell(angles, known)
        self._catch_up_soon()

    def _adopt(self, frames: NDArray[np.generic]) -> None:
        """Add all projections at once, which nobody changes while this object lives."""
        self._add(frames, 0, lambda stack, _start: self._rows.adopt(stack))

    def _add(
        self,
        frames: NDArray[np.generic],
        start: int,
        store: Callable[[NDArray[np.generic], int], None],
        height: int | None = None,
    ) -> None:
        shape = (height or self.frame_shape[0], self.frame_shape[1])
        stack = checked_frames(frames, shape, "projections")
        if start < 0 or start + len(stack) > self.num_projections:
            raise ReconstructionError(
                f"projections {start} to {start + len(stack) - 1} were given, "
                f"the scan has 0 to {self.num_projections - 1}"
            )
        with self._storing, self._timed("copying rows"):
            if self._rows.data is None:
                self.expect(stack.dtype)
            store(stack, start)
        self._catch_up_soon()

    def compute_beside(self) -> None:
        """From now on, compute in a thread of its own what can be while frames come.

        Adding projections then takes no longer than copying their rows: who adds them is not held up by what is made
        of them. What fails there is raised where projections or angles are given next.
        """
        self._beside = Beside("reconstruction beside")

    def _catch_up_soon(self) -> None:
        if self._beside is None:
            self._catch_up_if_idle()
        else:
            self._beside.call(self._catch_up_if_idle)

    @abstractmethod
    def expect(self, dtype: np.dtype[np.generic]) -> None:
        """Refuse frames whose rows take more memory than is allowed; they may be wider than counts."""

    @abstractmethod
    def _catch_up_if_idle(self) -> None:
        """Compute with what has come, if nobody does."""

    def _settle(self) -> bool:
        """Take note of what has come and was told; tell whether what was computed is out of date."""
        self._rows.settle()
        replaced = self._rows.replaced != self._replaced
        self._replaced = self._rows.replaced
        return self._scan_angles.adopt(self._rows.present) or replaced

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.timings[what] = self.timings.get(what, 0.0) + time.perf_counter() - begin
