"""A time series of tomograms in one continuous rotation: each is finished when its turn is over."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ParameterError, ReconstructionError

from ._reconstructor import Reconstructor
from .analysis._result import AxisEstimate, ReconstructionResult
from .settings._checks import checked_angles
from .settings._settings import ReconstructionSettings

LOG = logging.getLogger(__name__)

# One is finished, one comes, and of one more there must be something before lost projections are given up.
_AT_LEAST = 3


class TomogramSeries:
    """Reconstructs each tomogram of a series while its projections arrive.

    Darks and flats are shared. A rotation axis that is not given is found in the first tomogram and
    holds for all. Flats that come after projections count only when there were none before; then
    no tomogram is finished before the end.

    Parameters
    ----------
    settings
        How to reconstruct each.
    num_projections
        Number of projections of one tomogram.
    frame_shape
        (rows, columns) of a frame.
    angles
        float, (all projections,), radians; they simply go on from tomogram to tomogram.
    keep_rows
        As for `Reconstructor`.

    Raises
    ------
    ParameterError
        The angles are no whole number of tomograms, or as for `Reconstructor`.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.reconstruction import ReconstructionSettings, TomogramSeries
    >>> series = TomogramSeries(
    ...     ReconstructionSettings(center=31.5), num_projections=8, frame_shape=(1, 64),
    ...     angles=np.arange(24) * np.pi / 8,
    ... )
    >>> series.add_projections(np.ones((10, 1, 64), np.float32), 0)
    >>> series.ready()
    0
    >>> series.finish_tomogram(0).volume.shape
    (1, 64, 64)
    """

    def __init__(
        self,
        settings: ReconstructionSettings,
        *,
        num_projections: int,
        frame_shape: tuple[int, int],
        angles: ArrayLike,
        keep_rows: Sequence[int] | Literal["needed", "planes", "all"] = "needed",
    ) -> None:
        self.settings = settings
        self._keep_rows = keep_rows
        self.num_projections = num_projections
        self._planned = np.asarray(angles, np.float64)
        if not len(self._planned) or len(self._planned) % num_projections:
            raise ParameterError(
                f"num_projections: {num_projections} was given for a tomogram, and the "
                f"{len(self._planned)} angles are no whole number of tomograms; give one that "
                "divides them."
            )
        self._angles = self._planned.copy()
        self._known = np.ones(len(self._planned), bool)
        self._frame_shape = frame_shape
        self._lock = threading.RLock()
        self._made: dict[int, Reconstructor] = {}
        self._beside = False
        self._finished = 0
        self._axis: AxisEstimate | None = None
        self._first = self._new(0)
        self._flats = self._first._store.flats
        self._until_end: bool | None = None

    @property
    def num_tomograms(self) -> int:
        """How many tomograms there are to be."""
        return len(self._planned) // self.num_projections

    @property
    def rows(self) -> tuple[int, ...]:
        """The detector rows that are kept."""
        return self._first.rows

    def add_darks(self, frames: NDArray[np.generic]) -> None:
        """Add dark frames (frame, row, column)."""
        self._first.add_darks(frames)

    def add_flats(self, frames: NDArray[np.generic]) -> None:
        """Add flat frames (frame, row, column); those after projections only if there were none before."""
        if self._until_end is False:
            return
        with self._lock:
            self._first.add_flats(frames)

    def forget_darks(self) -> None:
        """Leave out the darks that have come: they are taken again."""
        self._first.forget_darks()

    def forget_flats(self) -> None:
        """Leave out the flats that have come: they are taken again."""
        if self._until_end is not False:
            self._first.forget_flats()

    def add_projections(
        self, frames: NDArray[np.generic], start: int, *, replace: bool = False
    ) -> None:
        """Add projections (frame, row, column), the first of which is projection `start` of the series.

        Those of a tomogram that is finished already come too late and are left out.

        Raises
        ------
        ReconstructionError
            The series has no such projections, or so many tomograms wait for being finished that there is
            no memory for one more.
        """
        stop, size = start + len(frames), self.num_projections
        if start < 0 or stop > len(self._planned):
            raise ReconstructionError(
                f"Projections {start} to {stop - 1} were given, and the series has 0 to "
                f"{len(self._planned) - 1}; check where the block starts."
            )
        for number in range(start // size, -(-stop // size)):
            low, high = max(start, number * size), min(stop, (number + 1) * size)
            with self._lock:
                if number < self._finished:
                    LOG.warning("projections %d to %d come too late", low, high - 1)
                    continue
                one = self._of(number)
            one.add_projections(
                frames[low - start : high - start], low - number * size, replace=replace
            )
            if self._until_end is None:
                self._until_end = (
                    not self._flats.flats and one._store.flats_needed(one.settings) is not None
                )

    def compute_beside(self) -> None:
        """Compute in threads of their own while frames come; as `Reconstructor.compute_beside`."""
        self._beside = True

    def compute_no_more(self) -> None:
        """Begin nothing beside any more; as `Reconstructor.compute_no_more`."""
        with self._lock:
            made = list(self._made.values())
        for one in made:
            one.compute_no_more()

    def set_angles(self, angles: ArrayLike, known: ArrayLike) -> None:
        """Tell measured angles of the whole series; as `Reconstructor.set_angles`."""
        values = checked_angles(angles, len(self._planned))
        given = np.asarray(known, bool)
        with self._lock:
            self._angles, self._known = values, given
            made = list(self._made.items())
        for number, one in made:
            one.set_angles(values[self._part(number)], given[self._part(number)])

    def ready(self, *, ended: bool = False) -> int | None:
        """Return the number of the tomogram to be finished next; None while more must come for it.

        Parameters
        ----------
        ended
            No more comes: what there is must do. Tomograms of fewer than two projections are left out.
        """
        with self._lock:
            number = self._finished
            if not ended and self._until_end is not False:
                return None
            while number < self.num_tomograms:
                one, part = self._made.get(number), self._part(number)
                received = 0 if one is None else one.received
                present = False if one is None else one._store.rows.arrived
                if not ended and not (self._known[part] | ~np.asarray(present)).all():
                    return None
                if received == self.num_projections:
                    return number
                # One whose projections were lost is over when the one after next has begun.
                if not ended and max(self._made, default=0) <= number + 1:
                    return None
                if received >= 2:
                    return number
                self._made.pop(number, None)
                number = self._finished = number + 1
            return None

    def finish_tomogram(self, number: int) -> ReconstructionResult:
        """Reconstruct a tomogram with all that has come of it, and forget its projections.

        Returns
        -------
        ReconstructionResult
            Its `missing` are projections of the series.

        Raises
        ------
        ReconstructionError
            As `Reconstructor.finish`.
        """
        with self._lock:
            one = self._made.get(number)
            axis = self._axis
        if one is None:
            raise ReconstructionError(
                f"Tomogram {number} has no projections yet, or is finished; take one that is being "
                "filled."
            )
        if one.settings.center is None and axis is not None:
            one.compute_no_more()
            one = one.with_settings(one.settings.updated(center=axis.center_px))
        result = one.finish()
        with self._lock:
            if axis is None:
                self._axis = AxisEstimate(result.center_px, result.confidence, "first tomogram")
            del self._made[number]
            self._finished = number + 1
        shift = number * self.num_projections
        return replace(
            result,
            confidence=result.confidence if axis is None else axis.confidence,
            missing=tuple(shift + index for index in result.missing),
        )

    def newest(self) -> Reconstructor:
        """Return what reconstructs the newest tomogram, which is there in part."""
        with self._lock:
            return self._made[max(self._made)] if self._made else self._first

    def slices(self) -> NDArray[np.float32]:
        """Reconstruct what is there of the newest tomogram, float32, (slice, y, x)."""
        return self.newest().slices()

    def _part(self, number: int) -> slice:
        return slice(number * self.num_projections, (number + 1) * self.num_projections)

    def _new(self, number: int) -> Reconstructor:
        center = self.settings.center if self._axis is None else self._axis.center_px
        return Reconstructor(
            self.settings.updated(center=center),
            num_projections=self.num_projections,
            frame_shape=self._frame_shape,
            angles=self._planned[self._part(number)],
            keep_rows=self._keep_rows,
        )

    def _of(self, number: int) -> Reconstructor:
        if number not in self._made:
            self._check_room(number)
            one = self._new(number)
            one._store.flats = self._flats
            if self._beside:
                one.compute_beside()
            part = self._part(number)
            one.set_angles(self._angles[part], self._known[part])
            self._made[number] = one
        return self._made[number]

    def _check_room(self, number: int) -> None:
        """Refuse to begin a tomogram while so many wait that the memory limit would be passed."""
        if len(self._made) < _AT_LEAST:
            return
        newest = self._made[max(self._made)]  # it knows the type of the frames
        height, width = newest.slice_shape
        result = 4 * len(newest.slice_rows) * height * width
        # those that wait have their rows, and grids that are filled already
        waiting = len(self._made) * (newest.memory_bytes - result)
        allowed = self.settings.memory_limit_bytes
        if waiting + newest.memory_bytes > allowed:
            why = (
                "they come faster than they are reconstructed"
                if self._until_end is False
                else "none can be finished before the flats have come, at the end"
            )
            raise ReconstructionError(
                f"Tomogram {number} of the series has no memory: {len(self._made)} before it wait, "
                f"as {why}, and {allowed / 2**30:.3g} GiB are allowed. Give fewer slices, or more "
                "memory_gib, or reconstruct the stored run, tomogram by tomogram."
            )
