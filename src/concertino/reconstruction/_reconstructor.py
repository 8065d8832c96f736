"""Frames in, in any batches; slices out, at any time."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ReconstructionError

from ._again import Searching
from ._angles import angular_weights
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
from ._result import AxisEstimate, ReconstructionResult
from ._rows import ProjectionRows
from ._settings import ReconstructionSettings, positions

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from ._engine import Engine
    from ._volume import VolumeEngine

AXIS_PIXELS = 2**22  # sinogram pixels that the axis is found from: enough, and under half a second
GRID_BYTES = 3 * 2**29  # for grids that are filled while projections arrive
TILT_ROWS = 128  # rows that a tilt is found from
PATIENCE_BLOCKS = 2  # so many complete blocks later, an incomplete one is left for the end


class Reconstructor(Searching):
    """Reconstructs slices while darks, flats and projections arrive.

    Frames are copied as far as they are needed; the caller may reuse its buffers. Projections are
    regrouped by frame index, so that any batching of the calls gives the same bits. All methods may
    be called from any thread, one at a time.

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

    Raises
    ------
    ParameterError
        The settings do not fit the frames, or the angles are not usable.
    ReconstructionError
        The job needs more memory than is allowed.

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
    ) -> None:
        self.settings = settings
        self.frame_shape = checked_frame_shape(frame_shape)
        self.num_projections = int(num_projections)
        self.angles = checked_angles(angles, self.num_projections, settings.overall_angle)
        self._layout = layout_of(settings, self.frame_shape)
        kept = self._layout.kept
        self._rows = ProjectionRows(self.num_projections, kept, self.frame_shape[1])
        self._budget = memory_budget(settings)
        self._held = self._layout.bytes(self.num_projections, self.frame_shape[1])
        check_memory(self._held, self._budget, self._layout.slices, self.num_projections)
        self._weights = angular_weights(self.angles)
        self._flats = FlatFrames(kept, settings)
        self._threads = settings.threads or usable_cores()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="reconstruction")
        self._lock = threading.RLock()
        self._engine: Engine | VolumeEngine | None = None
        self._engine_key: tuple[object, ...] = ()
        self._axis: AxisEstimate | None = None
        self._axis_key: tuple[object, ...] = ()
        self.timings: dict[str, float] = {}

    @property
    def rows(self) -> tuple[int, ...]:
        """The detector rows that are kept; each is a slice unless the geometry is general."""
        return tuple(int(row) for row in self._layout.kept)

    @property
    def received(self) -> int:
        """Number of projections that have come."""
        return int(self._rows.present.sum())

    @property
    def missing(self) -> tuple[int, ...]:
        """Frame indices of projections that have not come."""
        return tuple(int(index) for index in np.flatnonzero(~self._rows.present))

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

    def add_projections(self, frames: NDArray[np.generic], start: int) -> None:
        """Add projections (frame, row, column), the first of which has the frame index `start`.

        Raises
        ------
        ReconstructionError
            Shape, dtype or indices do not fit the scan, or a projection was given before.
        """
        self._add(frames, start, self._rows.add)

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
        with self._lock:
            with self._timed("copying rows"):
                store(stack, start)
            if self._may_begin():
                self._catch_up(final=False)

    def slices(self) -> NDArray[np.float32]:
        """Reconstruct what is there now, float32, (slice, y, x), on the scale of the whole.

        Raises
        ------
        ReconstructionError
            There are no projections yet, or flats are needed and missing.
        """
        with self._lock:
            self._check_ready(1)
            return self._volume(last=False)

    def finish(self) -> ReconstructionResult:
        """Reconstruct with all that has come; what is missing is said, not waited for.

        Raises
        ------
        ReconstructionError
            Fewer than two projections came, or flats are needed and missing.
        """
        with self._lock:
            self._check_ready(2)
            volume = self._volume(last=True)
            axis = self.axis()
            return ReconstructionResult(
                volume,
                axis.center_px,
                axis.confidence,
                self.missing,
                self.settings,
                dict(self.timings),
            )

    def axis(self) -> AxisEstimate:
        """Return the rotation axis: as given, or as found from the projections that are there."""
        if self.settings.center is not None:
            return AxisEstimate(self.settings.center, 1.0, "given")
        with self._lock:
            key = (self.received, *self._flats.key)
            if self._axis is None or key != self._axis_key:
                self._check_ready(2)
                self._axis = self._found_axis()
                self._axis_key = key
            return self._axis

    def tilted_axis(self) -> AxisEstimate:
        """Find the rotation axis and its roll about the beam, from many of the kept rows."""
        with self._lock:
            self._check_ready(2)
            return self._found_axis(tilt=True)

    def _found_axis(self, *, tilt: bool = False) -> AxisEstimate:
        from ._axis import estimate_axis, estimate_tilt
        from ._sinogram import attenuation_rows

        with self._timed("finding the axis"):
            present = np.flatnonzero(self._rows.present)
            kept = self._layout.kept
            count = AXIS_PIXELS // (len(present) * self.frame_shape[1])
            count = min(max(count, TILT_ROWS if tilt else 1), len(kept))
            places = np.unique(np.linspace(0, len(kept) - 1, count + 2)[1:-1].astype(int))
            field = self._field()
            sinograms = attenuation_rows(self._rows, present, field, self.settings, places)
            angles = self.angles[present]
            if not tilt:
                return estimate_axis(sinograms, angles)
            row = self.settings.center_row
            middle = (self.frame_shape[0] - 1) / 2 if row is None else row
            return estimate_tilt(sinograms, kept[places], middle, angles)

    def _like_this(
        self, settings: ReconstructionSettings, every: tuple[int, int] = (0, 1)
    ) -> "Reconstructor":
        """Another reconstructor that has the frames of this one, or every n-th of them."""
        other = Reconstructor(
            settings,
            num_projections=self.num_projections,
            frame_shape=self.frame_shape,
            angles=self.angles - self.settings.overall_angle,
        )
        kept = {row: place for place, row in enumerate(self.rows)}
        lost = [row for row in other.rows if row not in kept]
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
        places = np.array([kept[row] for row in other.rows])
        other._rows = self._rows.subset(places)
        other._rows.present &= np.arange(self.num_projections) % every[1] == every[0]
        other._flats.take(self._flats, places)
        return other

    def _volume(self, *, last: bool) -> NDArray[np.float32]:
        name, region = self.settings.z_parameter, self.settings.region
        if name is not None and region is not None:
            return self.sweep(name, positions(region))
        engine = self._catch_up(final=True)
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
            volume = engine.slices(rest, scale, last=last)
            if last:  # its grids are spent; the rows are kept
                self._engine = None
            return volume

    def _catch_up(self, *, final: bool) -> "Engine | VolumeEngine":
        """Spread the complete blocks that are there, in their order."""
        engine = self._engine_for(self.axis().center_px)
        with self._timed("gridding"):
            ready = self._complete_blocks()
            done = engine.spread_blocks
            if done != ready[: len(done)]:  # an earlier block was completed late
                self._engine = None
                engine = self._engine_for(self.axis().center_px)
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
        return [int(block) for block in np.flatnonzero(counts == sizes)]

    def _engine_for(self, center: float) -> "Engine | VolumeEngine":
        # what is conditioned as a whole is done again when more has come
        key = (center, *self._flats.key, self.received if self._layout.conditioned else 0)
        if self._engine is None or key != self._engine_key:
            self._engine = None
            self._engine = self._new_engine(center)
            self._engine_key = key
        return self._engine

    def _new_engine(self, center: float) -> "Engine | VolumeEngine":
        from ._condition import conditioned
        from ._engine import Engine
        from ._gridding import lattice
        from ._plan import chosen_plan
        from ._volume import VolumeEngine

        x, y = lattice(self._layout.x), lattice(self._layout.y)
        rows, flat_field = self._rows, self._field()
        if self._layout.conditioned:
            rows, flat_field = conditioned(
                rows, flat_field, self.settings, self._layout.sliced, center, self._threads
            )
        common = (rows, flat_field, self.angles, self._weights)
        if self._layout.heights is not None:
            heights = self._layout.heights
            return VolumeEngine(
                *common, center, x, y, heights, self.settings, self._pool, self._threads
            )
        plan = chosen_plan(self.frame_shape[1], center, x, y, self.settings)
        spare = min(self._budget - self._held, GRID_BYTES)
        return Engine(plan, *common, self.settings, self._pool, self._threads, spare)

    def _field(self) -> FlatField:
        return self._flats.field(self.settings, (len(self._layout.kept), self.frame_shape[1]))

    def _may_begin(self) -> bool:
        """Whether it is worth while to grid now: axis and flats are known."""
        if self.settings.z_parameter is not None or self._layout.conditioned:
            return False
        flats = self._flats.before.count > 0 or self._flats_needed() is None
        return self.settings.center is not None and flats and self._flats.after.count == 0

    def _flats_needed(self) -> str | None:
        """Why there must be flats, or None."""
        counts = self._rows.data is not None and self._rows.counts
        if self.settings.absorptivity is False or not counts:
            return None
        return f"the projections are counts ({self._rows.frame_dtype})"

    def _check_ready(self, at_least: int) -> None:
        if self.received < at_least:
            raise ReconstructionError(
                f"{self.received} of {self.num_projections} projections have come, "
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
