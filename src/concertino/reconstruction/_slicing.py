"""Slices of what has come of a scan, at any time."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ParameterError

from ._axis_finding import AxisFinding
from ._backends import chosen_backend
from ._blocks import complete_blocks, corrections, goes_on, next_blocks
from ._checks import (
    check_memory,
    look_at,
    usable_cores,
)
from ._engine_choice import chosen_engine
from ._layout import slice_width
from ._result import OrthogonalPlanes, ReconstructionResult, value_unit
from ._rows import places_among
from ._settings import ReconstructionSettings, positions
from ._work import Work

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from ._engine_choice import AnyEngine
    from ._planes import PlanesKeeper

LOG = logging.getLogger("concertino.reconstruction")


class Slicing(AxisFinding):
    """The part of `Reconstructor` that makes slices of what has come.

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
        self.backend = chosen_backend(settings)
        LOG.info("backend %s: %s", self.backend.name, self.backend.reason)
        super().__init__(
            settings,
            num_projections=num_projections,
            frame_shape=frame_shape,
            angles=angles,
            keep_rows=keep_rows,
        )
        self._budget = settings.memory_limit_bytes
        self._live = live
        self._held = self._bytes_held()
        check_memory(self._held, self._budget, self._layout.slices, self.num_projections)
        self._threads = settings.threads or usable_cores()
        self._executor: ThreadPoolExecutor | None = None
        self._engine: AnyEngine | None = None
        self._engine_key: tuple[object, ...] = ()
        self._planes: PlanesKeeper | None = None
        self._planes_key: tuple[object, ...] = ()
        self._planes_due = keep_rows in ("planes", "all")

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
        from ._planes import rows_across

        step = -(-self.frame_shape[1] // pixels)
        return step, rows_across(self.rows, self.frame_shape[0], step)

    def _check_upright(self) -> None:
        if self._layout.heights is not None:
            raise ParameterError(
                "three planes at once are for the upright parallel geometry; in a general one, "
                "reconstruct a plane by `volume_angle_x` and a `region` of one position"
            )

    @property
    def memory_bytes(self) -> int:
        """Memory that the job has at its peak, in bytes, beside the darks and flats."""
        from ._memory import job_bytes

        return job_bytes(
            self.backend, self._layout, self.settings, (self.num_projections, *self.frame_shape),
            self._threads, self._budget, self._held, self._live,
        )  # fmt: skip

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
                elif self._planes_due and self._layout.heights is None:
                    from ._planes import load_code

                    self._planes_due = False
                    self._pool.submit(load_code, self.plane_shapes()["xz"][0])
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
        from ._planes import PlanesKeeper, row_among

        self._check_upright()
        with self._lock:
            self._check_ready(2)
            place = (x, y, row_among(self.rows, row))
            center = self.glimpsed_axis().center_px
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
        if self._beside is not None:
            self._beside.end()
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

    def _bytes_held(self) -> int:
        """Memory for kept rows, treated ones and the result."""
        columns, itemsize = self.frame_shape[1], self._rows.itemsize
        more = self._rows.row_count - len(self._layout.kept)
        return self._layout.bytes(self.num_projections, columns, itemsize) + (
            itemsize * more * self.num_projections * columns
        )

    def expect(self, dtype: np.dtype[np.generic]) -> None:
        """Know the type of the frames that are going to come; they may be wider than counts.

        Raises
        ------
        ReconstructionError
            Their rows take more memory than is allowed.
        """
        self._rows.expect(dtype)
        held = self._bytes_held()
        check_memory(held, self._budget, self._layout.slices, self.num_projections)
        self._held = held

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
        engine = self._catch_up(center, final=True, work=work)
        with self._timed("slices"):
            present = np.flatnonzero(self._rows.present)
            weights, true = self._scan_angles.weights, self._scan_angles.weights_of(present)
            size = self.settings.projections_per_block
            scale, rest = corrections(present, engine.spread_blocks, size, weights, true)
            volume = engine.slices(rest, scale, last=last, only=only, work=work)
            if last:  # its grids are spent; the rows are kept
                self._engine = None
            return volume

    def _catch_up(self, center: float, *, final: bool, work: Work | None = None) -> "AnyEngine":
        """Spread the complete blocks that are there, in their order."""
        engine = self._engine_for(center)
        with self._timed("gridding"):
            size = self.settings.projections_per_block
            ready = complete_blocks(self._rows.present, self._scan_angles.known, size)
            if not goes_on(engine.spread_blocks, ready):
                self._engine = None
                engine = self._engine_for(center)
            blocks = next_blocks(engine.spread_blocks, ready, final=final)
            for block in blocks:
                engine.spread(block)
                if work is not None:
                    work.add(0.5 * engine.early / len(blocks))
        return engine

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
