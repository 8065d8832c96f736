"""Slices of what has come of a scan, at any time."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError, ReconstructionError

from ._scan_input import ScanInput
from .analysis._result import OrthogonalPlanes, ReconstructionResult, value_unit
from .backends._backends import chosen_backend
from .engines._engine_choice import chosen_engine
from .engines._work import Work
from .preprocessing._blocks import complete_blocks, corrections, goes_on, next_blocks
from .preprocessing._rows import places_among
from .settings._checks import look_at
from .settings._layout import layout_of, slice_width
from .settings._settings import ReconstructionSettings, positions

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from .engines._engine_choice import AnyEngine
    from .engines._planes import PlanesKeeper


class Slicing(ScanInput):
    """The part of `Reconstructor` that makes slices of what has come, as the settings say by then."""

    _engine: "AnyEngine | None" = None
    _engine_key: tuple[object, ...] = ()
    _planes: "PlanesKeeper | None" = None
    _planes_key: tuple[object, ...] = ()
    _executor: ThreadPoolExecutor | None = None

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
        self._check_upright()
        step, across = self._plane_sampling(pixels)
        size, height = slice_width(self.settings, self.frame_shape[1]) // step, len(across)
        return {"xy": (size, size), "xz": (height, size), "yz": (height, size)}

    def _plane_sampling(self, pixels: int) -> tuple[int, NDArray[np.int64]]:
        """Columns that are averaged for planes, and the places of the kept rows that they show."""
        from .engines._planes import rows_across

        step = -(-self.frame_shape[1] // pixels)
        return step, rows_across(self.rows, self.frame_shape[0], step)

    def _check_upright(self) -> None:
        if self._layout.heights is not None:
            raise ParameterError(
                "Three planes at once are for the upright parallel geometry; in a general one, "
                "reconstruct a plane by `volume_angle_x` and a `region` of one position."
            )

    @property
    def memory_bytes(self) -> int:
        """Memory that the job has at its peak, in bytes, beside the darks and flats."""
        return self._job_bytes(self.settings, self._threads, self._held)

    def _job_bytes(self, settings: ReconstructionSettings, threads: int, held: int) -> int:
        """The same with other settings and threads, that holds so many bytes all the time."""
        from .engines._memory import job_bytes

        frames = (self.num_projections, *self.frame_shape)
        return job_bytes(self.backend, settings, frames, threads, self._budget, held, self._live)

    def _catch_up_if_idle(self, most: int | None = None) -> bool:
        """Grid what has come; while others compute, the next ones, or they, find it there."""
        more = False
        if self._lock.acquire(blocking=False):
            try:
                if self._settle() or self._rows.data is None:
                    return False  # it is all made anew when slices are asked for
                if self._may_begin():
                    more = self._catch_up(self.axis().center_px, final=False, most=most)[1]
                if self._planes is not None:
                    more |= self._planes.catch_up(all_of_them=False, most=most)
                elif self._planes_due and self._layout.heights is None:
                    from .engines._planes import load_code

                    self._planes_due = False
                    self._pool.submit(load_code, self.plane_shapes()["xz"][0])
            finally:
                self._lock.release()
        return more

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
            return self._volume(self.estimate_axis_quickly().center_px, last=False, only=only)

    def planes(
        self, x: float = 0.0, y: float = 0.0, row: int | None = None, *, pixels: int = 512
    ) -> OrthogonalPlanes:
        """Return three orthogonal planes of what is there now, coarse enough to be quick.

        The first call computes them from all kept rows; from then on they are kept up to date with
        each block of projections, as long as the same planes are asked for. Phase retrieval and
        stripe removal are left out.

        Parameters
        ----------
        x, y
            Where the vertical planes are, in px from the rotation axis.
        row
            Detector row of the horizontal plane; None: the middle one of those kept.
        pixels
            Most pixels across, of a frame; columns are averaged and rows left out until they fit.
            Planes of half acquisition have up to twice as many.

        Raises
        ------
        ParameterError
            The geometry is general: ask for oblique planes by `volume_angle_x` there. Or the row is
            not kept.
        ReconstructionError
            Fewer than two projections came, or flats are needed and missing.
        """
        from .engines._planes import PlanesKeeper, row_among

        self._check_upright()
        with self._lock:
            self._check_ready(2)
            place = (x, y, row_among(self.rows, row))
            center = self.estimate_axis_quickly().center_px
            key = (*place, pixels, center, *self._flats.key)
            if self._planes is None or key != self._planes_key:
                self._planes_key = key
                step, across = self._plane_sampling(pixels)
                self._planes = PlanesKeeper(
                    self._rows, across, self._flats.field(self.settings, self._stored_shape),
                    self.angles, self._scan_angles.weights, center, place, step, self.settings,
                    self._pool,
                )  # fmt: skip
            with self._timed("planes"):
                return self._planes.planes()

    def update(self, **changes: Any) -> ReconstructionSettings:
        """Change settings while projections arrive; slices and the result are made with them.

        Parameters
        ----------
        changes
            As for `ReconstructionSettings.updated`.

        Returns
        -------
        ReconstructionSettings
            All settings from now on.

        Raises
        ------
        ParameterError
            A setting is unknown, its value cannot work, or it does not fit the frames.
        ReconstructionError
            It cannot change any more: rows are needed that are not kept, darks and flats were
            combined already, or there is not enough memory. Nothing has changed then.
        """
        with self._lock:
            settings = self.settings.updated(**changes)
            self._apply(settings)
            return settings

    def finish(self, progress: Callable[[float], Any] | None = None) -> ReconstructionResult:
        """Reconstruct with all that has come; what is missing is said, not waited for.

        Parameters
        ----------
        progress
            Called in this thread with the share of the slices that is computed, from 0 to 1, ten times a second
            at most, and with 1 in the end.

        Raises
        ------
        ReconstructionError
            Fewer than two projections came, or flats are needed and missing.
        """
        self.compute_no_more()
        with self._lock:
            self._check_ready(2)
            self._forget_if(self._scan_angles.close())
            axis = self.axis()
            work = Work(progress)
            volume = self._volume(axis.center_px, last=True, work=work)
            work.end()
            self._rest()
            field = self._field()
            look_at(volume, self.slice_rows, field.gain, self.settings)
            return ReconstructionResult(
                volume,
                axis.center_px,
                axis.confidence,
                self.missing,
                self.settings,
                dict(self.timings),
                self.slice_rows,
                missing_angles=tuple(float(angle) for angle in self.angles[list(self.missing)]),
                backend=self.backend.name,
                backend_reason=self.backend.reason,
                value_unit=value_unit(self.settings, field.logarithm),
                doubts=self._flats.doubts(self.settings),
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

    @abstractmethod
    def sweep(self, parameter: str, values: Iterable[float]) -> NDArray[np.float32]:
        """Reconstruct one slice for each value of a setting."""

    def _volume(
        self,
        center: float,
        *,
        last: bool,
        only: NDArray[np.int64] | None = None,
        work: Work | None = None,
    ) -> NDArray[np.float32]:
        name, region = self.settings.z_parameter, self.settings.region
        if name is not None and region is not None:
            strip = self.sweep(name, positions(region))
            return strip if only is None else strip[only]
        work = work or Work()
        engine, _ = self._catch_up(center, final=True, work=work)
        with self._timed("slices"):
            present = np.flatnonzero(self._rows.present)
            weights, true = self._scan_angles.weights, self._scan_angles.weights_of(present)
            size = self.settings.projections_per_block
            scale, rest = corrections(present, engine.spread_blocks, size, weights, true)
            volume = engine.slices(rest, scale, last=last, only=only, work=work)
            if last:  # its grids are spent; the rows are kept
                self._engine = None
            return volume

    def _catch_up(
        self, center: float, *, final: bool, work: Work | None = None, most: int | None = None
    ) -> "tuple[AnyEngine, bool]":
        """Spread the complete blocks that are there, in their order; tell whether more could be spread now."""
        engine = self._engine_for(center)
        with self._timed("gridding"):
            size = self.settings.projections_per_block
            ready = complete_blocks(self._rows.present, self._scan_angles.known, size)
            if not goes_on(engine.spread_blocks, ready):
                self._engine = None
                engine = self._engine_for(center)
            due = next_blocks(engine.spread_blocks, ready, final=final)
            blocks = due[:most]
            for block in blocks:
                engine.spread(block)
                if work is not None:
                    work.add(0.5 * engine.early / len(blocks))
        return engine, len(blocks) < len(due)

    def _engine_for(self, center: float) -> "AnyEngine":
        # what is conditioned as a whole is done again with more, a general geometry with other angles
        general = self._layout.heights is not None
        present = int(self._rows.present.sum()) if self._layout.conditioned else 0
        key = (center, *self._flats.key, present, self._scan_angles.times_told if general else 0)
        if self._engine is None or key != self._engine_key:
            self._engine = None
            self._engine = chosen_engine(
                self.backend, self._layout, self.settings, self._needed_rows(), self._field(),
                self.angles, self._scan_angles.weights, center, self._pool, self._threads,
                self._budget - self._held if self._live else 0,
            )  # fmt: skip
            self._engine_key = key
        return self._engine

    def _may_begin(self) -> bool:
        """Whether it is worth while to grid now: axis and flats are known."""
        if not self._live or self.settings.z_parameter is not None or self._layout.conditioned:
            return False
        if self._layout.heights is not None and not self._scan_angles.known.all():
            return False
        flats = self._flats.before.count > 0 or self._flats_needed() is None
        return self.settings.center is not None and flats and self._flats.after.count == 0

    def _settle(self) -> bool:
        return self._forget_if(super()._settle())

    def _forget_if(self, out_of_date: bool) -> bool:
        if out_of_date:  # what was gridded has other frames, angles or weights
            self._engine = self._planes = None
            self._axis.forget()
        return out_of_date

    def _check_possible(self, settings: ReconstructionSettings, rows: Iterable[int]) -> None:
        """Refuse settings that the kept frames cannot serve any more."""
        kept = set(self.rows)
        lost = [row for row in rows if row not in kept]
        if lost:
            raise ReconstructionError(
                f"Row {lost[0]} is needed, and only {len(kept)} rows were kept ({min(kept)} to "
                f"{max(kept)}); ask for all rows when the scan begins."
            )
        if (settings.darks, settings.flats) != (self.settings.darks, self.settings.flats):
            raise ReconstructionError(
                f"Darks and flats were combined by {self.settings.darks} and {self.settings.flats} "
                "as they came, which cannot change afterwards. Choose how before the scan begins."
            )

    def _apply(self, settings: ReconstructionSettings) -> None:
        """Go on with other settings."""
        layout = layout_of(settings, self.frame_shape)
        self._check_possible(settings, (int(row) for row in layout.kept))
        fixed = {"memory_gib", "threads", "backend"}
        present, wanted = (
            self.settings.model_dump(include=fixed),
            settings.model_dump(include=fixed),
        )
        changed = [name for name in present if wanted[name] != present[name]]
        if changed:
            raise ReconstructionError(
                f"{changed[0]} is {present[changed[0]]!r} since this reconstruction "
                "began, and cannot change while it runs; reconstruct again afterwards."
            )
        chosen_backend(settings)  # it may lack what is asked for now
        self._held = self._checked_bytes(layout)
        self.settings, self._layout = settings, layout
        self._scan_angles.turn_by(settings.overall_angle, settings.angular_period)
        self._engine = self._planes = None
        self._axis.forget()
