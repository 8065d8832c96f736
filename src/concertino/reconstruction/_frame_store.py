"""What has come of a scan, from any thread: darks, flats, projections and angles."""

import threading
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ReconstructionError

from ._resolved_job import ResolvedJob
from ._timings import Timings
from .preprocessing._correct import FlatFieldCorrection
from .preprocessing._flatfield import DarksAndFlats
from .preprocessing._rows import ChosenRows, ProjectionRows, stored_rows
from .preprocessing._scan_angles import ScanAngles
from .settings._checks import checked_frames
from .settings._layout import Layout
from .settings._settings import ReconstructionSettings


class FrameStore:
    """Keeps the rows of frames that are needed, and says what there is.

    Projections and angles may come while others compute: they count from the next `settle` on. Darks and flats
    are not guarded here; whoever computes keeps them from coming meanwhile.

    Parameters
    ----------
    rows, angles, flats
        Where projections, angles, and darks and flats are kept.
    frame_shape
        (rows, columns) of a frame.

    Attributes
    ----------
    timings
        Seconds by what they were spent on, here and by whoever computes.
    """

    def __init__(
        self,
        rows: ProjectionRows,
        angles: ScanAngles,
        flats: DarksAndFlats,
        frame_shape: tuple[int, int],
    ) -> None:
        self.rows, self.angles, self.flats = rows, angles, flats
        self.frame_shape = frame_shape
        self.timings = Timings()
        self._storing = threading.Lock()
        self._replaced = 0

    @classmethod
    def of(
        cls,
        job: ResolvedJob,
        angles: ArrayLike | None,
        keep_rows: Sequence[int] | Literal["needed", "planes", "all"],
    ) -> "FrameStore":
        """Return one that is empty, for the rows that a job needs and more.

        Raises
        ------
        ParameterError
            There are no such rows, or the angles are not usable.
        """
        settings, count = job.settings, job.num_projections
        kept = stored_rows(job.layout.kept, keep_rows, job.frame_shape)
        planned = ScanAngles(angles, count, settings.overall_angle, settings.angular_period)
        rows = ProjectionRows(count, kept, job.frame_shape[1])
        return cls(rows, planned, DarksAndFlats(kept, settings), job.frame_shape)

    def part(self, job: ResolvedJob, every: tuple[int, int]) -> "FrameStore":
        """Return the rows that another job needs, of every n-th frame; memory is shared where it can be.

        Parameters
        ----------
        job
            All of whose rows are kept here.
        every
            The first frame, and how far the next one is from it.
        """
        places = self._places(job.layout.kept)
        settings, kept = job.settings, job.layout.kept
        flats = DarksAndFlats(kept, settings)
        flats.take(self.flats, places)
        rows = self.rows.subset(places)
        rows.arrived &= np.arange(job.num_projections) % every[1] == every[0]
        rows.settle()
        angles = self.angles.like(settings.overall_angle, settings.angular_period)
        return FrameStore(rows, angles, flats, self.frame_shape)

    @property
    def kept(self) -> tuple[int, ...]:
        """The detector rows that are kept."""
        return tuple(int(row) for row in self.rows.rows)

    @property
    def present(self) -> int:
        """Number of projections that count since the last `settle`."""
        return int(self.rows.present.sum())

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of what is kept of a frame."""
        return (self.rows.row_count, self.frame_shape[1])

    @property
    def received(self) -> int:
        """Number of projections that have come."""
        return int(self.rows.arrived.sum())

    @property
    def missing(self) -> tuple[int, ...]:
        """Frame indices of projections that have not come."""
        return tuple(int(index) for index in np.flatnonzero(~self.rows.arrived))

    def add_darks(self, frames: NDArray[np.generic]) -> None:
        """Add dark frames (frame, row, column)."""
        with self.timings.timed("darks and flats"):
            self.flats.darks.add(checked_frames(frames, self.frame_shape, "darks"))

    def add_flats(self, frames: NDArray[np.generic]) -> None:
        """Add flat frames (frame, row, column); after the first projections they count as after."""
        with self.timings.timed("darks and flats"):
            after = self.rows.data is not None
            stack = checked_frames(frames, self.frame_shape, "flats")
            (self.flats.after if after else self.flats.before).add(stack)

    def add_projections(
        self,
        frames: NDArray[np.generic],
        start: int,
        job: ResolvedJob,
        *,
        replace: bool = False,
        first_row: int | None = None,
    ) -> None:
        """Add projections, as `Reconstructor.add_projections`; the first ones tell a job the type of frames."""
        cut = first_row is not None and np.ndim(frames) > 1
        height = (np.shape(frames)[-2] if cut else 0) or self.frame_shape[0]
        stack = self._checked(frames, start, height)
        with self._storing, self.timings.timed("copying rows"):
            self._expect_first(stack, job)
            self.rows.add(stack, start, replace=replace, first_row=first_row or 0)

    def adopt(self, frames: NDArray[np.generic], job: ResolvedJob) -> None:
        """Add all projections at once, which nobody changes while this object lives."""
        stack = self._checked(frames, 0, self.frame_shape[0])
        with self._storing, self.timings.timed("copying rows"):
            self._expect_first(stack, job)
            self.rows.adopt(stack)

    def _checked(self, frames: NDArray[np.generic], start: int, height: int) -> NDArray[np.generic]:
        stack = checked_frames(frames, (height, self.frame_shape[1]), "projections")
        count = len(self.rows.arrived)
        if start < 0 or start + len(stack) > count:
            raise ReconstructionError(
                f"Projections {start} to {start + len(stack) - 1} were given, and the scan has 0 to "
                f"{count - 1}; check num_projections, or where the block starts."
            )
        return stack

    def _expect_first(self, stack: NDArray[np.generic], job: ResolvedJob) -> None:
        if self.rows.data is None:
            self.expect(stack.dtype, job)

    def expect(self, dtype: np.dtype[np.generic], job: ResolvedJob) -> None:
        """Know the type of the frames that are going to come; a job may have no memory for them.

        Raises
        ------
        ReconstructionError
            Their rows take more memory than is allowed.
        """
        self.rows.expect(dtype)
        job.held_bytes(self.rows)

    def settle(self) -> bool:
        """Take note of what has come and was told; tell whether what was computed is out of date."""
        self.rows.settle()
        replaced = self.rows.replaced != self._replaced
        self._replaced = self.rows.replaced
        return self.angles.adopt(self.rows.present) or replaced

    def check_enough(self, at_least: int, settings: ReconstructionSettings) -> None:
        """Refuse to go on with fewer projections than this, or without the flats that are needed."""
        received = self.present
        if received < at_least:
            raise ReconstructionError(
                f"{received} of {len(self.rows.present)} projections have come, and at least "
                f"{at_least} are needed; feed the others first."
            )
        if self.flats.flats == 0 and (why := self.flats_needed(settings)):
            raise ReconstructionError(
                f"No flats were given but {why} and attenuation is wanted; add flats, or set "
                "absorptivity=False to reconstruct the values as they are."
            )

    def flats_needed(self, settings: ReconstructionSettings) -> str | None:
        """Why there must be flats, or None."""
        counts = self.rows.data is not None and self.rows.counts
        if settings.absorptivity is False or not counts:
            return None
        return f"the projections are counts ({self.rows.frame_dtype})"

    def needed_rows(self, layout: Layout) -> ChosenRows:
        """Return the rows that a job needs, of those kept."""
        return ChosenRows(self.rows, self._places(layout.kept))

    def field(self, settings: ReconstructionSettings, layout: Layout) -> FlatFieldCorrection:
        """Return what turns these rows into transmission."""
        whole = self.flats.field(settings, self.shape)
        places = self._places(layout.kept)
        alike = np.array_equal(places, np.arange(self.rows.row_count))
        return whole if alike else whole.rows(places)

    def _places(self, rows: Iterable[int]) -> NDArray[np.int64]:
        """Places among the kept rows of some detector rows."""
        kept = {row: place for place, row in enumerate(self.kept)}
        return np.array([kept[int(row)] for row in rows])
