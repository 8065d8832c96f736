"""Frames and angles of a scan, as they come in from any thread, and what slices are made of."""

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ReconstructionError

from ._beside import Beside
from .analysis._axis_cache import AxisCache
from .analysis._result import AxisEstimate
from .backends._backends import chosen_backend
from .preprocessing._correct import FlatFieldCorrection
from .preprocessing._flatfield import DarksAndFlats
from .preprocessing._rows import ChosenRows, ProjectionRows, stored_rows
from .preprocessing._scan_angles import ScanAngles
from .preprocessing._short_scan import check_arc, tell_wedge
from .settings._checks import (
    check_memory,
    checked_frame_shape,
    checked_frames,
    tell_other_units,
    usable_cores,
)
from .settings._layout import Layout, layout_of
from .settings._settings import ReconstructionSettings

LOG = logging.getLogger("concertino.reconstruction")

_GAP_S = 0.001  # in which whoever waits for the lock gets it


class ScanInput:
    """The part of `Reconstructor` that takes frames and says what there is to make slices of.

    Parameters
    ----------
    settings, num_projections, frame_shape, angles, keep_rows, live
        As for `Reconstructor`.
    """

    def __init__(
        self,
        settings: ReconstructionSettings,
        *,
        num_projections: int,
        frame_shape: tuple[int, int],
        angles: ArrayLike | None = None,
        keep_rows: Sequence[int] | Literal["needed", "planes", "all"] = "needed",
        live: bool = True,
    ) -> None:
        self.settings = settings
        self.backend = chosen_backend(settings)
        LOG.info("backend %s: %s", self.backend.name, self.backend.reason)
        self.frame_shape = checked_frame_shape(frame_shape)
        self.num_projections = int(num_projections)
        self.timings: dict[str, float] = {}
        self._layout = layout_of(settings, self.frame_shape)
        columns = self.frame_shape[1]
        kept = stored_rows(self._layout.kept, keep_rows, self.frame_shape)
        self._scan_angles = ScanAngles(
            angles, self.num_projections, settings.overall_angle, settings.angular_period
        )
        self._rows = ProjectionRows(self.num_projections, kept, columns)
        self._flats = DarksAndFlats(kept, settings)
        check_arc(settings, self._scan_angles.scan, columns)
        self._tell_odd_angles()
        self._axis = AxisCache()
        self._budget = settings.memory_limit_bytes
        self._held = self._checked_bytes(self._layout)
        self._threads = settings.threads or usable_cores()
        self._live = live
        self._planes_due = keep_rows in ("planes", "all")
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
                f"Projections {start} to {start + len(stack) - 1} were given, and the scan has 0 to "
                f"{self.num_projections - 1}; check num_projections, or where the block starts."
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

    def compute_no_more(self) -> None:
        """Begin nothing beside any more with what came until now; what is under way ends with its block."""
        if self._beside is not None:
            self._beside.end()

    def _catch_up_soon(self) -> None:
        if self._beside is None:
            self._catch_up_if_idle()
        else:
            self._beside.call(self._catch_up_in_steps)

    def _catch_up_in_steps(self, go_on: Callable[[], bool]) -> None:
        """Catch up block by block: a caller that brings darks or flats, or reads slices, waits for one block at most."""
        while go_on() and self._catch_up_if_idle(most=1):
            time.sleep(_GAP_S)

    def expect(self, dtype: np.dtype[np.generic]) -> None:
        """Know the type of the frames that are going to come; they may be wider than counts.

        Raises
        ------
        ReconstructionError
            Their rows take more memory than is allowed.
        """
        self._rows.expect(dtype)
        self._held = self._checked_bytes(self._layout)

    def _checked_bytes(self, layout: Layout) -> int:
        """Memory for kept rows, treated ones and the result of a layout; refuses more than is allowed."""
        count, columns, itemsize = self.num_projections, self.frame_shape[1], self._rows.itemsize
        more = self._rows.row_count - len(layout.kept)
        held = layout.bytes(count, columns, itemsize) + itemsize * more * count * columns
        check_memory(held, self._budget, layout.slices, count)
        return held

    @abstractmethod
    def _catch_up_if_idle(self, most: int | None = None) -> bool:
        """Compute with what has come, if nobody does, so many blocks at most; tell whether there may be more."""

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

    def _tell_odd_angles(self) -> None:
        """Say what is odd about the planned angles, though it can be reconstructed."""
        tell_other_units(self._scan_angles.scan)
        tell_wedge(self.settings, self._scan_angles.scan)

    def axis(self) -> AxisEstimate:
        """Return the rotation axis: as given, or as found from the projections that are there."""
        if self.settings.center is not None:
            return AxisEstimate(self.settings.center, 1.0, "given")
        with self._lock:
            self._check_ready(2)
            return self._axis.exact(self._found_axis, self._axis_key)

    def estimate_axis_quickly(self) -> AxisEstimate:
        """Return the axis as it was found lately: good enough for a look, and cheap."""
        if self.settings.center is not None:
            return self.axis()
        with self._lock:
            self._check_ready(2)
            received = int(self._rows.present.sum())
            return self._axis.lately(
                self._found_axis, self._axis_key, received, self.num_projections
            )

    def tilted_axis(self) -> AxisEstimate:
        """Find the rotation axis and its roll about the beam, from many of the kept rows."""
        with self._lock:
            self._check_ready(2)
            return self._found_axis(tilt=True)

    @property
    def _axis_key(self) -> tuple[object, ...]:
        received = int(self._rows.present.sum())
        return (received, self._scan_angles.times_told, *self._flats.key)

    def _found_axis(self, *, tilt: bool = False) -> AxisEstimate:
        from .preprocessing._sinogram import axis_of_rows

        with self._timed("finding the axis"):
            return axis_of_rows(
                self._needed_rows(), self._field(), self._layout.kept, self.angles,
                self.frame_shape[0], self.settings, tilt=tilt,
            )  # fmt: skip

    def _check_ready(self, at_least: int) -> None:
        """Take note of all that has come; refuse to go on when it is not enough."""
        self._settle()
        received = int(self._rows.present.sum())
        if received < at_least:
            raise ReconstructionError(
                f"{received} of {self.num_projections} projections have come, and at least "
                f"{at_least} are needed; feed the others first."
            )
        if self._flats.flats == 0 and (why := self._flats_needed()):
            raise ReconstructionError(
                f"No flats were given but {why} and attenuation is wanted; add flats, or set "
                "absorptivity=False to reconstruct the values as they are."
            )

    def _flats_needed(self) -> str | None:
        """Why there must be flats, or None."""
        counts = self._rows.data is not None and self._rows.counts
        if self.settings.absorptivity is False or not counts:
            return None
        return f"the projections are counts ({self._rows.frame_dtype})"

    def _places(self, rows: Iterable[int]) -> NDArray[np.int64]:
        """Places among the kept rows of some detector rows."""
        kept = {row: place for place, row in enumerate(self.rows)}
        return np.array([kept[int(row)] for row in rows])

    def _needed_rows(self) -> ChosenRows:
        return ChosenRows(self._rows, self._places(self._layout.kept))

    @property
    def _stored_shape(self) -> tuple[int, int]:
        return (self._rows.row_count, self.frame_shape[1])

    def _field(self) -> FlatFieldCorrection:
        whole = self._flats.field(self.settings, self._stored_shape)
        places = self._places(self._layout.kept)
        alike = np.array_equal(places, np.arange(self._rows.row_count))
        return whole if alike else whole.rows(places)
