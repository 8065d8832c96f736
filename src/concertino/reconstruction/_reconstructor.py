"""Frames in, in any batches; slices out, at any time, and again with other settings."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ReconstructionError

from ._slicing import Slicing
from .analysis._metrics import Metric, correlation
from .analysis._resolution import Resolution, fourier_correlation
from .analysis._result import value_unit
from .analysis._search import ParameterEstimate, optimise, search
from .preprocessing._blocks import corrections
from .preprocessing._rows import Rows
from .settings._layout import layout_of
from .settings._settings import Interval, ReconstructionSettings, positions

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from .engines._lanes import LaneSlices

Images = Iterator[tuple[int, NDArray[np.float32]]]


class Reconstructor(Slicing):
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
        What a projection counts for follows them, until `set_angles` has told all and some weight
        differs by more than a tenth.
    keep_rows
        Detector rows to keep of each frame beside those that the settings need, for planes, `update`
        and `with_settings`: numbers, ``"all"``, or ``"planes"`` for those that `planes` shows.
    live
        False for frames that are all there already: slices are begun when they are asked for, one group after
        the other, which takes less memory and time than to have grids of all of them meanwhile.

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

    def with_settings(self, settings: ReconstructionSettings) -> "Reconstructor":
        """Return another reconstructor that has the rows of this one that the settings need, to be finished.

        Raises
        ------
        ReconstructionError
            The settings need rows that were not kept, or combine darks or flats in another way.
        """
        with self._lock:
            return self._like_this(settings)

    def resolution(self, *, one_slice: bool = False) -> Resolution:
        """Compare the slices of the odd and of the even projections.

        Parameters
        ----------
        one_slice
            Only the middle one of the slices: as expensive as one slice.

        Returns
        -------
        Resolution
            Fourier ring correlation of one slice, shell correlation of 8 slices or more.
        """
        with self._lock:
            base = self.settings.updated(center=self.axis().center_px)
            if one_slice and self.settings.z_parameter is None:
                row = round(self.slice_rows[len(self.slice_rows) // 2])
                base = base.updated(slices=(row,), region=None)
            halves = [self._like_this(base, every=(part, 2)).finish().volume for part in (0, 1)]
        if len(halves[0]) < 8:
            middle = len(halves[0]) // 2
            halves = [volume[middle] for volume in halves]
        return fourier_correlation(halves[0], halves[1])

    @property
    def value_unit(self) -> str:
        """Unit of the slices, as far as flats have come; see `ReconstructionResult`."""
        return value_unit(self.settings, self._field().logarithm)

    def sweep(self, parameter: str, values: Iterable[float]) -> NDArray[np.float32]:
        """Reconstruct one slice for each value of a setting.

        Parameters
        ----------
        parameter
            Name of a setting, as `ReconstructionSettings.z_parameter`.
        values
            Its values.

        Returns
        -------
        ndarray
            float32, (value, y, x): the slice of the first row that was asked for.
        """
        with self._lock:
            changes = [{parameter: value} for value in values]
            strip = np.empty((len(changes), *self.slice_shape), np.float32)
            for _ in self._slices_with(changes, (0, 1), strip):
                pass
            return strip

    def check_sweep(self, region: Interval) -> None:
        """Refuse a sweep whose slices do not fit into the memory that is allowed.

        Raises
        ------
        ReconstructionError
            If they do not.
        """
        start, stop, step = region
        values = max(1.0, (stop - start) / step)
        slice_bytes = 4 * math.prod(self.slice_shape)
        limit = self.settings.memory_limit_bytes
        if values * slice_bytes > limit:
            raise ReconstructionError(
                f"region: {values:.4g} slices of {self.slice_shape[1]} x {self.slice_shape[0]} px need "
                f"{values * slice_bytes / 2**30:.3g} GiB, and {limit / 2**30:.3g} GiB are allowed. Give a longer step "
                "or a shorter region, or raise `memory_gib`."
            )

    def sweep_and_find(
        self, parameter: str, region: Interval, metric: Metric = "std", **how: Any
    ) -> tuple[NDArray[np.float32], ParameterEstimate]:
        """Reconstruct a slice for each value of a setting and find the best value, each slice once.

        Parameters
        ----------
        parameter, region, metric, how
            As for `find_parameter`.

        Returns
        -------
        ndarray
            float32, (value, y, x), as `sweep`.
        ParameterEstimate
            As `find_parameter`; the best value may be at an edge of the region.

        Raises
        ------
        ReconstructionError
            If all slices do not fit into the memory that is allowed.
        """
        self.check_sweep(region)
        strip = np.empty((len(positions(region)), *self.slice_shape), np.float32)
        room = [strip]

        def kept(changes: Sequence[Mapping[str, float]]) -> Images:
            # those of the region are tried first
            return self._slices_with(changes, (0, 1), room.pop() if room else None)

        with self._lock:
            found = self._judged(search(kept, parameter, region, metric, edge=True, **how), {})
            return strip, found

    def find_parameter(
        self, parameter: str, region: Interval, metric: Metric = "std", **how: Any
    ) -> ParameterEstimate:
        """Find the value of a setting that makes the best slice.

        Parameters
        ----------
        parameter
            Name of a setting, as `ReconstructionSettings.z_parameter`.
        region
            Values to try first: (from, to, step).
        metric
            What makes a slice good; see `slice_metric`.
        how
            `smoothing`: places over which the curve is averaged; `refinements`: how often the best
            place's surroundings are tried with a quarter of the step.
        """
        with self._lock:
            return self._judged(search(self._slices_with, parameter, region, metric, **how), {})

    def find_parameters(
        self,
        regions: Mapping[str, Interval],
        metric: Metric = "std",
        *,
        iterations: int = 2,
        together: bool = False,
        **how: Any,
    ) -> dict[str, ParameterEstimate]:
        """Find several settings: one after the other, again and again, or together by SciPy.

        Parameters
        ----------
        regions
            For each setting (from, to, step).
        iterations
            How often each is searched in turn; with `together`, the optimiser's limit is 25 times it.
        together
            Optimise all at once (Nelder-Mead). Each setting's region is tried once more, the others
            being at their best, to tell how clear its optimum is.
        how
            `smoothing` and `refinements`, as for `find_parameter`.

        Returns
        -------
        dict
            For each setting its best value, the confidence in it, and the curve that both are of.
        """
        with self._lock:
            best: dict[str, float] = {}
            found: dict[str, ParameterEstimate] = {}
            if together:
                best = optimise(self._slice_with, regions, metric, iterations=25 * iterations)
                iterations, how = 1, {**how, "refinements": 0}
            for _ in range(iterations):
                for name, region in regions.items():
                    others = {key: value for key, value in best.items() if key != name}
                    found[name] = search(
                        self._slices_with, name, region, metric, fixed=others, **how
                    )
                    if together:
                        found[name] = replace(found[name], value=best[name])
                    best[name] = found[name].value
            return {name: self._judged(one, best) for name, one in found.items()}

    def _judged(self, found: ParameterEstimate, others: Mapping[str, float]) -> ParameterEstimate:
        """Trust an estimate as far as slices of the odd and of the even projections show the same."""
        changes = {**others, found.parameter: found.value}
        alike = correlation(*(self._slice_with(changes, (part, 2)) for part in (0, 1)))
        whole = max(0.0, 2 * alike / (1 + alike))  # of all projections (Spearman and Brown)
        return replace(found, confidence=found.confidence * whole)

    def _slice_with(
        self, changes: Mapping[str, float], every: tuple[int, int] = (0, 1)
    ) -> NDArray[np.float32]:
        return next(self._slices_with([changes], every))[1]

    def _slices_with(
        self,
        changes: Sequence[Mapping[str, float]],
        every: tuple[int, int] = (0, 1),
        into: NDArray[np.float32] | None = None,
    ) -> Images:
        """Reconstruct one slice with each of some changes: on grids that they share, if they can.

        Else side by side, each in a thread of its own: a single slice is too little for several
        threads, which then wait for one another. They come with their places, in any order, and lie in `into`
        (place, y, x) then, if it is given.
        """
        from .engines._lanes import fit_in_lanes

        base = self.settings.updated(z_parameter=None, region=None, slices=self._first_row())
        if base.center is None and any("center" not in change for change in changes):
            base = base.updated(center=self.axis().center_px)
        if base.half_acquisition:  # its width goes with the axis, and images of a strip are alike
            base = base.updated(x_region=self._layout.x, y_region=self._layout.y)
        changed = [base.updated(**change) for change in changes]
        # the changes may tell the geometry, too: what they leave decides
        if fit_in_lanes(changes, changed):
            yield from self._in_lanes(changed, every, into)
            return
        at_once = self._slices_at_once(changed[0]) if len(changes) > 1 else 1
        for first in range(0, len(changes), at_once):
            together = changed[first : first + at_once]
            threads = max(1, self._threads // len(together))
            others = [self._like_this(one.updated(threads=threads), every) for one in together]
            for place, image in enumerate(self._pool.map(_first_slice, others), first):
                if into is not None:
                    into[place] = image
                yield place, image

    def _slices_at_once(self, settings: ReconstructionSettings) -> int:
        """How many jobs of one slice go side by side: one for each thread, if there is memory."""
        each = self._job_bytes(settings, 1, self._own_bytes(settings))
        return max(1, min(self._threads, (self._budget - self._held) // each))

    def _own_bytes(self, settings: ReconstructionSettings) -> int:
        """Memory for treated rows and the result with other settings; raw rows are shared."""
        layout = layout_of(settings, self.frame_shape)
        return layout.bytes(self.num_projections, self.frame_shape[1], 0)

    def _in_lanes(
        self,
        settings: Sequence[ReconstructionSettings],
        every: tuple[int, int],
        into: NDArray[np.float32] | None,
    ) -> Images:
        for one in settings:
            layout_of(one, self.frame_shape)  # refuses an axis that the detector does not see
        shared = self._like_this(settings[0], every)
        spare = self._budget - self._held - self._own_bytes(settings[0])
        yield from shared._lane_slices(self._pool, spare).slices(settings, into)

    def _lane_slices(self, pool: ThreadPoolExecutor, spare_bytes: int) -> "LaneSlices":
        """Return what makes a slice of the first row with each of several axes or cut-offs."""
        from .engines._lanes import LaneSlices
        from .preprocessing._whole_projection_filters import conditioned

        self._check_ready(1)
        rows: Rows = self._needed_rows()
        field, layout, settings = self._field(), self._layout, self.settings
        if layout.conditioned:
            rows, field = conditioned(
                rows, field, settings, layout.sliced, self.axis().center_px, self._threads
            )
        present, weights = np.flatnonzero(self._rows.present), self._scan_angles.weights
        scale, parts = corrections(
            present, [], settings.projections_per_block, weights,
            self._scan_angles.weights_of(present),
        )  # fmt: skip
        return LaneSlices(
            rows, field, self.angles, parts, scale, layout, pool,
            self._threads, spare_bytes,
        )  # fmt: skip

    def _first_row(self) -> tuple[int]:
        chosen = self.settings.slices
        if chosen is not None:
            return (chosen[0],)
        by_region = self.settings.region is not None and self.settings.z_parameter is None
        rows = [int(row) for row in self.slice_rows] if by_region else list(self.rows)
        return (rows[len(rows) // 2],)

    def _like_this(
        self, settings: ReconstructionSettings, every: tuple[int, int] = (0, 1)
    ) -> "Reconstructor":
        """Another reconstructor that has the frames of this one, or every n-th of them."""
        self._settle()
        other = _Again(
            settings,
            num_projections=self.num_projections,
            frame_shape=self.frame_shape,
            angles=self._scan_angles.scan,
            live=self._live,
        )
        self._check_possible(settings, other.rows)
        places = self._places(other.rows)
        other._scan_angles = self._scan_angles.like(settings.overall_angle, settings.angular_period)
        other._rows = self._rows.subset(places)
        other._held = other._checked_bytes(other._layout)
        other._rows.arrived &= np.arange(self.num_projections) % every[1] == every[0]
        other._rows.settle()
        other._flats.take(self._flats, places)
        return other


class _Again(Reconstructor):
    """The same scan with other settings: what is odd about its angles was said before."""

    def _tell_odd_angles(self) -> None:
        pass


def _first_slice(one: Reconstructor) -> NDArray[np.float32]:
    image: NDArray[np.float32] = one._volume(one.axis().center_px, last=True)[0]
    one._rest()
    return image
