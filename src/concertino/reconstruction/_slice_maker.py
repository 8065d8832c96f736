"""Slices of what has come of a scan; what was begun is kept, and gone on with when more has come."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError, ReconstructionError

from ._frame_store import FrameStore
from ._resolved_job import ResolvedJob
from .analysis._axis_cache import AxisCache
from .analysis._result import AxisEstimate, OrthogonalPlanes
from .engines._engine_choice import chosen_engine
from .engines._progress import SliceProgress
from .preprocessing._blocks import complete_blocks, corrections, goes_on, next_blocks
from .preprocessing._rows import Rows
from .preprocessing._short_scan import check_arc
from .settings._layout import layout_of, slice_width
from .settings._settings import ReconstructionSettings

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from .engines._engine_choice import AnyEngine
    from .engines._lanes import LaneSlices
    from .engines._planes import PlanesKeeper


class SliceMaker:
    """Makes slices and planes of what is in a store, as a job says by then.

    Used by one thread at a time.

    Parameters
    ----------
    job
        Which slices, and how; it may change, see `change`.
    store
        What has come of the scan.
    planes_wanted
        Whether planes will be asked for: their code is loaded with the first projections.

    Raises
    ------
    ParameterError
        The angles are too few for the geometry.
    ReconstructionError
        The job needs more memory than is allowed.
    """

    def __init__(self, job: ResolvedJob, store: FrameStore, *, planes_wanted: bool = False) -> None:
        check_arc(job.settings, store.angles.scan, job.frame_shape[1])
        self.job, self.store = job, store
        self._axis = AxisCache()
        self._engine: AnyEngine | None = None
        self._engine_key: tuple[object, ...] = ()
        self._planes: PlanesKeeper | None = None
        self._planes_key: tuple[object, ...] = ()
        self._planes_wanted = planes_wanted
        self._executor: ThreadPoolExecutor | None = None
        job.held_bytes(store.rows)

    def with_settings(
        self, settings: ReconstructionSettings, every: tuple[int, int] = (0, 1)
    ) -> "SliceMaker":
        """Return another one that has the frames of this one, or every n-th of them, and other settings.

        Raises
        ------
        ReconstructionError
            The frames that are kept cannot serve them.
        """
        self.settle()
        job = self.job
        other = ResolvedJob.of(settings, job.num_projections, job.frame_shape, live=job.live)
        self._check_possible(settings, other.layout.kept)
        return SliceMaker(other, self.store.part(other, every))

    def change(self, settings: ReconstructionSettings) -> None:
        """Go on with other settings.

        Raises
        ------
        ParameterError, ReconstructionError
            The frames that are kept, back end, threads or memory cannot serve them; nothing has changed then.
        """
        layout = layout_of(settings, self.job.frame_shape)
        self._check_possible(settings, layout.kept)
        job = self.job.changed_to(settings, layout)
        job.held_bytes(self.store.rows)
        self.job = job
        self.store.angles.turn_by(settings.overall_angle, settings.angular_period)
        self._forget()

    def _check_possible(
        self, settings: ReconstructionSettings, rows: Iterable[int | np.integer]
    ) -> None:
        """Refuse settings that the kept frames cannot serve any more."""
        kept = set(self.store.kept)
        lost = [int(row) for row in rows if int(row) not in kept]
        if lost:
            raise ReconstructionError(
                f"Row {lost[0]} is needed, and only {len(kept)} rows were kept ({min(kept)} to "
                f"{max(kept)}); ask for all rows when the scan begins."
            )
        now = self.job.settings
        if (settings.darks, settings.flats) != (now.darks, now.flats):
            raise ReconstructionError(
                f"Darks and flats were combined by {now.darks} and {now.flats} "
                "as they came, which cannot change afterwards. Choose how before the scan begins."
            )

    def settle(self) -> bool:
        """Take note of what has come; tell whether what was computed is out of date."""
        return self._forget_if(self.store.settle())

    def close_angles(self) -> None:
        """Take angles that are not final as they are."""
        self._forget_if(self.store.angles.close())

    def _forget_if(self, out_of_date: bool) -> bool:
        if out_of_date:  # what was gridded has other frames, angles or weights
            self._forget()
        return out_of_date

    def _forget(self) -> None:
        self._engine = self._planes = None
        self._axis.forget()

    def check_ready(self, at_least: int) -> None:
        """Take note of all that has come; refuse to go on when it is not enough."""
        self.settle()
        self.store.check_enough(at_least, self.job.settings)

    def axis(self) -> AxisEstimate:
        """Return the rotation axis: as given, or as found from the projections that are there."""
        if (center := self.job.settings.center) is not None:
            return AxisEstimate(center, 1.0, "given")
        self.check_ready(2)
        return self._axis.exact(self._found_axis, self._axis_key)

    def estimate_axis_quickly(self) -> AxisEstimate:
        """Return the axis as it was found lately: good enough for a look, and cheap."""
        if self.job.settings.center is not None:
            return self.axis()
        self.check_ready(2)
        return self._axis.lately(
            self._found_axis, self._axis_key, self.store.present, self.job.num_projections
        )

    def tilted_axis(self) -> AxisEstimate:
        """Find the rotation axis and its roll about the beam, from many of the kept rows."""
        self.check_ready(2)
        return self._found_axis(tilt=True)

    @property
    def _axis_key(self) -> tuple[object, ...]:
        return (self.store.present, self.store.angles.times_told, *self.store.flats.key)

    def _found_axis(self, *, tilt: bool = False) -> AxisEstimate:
        from .preprocessing._sinogram import axis_of_rows

        store, job = self.store, self.job
        with store.timings.timed("finding the axis"):
            return axis_of_rows(
                store.needed_rows(job.layout), store.field(job.settings, job.layout), job.layout.kept,
                store.angles.turned, job.frame_shape[0], job.settings, tilt=tilt,
            )  # fmt: skip

    def volume(
        self,
        center: float,
        *,
        last: bool,
        only: NDArray[np.int64] | None = None,
        progress: SliceProgress | None = None,
    ) -> NDArray[np.float32]:
        """Make the slices, float32, (slice, y, x), of all that is there.

        Parameters
        ----------
        center
            Column of the rotation axis.
        last
            Nothing more will come: the grids are given up.
        only
            Places of the slices that are wanted.
        progress
            Told how much is done.
        """
        progress = progress or SliceProgress()
        engine, _ = self._catch_up(center, final=True, progress=progress)
        store = self.store
        with store.timings.timed("slices"):
            present = np.flatnonzero(store.rows.present)
            weights, true = store.angles.weights, store.angles.weights_of(present)
            size = self.job.settings.projections_per_block
            scale, rest = corrections(present, engine.spread_blocks, size, weights, true)
            volume = engine.slices(rest, scale, last=last, only=only, progress=progress)
            if last:  # its grids are spent; the rows are kept
                self._engine = None
            return volume

    def begin(self, most: int | None = None) -> bool:
        """Compute with what has come, so many blocks at most; tell whether there may be more."""
        if self.settle() or self.store.rows.data is None:
            return False  # it is all made anew when slices are asked for
        more = False
        if self._may_begin():
            more = self._catch_up(self.axis().center_px, final=False, most=most)[1]
        if self._planes is not None:
            more |= self._planes.catch_up(all_of_them=False, most=most)
        elif self._planes_wanted and self.job.layout.heights is None:
            from .engines._planes import load_code

            self._planes_wanted = False
            self.pool.submit(load_code, self.plane_shapes()["xz"][0])
        return more

    def _may_begin(self) -> bool:
        """Whether it is worth while to grid now: axis and flats are known."""
        job, flats = self.job, self.store.flats
        settings, layout = job.settings, job.layout
        if not job.live or settings.z_parameter is not None or layout.conditioned:
            return False
        if layout.heights is not None and not self.store.angles.known.all():
            return False
        known = flats.before.count > 0 or self.store.flats_needed(settings) is None
        return settings.center is not None and known and flats.after.count == 0

    def _catch_up(
        self,
        center: float,
        *,
        final: bool,
        progress: SliceProgress | None = None,
        most: int | None = None,
    ) -> "tuple[AnyEngine, bool]":
        """Spread the complete blocks that are there, in their order; tell whether more could be spread now."""
        engine, store = self._engine_for(center), self.store
        with store.timings.timed("gridding"):
            size = self.job.settings.projections_per_block
            ready = complete_blocks(store.rows.present, store.angles.known, size)
            if not goes_on(engine.spread_blocks, ready):
                self._engine = None
                engine = self._engine_for(center)
            waiting = next_blocks(engine.spread_blocks, ready, final=final)
            blocks = waiting[:most]
            for block in blocks:
                engine.spread(block)
                if progress is not None:
                    progress.add(0.5 * engine.early / len(blocks))
        return engine, len(blocks) < len(waiting)

    def _engine_for(self, center: float) -> "AnyEngine":
        job, store = self.job, self.store
        # what is conditioned as a whole is done again with more, a general geometry with other angles
        general = job.layout.heights is not None
        present = store.present if job.layout.conditioned else 0
        key = (center, *store.flats.key, present, store.angles.times_told if general else 0)
        if self._engine is None or key != self._engine_key:
            self._engine = None
            self._engine = chosen_engine(
                job.backend, job.layout, job.settings, store.needed_rows(job.layout),
                store.field(job.settings, job.layout), store.angles.turned, store.angles.weights,
                center, self.pool, job.threads, self.spare_bytes if job.live else 0,
            )  # fmt: skip
            self._engine_key = key
        return self._engine

    @property
    def spare_bytes(self) -> int:
        """Memory that is allowed beyond what is held all the time."""
        return self.job.budget_bytes - self.job.held_bytes(self.store.rows)

    def lane_slices(self, pool: ThreadPoolExecutor, spare_bytes: int) -> "LaneSlices":
        """Return what makes a slice of the first row with each of several axes or cut-offs."""
        from .engines._lanes import LaneSlices
        from .preprocessing._whole_projection_filters import conditioned

        self.check_ready(1)
        job, store = self.job, self.store
        layout, settings = job.layout, job.settings
        rows: Rows = store.needed_rows(layout)
        field = store.field(settings, layout)
        if layout.conditioned:
            rows, field = conditioned(
                rows, field, settings, layout.sliced, self.axis().center_px, job.threads
            )
        present, weights = np.flatnonzero(store.rows.present), store.angles.weights
        scale, parts = corrections(
            present, [], settings.projections_per_block, weights, store.angles.weights_of(present)
        )
        return LaneSlices(
            rows, field, store.angles.turned, parts, scale, layout, pool, job.threads, spare_bytes
        )

    def planes(self, x: float, y: float, row: int | None, pixels: int) -> OrthogonalPlanes:
        """Return three orthogonal planes, as `Reconstructor.planes`."""
        from .engines._planes import PlanesKeeper, row_among

        self._check_upright()
        self.check_ready(2)
        job, store = self.job, self.store
        place = (x, y, row_among(store.kept, row))
        center = self.estimate_axis_quickly().center_px
        key = (*place, pixels, center, *store.flats.key)
        if self._planes is None or key != self._planes_key:
            self._planes_key = key
            step, across = self._plane_sampling(pixels)
            self._planes = PlanesKeeper(
                store.rows, across, store.flats.field(job.settings, store.shape),
                store.angles.turned, store.angles.weights, center, place, step, job.settings,
                self.pool,
            )  # fmt: skip
        with store.timings.timed("planes"):
            return self._planes.planes()

    def plane_shapes(self, pixels: int = 512) -> dict[str, tuple[int, int]]:
        """Shapes of the planes' images, as `Reconstructor.plane_shapes`."""
        self._check_upright()
        step, across = self._plane_sampling(pixels)
        columns = self.job.frame_shape[1]
        size, height = slice_width(self.job.settings, columns) // step, len(across)
        return {"xy": (size, size), "xz": (height, size), "yz": (height, size)}

    def _plane_sampling(self, pixels: int) -> tuple[int, NDArray[np.int64]]:
        """Columns that are averaged for planes, and the places of the kept rows that they show."""
        from .engines._planes import rows_across

        height, columns = self.job.frame_shape
        step = -(-columns // pixels)
        return step, rows_across(self.store.kept, height, step)

    def _check_upright(self) -> None:
        if self.job.layout.heights is not None:
            raise ParameterError(
                "Three planes at once are for the upright parallel geometry; in a general one, "
                "reconstruct a plane by `volume_angle_x` and a `region` of one position."
            )

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Where to compute."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(
                self.job.threads, thread_name_prefix="reconstruction"
            )
        return self._executor

    def rest(self) -> None:
        """Let go of threads and of what uses them; the rows stay, for another look."""
        self._engine = self._planes = None
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None
