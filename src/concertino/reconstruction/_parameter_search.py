"""One slice with each of several settings, side by side, and the setting that makes the best one."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ReconstructionError

from ._slice_maker import SliceMaker
from .analysis._metrics import Metric, correlation
from .analysis._search import ParameterEstimate, optimise, search
from .settings._layout import layout_of
from .settings._settings import Interval, ReconstructionSettings, positions

Images = Iterator[tuple[int, NDArray[np.float32]]]


class ParameterSearch:
    """Slices of one row with each of several settings, and the setting that makes the best one.

    Made by a `Reconstructor`, which has it as `search`. All methods may be called from any thread.

    Parameters
    ----------
    maker
        Which has the frames, and the settings that are changed.
    lock
        Held while slices are made.
    """

    def __init__(self, maker: SliceMaker, lock: AbstractContextManager[Any]) -> None:
        self._maker, self._lock = maker, lock

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
        changes = [{parameter: value} for value in values]
        with self._lock:
            strip = np.empty((len(changes), *self._maker.job.slice_shape), np.float32)
            for _ in self.slices_with(changes, (0, 1), strip):
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
        shape = self._maker.job.slice_shape
        slice_bytes = 4 * math.prod(shape)
        limit = self._maker.job.settings.memory_limit_bytes
        if values * slice_bytes > limit:
            raise ReconstructionError(
                f"region: {values:.4g} slices of {shape[1]} x {shape[0]} px need "
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
        strip = np.empty((len(positions(region)), *self._maker.job.slice_shape), np.float32)
        room = [strip]

        def kept(changes: Sequence[Mapping[str, float]]) -> Images:
            # those of the region are tried first
            return self.slices_with(changes, (0, 1), room.pop() if room else None)

        with self._lock:
            found = search(kept, parameter, region, metric, edge=True, **how)
            return strip, self._judged(found, {})

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
            return self._judged(search(self.slices_with, parameter, region, metric, **how), {})

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
                        self.slices_with, name, region, metric, fixed=others, **how
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
        return next(self.slices_with([changes], every))[1]

    def slices_with(
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

        maker, job = self._maker, self._maker.job
        row = job.first_row(maker.store.kept)
        base = job.settings.updated(z_parameter=None, region=None, slices=row)
        if base.center is None and any("center" not in change for change in changes):
            base = base.updated(center=maker.axis().center_px)
        if base.half_acquisition:  # its width goes with the axis, and images of a strip are alike
            base = base.updated(x_region=job.layout.x, y_region=job.layout.y)
        changed = [base.updated(**change) for change in changes]
        # the changes may tell the geometry, too: what they leave decides
        if fit_in_lanes(changes, changed):
            yield from self._in_lanes(changed, every, into)
            return
        at_once = self._slices_at_once(changed[0]) if len(changes) > 1 else 1
        for first in range(0, len(changes), at_once):
            together = changed[first : first + at_once]
            threads = max(1, job.threads // len(together))
            others = [maker.with_settings(one.updated(threads=threads), every) for one in together]
            for place, image in enumerate(maker.pool.map(_first_slice, others), first):
                if into is not None:
                    into[place] = image
                yield place, image

    def _slices_at_once(self, settings: ReconstructionSettings) -> int:
        """How many jobs of one slice go side by side: one for each thread, if there is memory."""
        job = self._maker.job
        each = job.peak_bytes(settings, 1, job.own_bytes(settings))
        return max(1, min(job.threads, self._maker.spare_bytes // each))

    def _in_lanes(
        self,
        settings: Sequence[ReconstructionSettings],
        every: tuple[int, int],
        into: NDArray[np.float32] | None,
    ) -> Images:
        maker = self._maker
        for one in settings:
            layout_of(one, maker.job.frame_shape)  # refuses an axis that the detector does not see
        shared = maker.with_settings(settings[0], every)
        spare = maker.spare_bytes - maker.job.own_bytes(settings[0])
        yield from shared.lane_slices(maker.pool, spare).slices(settings, into)


def _first_slice(one: SliceMaker) -> NDArray[np.float32]:
    image: NDArray[np.float32] = one.volume(one.axis().center_px, last=True)[0]
    one.rest()
    return image
