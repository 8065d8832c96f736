"""Frames in, in any batches; slices out, at any time."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ParameterError, ReconstructionError

from ._again import Searching
from ._angles import angular_weights
from ._backends import chosen_backend
from ._checks import (
    check_memory,
    checked_angles,
    checked_frame_shape,
    checked_frames,
    memory_budget,
    usable_cores,
)
from ._correct import FlatField
from ._flatfield import FlatFrames
from ._layout import layout_of
from ._result import AxisEstimate, OrthogonalPlanes, ReconstructionResult
from ._rows import ChosenRows, ProjectionRows, places_among, stored_rows
from ._settings import ReconstructionSettings, positions

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from ._back_projector import BackProjector
    from ._collecting import CollectingEngine
    from ._engine import Engine
    from ._planes import PlanesKeeper
    from ._rows import Rows
    from ._volume import VolumeEngine

    AnyEngine = CollectingEngine | Engine | VolumeEngine

LOG = logging.getLogger("concertino.reconstruction")
_MORE = 1.25  # so many times the projections, and an axis is looked for again
_STILL_PX = 0.05  # an axis that moved by less has not moved, for a look
PATIENCE_BLOCKS = 2  # so many complete blocks later, an incomplete one is left for the end


class Reconstructor(Searching):
    """Reconstructs slices while darks, flats and projections arrive.

    Frames are copied as far as they are needed; the caller may reuse its buffers. Projections are
    regrouped by frame index, so that any batching of the calls gives the same bits. All methods may
    be called from any thread. Adding projections never waits for slices that are being computed.

    Parameters
    ----------
    settings
        How to reconstruct.
    num_projections
        Number of projections of the scan.
    frame_shape
        (rows, columns) of a frame.
    angles
        float, (projection,), radians; None: half a turn in equal steps, end excluded.
        What a projection counts for follows them, also when `set_angles` tells measured ones.
    keep_rows
        Detector rows to keep of each frame beside those that the settings need, for planes, `update`
        and `rereconstruct`: numbers, ``"all"``, or ``"planes"`` for those that `planes` shows.

    Raises
    ------
    ParameterError
        The settings do not fit the frames, the angles are not usable, or the back end that was asked
        for lacks something.
    ReconstructionError
        The job needs more memory than is allowed, or the back end is not available.

    Examples
    --------
    >>> import numpy as np
    >>> reconstructor = Reconstructor(
    ...     ReconstructionSettings(center=31.5), num_projections=8, frame_shape=(1, 64)
    ... )
    >>> reconstructor.add_projections(np.ones((8, 1, 64), np.float32), 0)
    >>> reconstructor.finish().volume.shape
    (1, 64, 64)
    """

    def __init__(
        self,
        settings: ReconstructionSettings,
        *,
        num_projections: int,
        frame_shape: tuple[int, int],
        angles: ArrayLike | None = None,
        keep_rows: Sequence[int] | Literal["needed", "planes", "all"] = "needed",
    ) -> None:
        self.settings = settings
        self.backend = chosen_backend(settings)
        LOG.info("backend %s: %s", self.backend.name, self.backend.reason)
        self.frame_shape = checked_frame_shape(frame_shape)
        self.num_projections = int(num_projections)
        self._scan_angles = checked_angles(angles, self.num_projections)
        self._planned = self._scan_angles
        self.angles = self._scan_angles + settings.overall_angle
        self._angle_known = np.ones(self.num_projections, bool)
        self._angles_told = 0
        self._told: tuple[NDArray[np.float64], NDArray[np.bool_]] | None = None
        self._layout = layout_of(settings, self.frame_shape)
        kept = stored_rows(self._layout.kept, keep_rows, self.frame_shape)
        self._rows = ProjectionRows(self.num_projections, kept, self.frame_shape[1])
        self._budget = memory_budget(settings)
        self._held = self._bytes_held()
        check_memory(self._held, self._budget, self._layout.slices, self.num_projections)
        self._weights = angular_weights(self.angles)
        self._flats = FlatFrames(kept, settings)
        self._threads = settings.threads or usable_cores()
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.RLock()
        self._storing = threading.Lock()
        self._engine: AnyEngine | None = None
        self._engine_key: tuple[object, ...] = ()
        self._axis: AxisEstimate | None = None
        self._axis_key: tuple[object, ...] = ()
        self._replaced = 0
        self._glimpse: tuple[int, AxisEstimate] | None = None
        self._planes: PlanesKeeper | None = None
        self._planes_key: tuple[object, ...] = ()
        self.timings: dict[str, float] = {}

    @property
    def rows(self) -> tuple[int, ...]:
        """The detector rows that are kept."""
        return tuple(int(row) for row in self._rows.rows)

    @property
    def slice_rows(self) -> tuple[float, ...]:
        """Detector row of each slice, as seen in the upright geometry; the values of a sweep."""
        if self.settings.z_parameter is not None and self.settings.region is not None:
            return tuple(positions(self.settings.region))
        if self._layout.heights is None:
            return tuple(float(row) for row in self._layout.kept[self._layout.sliced])
        middle = self.settings.center_row
        middle = (self.frame_shape[0] - 1) / 2 if middle is None else middle
        return tuple(float(middle - height) for height in self._layout.heights)

    @property
    def slice_shape(self) -> tuple[int, int]:
        """(rows, columns) of a slice's image."""
        return (len(positions(self._layout.y)), len(positions(self._layout.x)))

    def plane_shapes(self, pixels: int = 512) -> dict[str, tuple[int, int]]:
        """Shapes of the images that `planes` returns: of ``xy``, ``xz`` and ``yz``.

        Raises
        ------
        ParameterError
            As `planes`.
        """
        from ._planes import rows_across

        self._check_upright()
        step = -(-self.frame_shape[1] // pixels)
        size = self.frame_shape[1] // step
        height = len(rows_across(self.rows, self.frame_shape[0], step))
        return {"xy": (size, size), "xz": (height, size), "yz": (height, size)}

    def _check_upright(self) -> None:
        if self._layout.heights is not None:
            raise ParameterError(
                "three planes at once are for the upright parallel geometry; in a general one, "
                "reconstruct a plane by `volume_angle_x` and a `region` of one position"
            )

    @property
    def received(self) -> int:
        """Number of projections that have come."""
        return int(self._rows.arrived.sum())

    @property
    def missing(self) -> tuple[int, ...]:
        """Frame indices of projections that have not come."""
        return tuple(int(index) for index in np.flatnonzero(~self._rows.arrived))

    @property
    def memory_bytes(self) -> int:
        """Memory that the job has at its peak, in bytes, beside the darks and flats."""
        from ._gridding import lattice
        from ._memory import collecting_bytes, expected_bytes
        from ._plan import chosen_plan

        layout, settings, columns = self._layout, self.settings, self.frame_shape[1]
        region = (lattice(layout.x), lattice(layout.y))
        center = (columns - 1) / 2 if settings.center is None else settings.center
        projector = self._projector(center)
        if projector is not None:
            return collecting_bytes(layout, projector, region, (self.num_projections, columns))
        return expected_bytes(
            layout, None if settings.general else chosen_plan(columns, center, *region, settings),
            region, (self.num_projections, *self.frame_shape), settings, self._threads,
            self._budget, self._held,
        )  # fmt: skip

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
        self, frames: NDArray[np.generic], start: int, *, replace: bool = False
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

        Raises
        ------
        ReconstructionError
            Shape, dtype or indices do not fit the scan, or a projection was given before and
            `replace` was not.
        """
        self._add(frames, start, lambda stack, first: self._rows.add(stack, first, replace=replace))

    def set_angles(self, angles: ArrayLike, known: ArrayLike) -> None:
        """Tell other angles than the planned ones, such as measured ones as far as they are known.

        May be called at any time. A projection whose angle is not known yet is used in previews
        only, until it is or `finish` is called. What each counts for goes on to follow the planned angles.

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
        values = checked_angles(angles, self.num_projections)
        given = np.asarray(known, bool)
        if given.shape != values.shape:
            raise ParameterError(
                f"{self.num_projections} projections were given {given.shape} flags `known`; give one each"
            )
        with self._storing:
            self._told = (values, given.copy())
        self._catch_up_if_idle()

    def _adopt(self, frames: NDArray[np.generic]) -> None:
        """Add all projections at once, which nobody changes while this object lives."""
        self._add(frames, 0, lambda stack, _start: self._rows.adopt(stack))

    def _add(
        self,
        frames: NDArray[np.generic],
        start: int,
        store: Callable[[NDArray[np.generic], int], None],
    ) -> None:
        stack = checked_frames(frames, self.frame_shape, "projections")
        if start < 0 or start + len(stack) > self.num_projections:
            raise ReconstructionError(
                f"projections {start} to {start + len(stack) - 1} were given, "
                f"the scan has 0 to {self.num_projections - 1}"
            )
        with self._storing, self._timed("copying rows"):
            store(stack, start)
        self._catch_up_if_idle()

    def _catch_up_if_idle(self) -> None:
        """Grid what has come; while others compute, the next ones, or they, find it there."""
        if self._lock.acquire(blocking=False):
            try:
                if self._settle() or self._rows.data is None:
                    return  # it is all made anew when slices are asked for
                if self._may_begin():
                    self._catch_up(self.axis().center_px, final=False)
                if self._planes is not None:
                    self._planes.catch_up(all_of_them=False)
            finally:
                self._lock.release()

    def slices(self, rows: Sequence[float] | None = None) -> NDArray[np.float32]:
        """Reconstruct what is there now, float32, (slice, y, x), on the scale of the whole.

        An axis that is searched for is looked for again when there is a quarter more to look at.

        Parameters
        ----------
        rows
            Only these, of `slice_rows`: quicker, as they are kept up to date from then on.

        Raises
        ------
        ParameterError
            A row is no slice.
        ReconstructionError
            There are no projections yet, or flats are needed and missing.
        """
        with self._lock:
            self._check_ready(1)
            only = None if rows is None else places_among(self.slice_rows, rows)
            return self._volume(self.glimpsed_axis().center_px, last=False, only=only)

    def planes(
        self, x: float = 0.0, y: float = 0.0, row: int | None = None, *, pixels: int = 512
    ) -> OrthogonalPlanes:
        """Return three orthogonal planes of what is there now, coarse enough to be quick.

        The first call computes them from all kept rows; from then on they are kept up to date with
        each block of projections, as long as the same planes are asked for. Phase retrieval, stripe
        removal and half acquisition are left out.

        Parameters
        ----------
        x, y
            Where the vertical planes are, in px from the rotation axis.
        row
            Detector row of the horizontal plane; None: the middle one of those kept.
        pixels
            Most pixels across; columns are averaged and rows left out until they fit.

        Raises
        ------
        ParameterError
            The geometry is general: ask for oblique planes by `volume_angle_x` there. Or the row is
            not kept.
        ReconstructionError
            Fewer than two projections came, or flats are needed and missing.
        """
        from ._planes import PlanesKeeper, row_among, rows_across

        self._check_upright()
        with self._lock:
            self._check_ready(2)
            place = (x, y, row_among(self.rows, row))
            center = self.glimpsed_axis().center_px
            key = (*place, pixels, center, *self._flats.key)
            if self._planes is None or key != self._planes_key:
                self._planes_key = key
                step = -(-self.frame_shape[1] // pixels)
                across = rows_across(self.rows, self.frame_shape[0], step)
                self._planes = PlanesKeeper(
                    self._rows, across, self._flats.field(self.settings, self._stored_shape),
                    self.angles, center, place, step, self.settings, self._pool,
                )  # fmt: skip
            with self._timed("planes"):
                return self._planes.planes()

    def finish(self) -> ReconstructionResult:
        """Reconstruct with all that has come; what is missing is said, not waited for.

        Raises
        ------
        ReconstructionError
            Fewer than two projections came, or flats are needed and missing.
        """
        with self._lock:
            self._check_ready(2)
            if not self._angle_known.all():  # no more are told
                self._angle_known[:] = True
                self._angles_told += 1
            axis = self.axis()
            volume = self._volume(axis.center_px, last=True)
            self._rest()
            return ReconstructionResult(
                volume,
                axis.center_px,
                axis.confidence,
                self.missing,
                self.settings,
                dict(self.timings),
                self.slice_rows,
                None,
                tuple(float(angle) for angle in self.angles[list(self.missing)]),
                self.backend.name,
                self.backend.reason,
            )

    @property
    def _pool(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="reconstruction")
        return self._executor

    def _rest(self) -> None:
        """Let go of threads and of what uses them; the rows stay, for another look."""
        self._engine = self._planes = None
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def axis(self) -> AxisEstimate:
        """Return the rotation axis: as given, or as found from the projections that are there."""
        if self.settings.center is not None:
            return AxisEstimate(self.settings.center, 1.0, "given")
        with self._lock:
            self._check_ready(2)
            key = (int(self._rows.present.sum()), self._angles_told, *self._flats.key)
            if self._axis is None or key != self._axis_key:
                self._axis = self._found_axis()
                self._axis_key = key
            return self._axis

    def glimpsed_axis(self) -> AxisEstimate:
        """Return the axis as it was found lately: good enough for a look, and cheap."""
        if self.settings.center is not None:
            return self.axis()
        with self._lock:
            self._check_ready(2)
            received = int(self._rows.present.sum())
            if self._glimpse is None or (
                received > _MORE * self._glimpse[0] or received == self.num_projections
            ):
                found = self.axis()
                if self._glimpse is not None:
                    before = self._glimpse[1]
                    if abs(before.center_px - found.center_px) < _STILL_PX:
                        # the same column: what was spread for it can go on
                        found = replace(found, center_px=before.center_px)
                self._glimpse = (received, found)
            return self._glimpse[1]

    def tilted_axis(self) -> AxisEstimate:
        """Find the rotation axis and its roll about the beam, from many of the kept rows."""
        with self._lock:
            self._check_ready(2)
            return self._found_axis(tilt=True)

    def _found_axis(self, *, tilt: bool = False) -> AxisEstimate:
        from ._sinogram import axis_of_rows

        with self._timed("finding the axis"):
            return axis_of_rows(
                self._needed_rows(), self._field(), self._layout.kept, self.angles,
                self.frame_shape[0], self.settings, tilt=tilt,
            )  # fmt: skip

    @property
    def _stored_shape(self) -> tuple[int, int]:
        return (self._rows.row_count, self.frame_shape[1])

    def _bytes_held(self) -> int:
        """Memory for kept rows, treated ones and the result."""
        columns = self.frame_shape[1]
        more = self._rows.row_count - len(self._layout.kept)
        return self._layout.bytes(self.num_projections, columns) + (
            2 * more * self.num_projections * columns
        )

    def _needed_places(self) -> NDArray[np.int64]:
        """Places among the kept rows of those that the settings need."""
        kept = {row: place for place, row in enumerate(self.rows)}
        return np.array([kept[int(row)] for row in self._layout.kept])

    def _needed_rows(self) -> ChosenRows:
        return ChosenRows(self._rows, self._needed_places())

    def _like_this(
        self, settings: ReconstructionSettings, every: tuple[int, int] = (0, 1)
    ) -> "Reconstructor":
        """Another reconstructor that has the frames of this one, or every n-th of them."""
        self._settle()
        other = Reconstructor(
            settings,
            num_projections=self.num_projections,
            frame_shape=self.frame_shape,
            angles=self._scan_angles,
        )
        self._check_possible(settings, other.rows)
        kept = {row: place for place, row in enumerate(self.rows)}
        places = np.array([kept[row] for row in other.rows])
        # by the plan, as here
        other._planned = self._planned
        other._weights = angular_weights(self._planned + settings.overall_angle)
        other._rows = self._rows.subset(places)
        other._rows.arrived &= np.arange(self.num_projections) % every[1] == every[0]
        other._rows.settle()
        other._flats.take(self._flats, places)
        return other

    def _check_possible(self, settings: ReconstructionSettings, rows: Iterable[int]) -> None:
        """Refuse settings that the kept frames cannot serve any more."""
        kept = set(self.rows)
        lost = [row for row in rows if row not in kept]
        if lost:
            raise ReconstructionError(
                f"row {lost[0]} is needed, but only {len(kept)} rows were kept ({min(kept)} to "
                f"{max(kept)}); ask for all rows when the scan begins"
            )
        if (settings.darks, settings.flats) != (self.settings.darks, self.settings.flats):
            raise ReconstructionError(
                f"darks and flats were combined by {self.settings.darks} and {self.settings.flats} "
                "as they came; that cannot change afterwards"
            )

    def _apply(self, settings: ReconstructionSettings) -> None:
        """Go on with other settings."""
        layout = layout_of(settings, self.frame_shape)
        self._check_possible(settings, (int(row) for row in layout.kept))
        fixed = ("memory_gib", "threads", "backend")
        changed = [
            name for name in fixed if getattr(settings, name) != getattr(self.settings, name)
        ]
        if changed:
            raise ReconstructionError(
                f"{changed[0]} is {getattr(self.settings, changed[0])!r} since this reconstruction "
                "began, and cannot change while it runs; reconstruct again afterwards"
            )
        chosen_backend(settings)  # it may lack what is asked for now
        before = self._layout
        self._layout = layout
        held = self._bytes_held()
        try:
            check_memory(held, self._budget, layout.slices, self.num_projections)
        except ReconstructionError:
            self._layout = before
            raise
        self.settings, self._held = settings, held
        self.angles = self._scan_angles + settings.overall_angle
        self._weights = angular_weights(self._planned + settings.overall_angle)
        self._engine = self._planes = self._axis = self._glimpse = None

    def _volume(
        self, center: float, *, last: bool, only: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        name, region = self.settings.z_parameter, self.settings.region
        if name is not None and region is not None:
            strip = self.sweep(name, positions(region))
            return strip if only is None else strip[only]
        engine = self._catch_up(center, final=True)
        with self._timed("slices"):
            present = np.flatnonzero(self._rows.present)
            complete = len(present) == self.num_projections
            true = self._weights[present] if complete else angular_weights(self.angles[present])
            ratio = true / np.maximum(self._weights[present], 1e-30)
            scale = float(np.median(ratio))
            extra = true / scale
            size = self.settings.projections_per_block
            spread = np.isin(present // size, engine.spread_blocks)
            extra[spread] -= self._weights[present[spread]]
            rest = []
            for block in np.unique(present // size):
                inside = present // size == block
                changed = inside & (np.abs(extra) > 1e-7 * np.median(true))
                if changed.any():
                    rest.append((present[changed], extra[changed]))
            volume = engine.slices(rest, scale, last=last, only=only)
            if last:  # its grids are spent; the rows are kept
                self._engine = None
            return volume

    def _catch_up(self, center: float, *, final: bool) -> "AnyEngine":
        """Spread the complete blocks that are there, in their order."""
        engine = self._engine_for(center)
        with self._timed("gridding"):
            ready = self._complete_blocks()
            done = engine.spread_blocks
            if done != ready[: len(done)]:  # an earlier block was completed late
                self._engine = None
                engine = self._engine_for(center)
                done = engine.spread_blocks
            expected = done[-1] + 1 if done else 0
            for position, block in enumerate(ready[len(done) :], start=len(done) + 1):
                if not final and block != expected and len(ready) - position < PATIENCE_BLOCKS - 1:
                    break
                engine.spread(block)
                expected = block + 1
        return engine

    def _complete_blocks(self) -> list[int]:
        size = self.settings.projections_per_block
        edges = np.arange(0, self.num_projections, size)
        counts = np.add.reduceat(self._rows.present.astype(np.int64), edges)
        sizes = np.minimum(size, self.num_projections - edges)
        known = np.logical_and.reduceat(self._angle_known, edges)
        return [int(block) for block in np.flatnonzero((counts == sizes) & known)]

    def _engine_for(self, center: float) -> "AnyEngine":
        # what is conditioned as a whole is done again when more has come
        # ... and so is a general geometry, which is laid out by all angles, when more are told
        general = self._layout.heights is not None
        present = int(self._rows.present.sum()) if self._layout.conditioned else 0
        key = (center, *self._flats.key, present, self._angles_told if general else 0)
        if self._engine is None or key != self._engine_key:
            self._engine = None
            self._engine = self._new_engine(center)
            self._engine_key = key
        return self._engine

    def _new_engine(self, center: float) -> "AnyEngine":
        from ._condition import conditioned
        from ._engine import Engine
        from ._gridding import lattice
        from ._plan import chosen_plan
        from ._volume import VolumeEngine

        x, y = lattice(self._layout.x), lattice(self._layout.y)
        rows: Rows = self._needed_rows()
        flat_field = self._field()
        if self._layout.conditioned:
            rows, flat_field = conditioned(
                rows, flat_field, self.settings, self._layout.sliced, center, self._threads
            )
        projector = self._projector(center)
        if projector is not None:
            from ._collecting import CollectingEngine

            return CollectingEngine(
                projector, rows, flat_field, self.angles, self.settings, self._pool
            )
        common = (rows, flat_field, self.angles, self._weights)
        if self._layout.heights is not None:
            heights = self._layout.heights
            return VolumeEngine(
                *common, center, x, y, heights, self.settings, self._pool, self._threads
            )
        plan = chosen_plan(self.frame_shape[1], center, x, y, self.settings)
        from ._memory import GRID_BYTES

        spare = min(self._budget - self._held, GRID_BYTES)
        return Engine(plan, *common, self.settings, self._pool, self._threads, spare)

    def _projector(self, center: float) -> "BackProjector | None":
        """What computes slices in the place of this package's engines, if anything does."""
        if self.backend._make is None:
            return None
        from ._back_projector import SliceGeometry
        from ._gridding import lattice

        x, y = lattice(self._layout.x), lattice(self._layout.y)
        geometry = SliceGeometry(self.frame_shape[1], center, x, y)
        return self.backend._make(geometry, self.settings, self.num_projections)

    def _field(self) -> FlatField:
        whole = self._flats.field(self.settings, self._stored_shape)
        if len(self._layout.kept) == self._rows.row_count:
            places = self._needed_places()
            if (places == np.arange(len(places))).all():
                return whole
        return whole.rows(self._needed_places())

    def _may_begin(self) -> bool:
        """Whether it is worth while to grid now: axis and flats are known."""
        if self.settings.z_parameter is not None or self._layout.conditioned:
            return False
        if self._layout.heights is not None and not self._angle_known.all():
            return False
        flats = self._flats.before.count > 0 or self._flats_needed() is None
        return self.settings.center is not None and flats and self._flats.after.count == 0

    def _flats_needed(self) -> str | None:
        """Why there must be flats, or None."""
        counts = self._rows.data is not None and self._rows.counts
        if self.settings.absorptivity is False or not counts:
            return None
        return f"the projections are counts ({self._rows.frame_dtype})"

    def _settle(self) -> bool:
        """Take note of what has come and was told; tell whether what was computed is out of date."""
        self._rows.settle()
        replaced = self._rows.replaced != self._replaced
        self._replaced = self._rows.replaced
        with self._storing:
            told, self._told = self._told, None
        if told is not None:
            values, known = told[0] + self.settings.overall_angle, told[1]
            # Projections were taken again: what was gridded has the old angles.
            changed = values != self.angles
            replaced |= bool((changed & self._angle_known & self._rows.present).any())
            self._scan_angles = told[0]
            self.angles[:] = values
            self._angle_known[:] = known
            self._angles_told += 1
        if replaced:
            self._engine = self._axis = self._planes = self._glimpse = None
        return replaced

    def _check_ready(self, at_least: int) -> None:
        """Take note of all that has come; refuse to go on when it is not enough."""
        self._settle()
        received = int(self._rows.present.sum())
        if received < at_least:
            raise ReconstructionError(
                f"{received} of {self.num_projections} projections have come, "
                f"at least {at_least} are needed"
            )
        if self._flats.flats == 0 and (why := self._flats_needed()):
            raise ReconstructionError(
                f"no flats were given but {why} and attenuation is wanted; add flats, "
                "or set absorptivity=False to reconstruct the values as they are"
            )

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.timings[what] = self.timings.get(what, 0.0) + time.perf_counter() - begin
