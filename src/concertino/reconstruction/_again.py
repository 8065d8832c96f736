"""What can be asked again of the frames that have come: other settings, sweeps, searches."""

import threading
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ._metrics import Metric
from ._resolution import Resolution, fourier_correlation
from ._result import AxisEstimate, ReconstructionResult
from ._search import ParameterEstimate, optimise, search
from ._settings import Interval, ReconstructionSettings


class Searching:
    """The part of `Reconstructor` that reconstructs again and again."""

    settings: ReconstructionSettings
    _lock: threading.RLock

    @property
    @abstractmethod
    def rows(self) -> tuple[int, ...]:
        """The detector rows that are kept."""

    @property
    @abstractmethod
    def slice_rows(self) -> tuple[float, ...]:
        """Detector row of each slice."""

    @abstractmethod
    def axis(self) -> AxisEstimate:
        """Return the rotation axis."""

    @abstractmethod
    def finish(self) -> ReconstructionResult:
        """Reconstruct with all that has come."""

    @abstractmethod
    def _like_this(
        self, settings: ReconstructionSettings, every: tuple[int, int] = (0, 1)
    ) -> Self: ...

    @abstractmethod
    def _volume(self, center: float, *, last: bool) -> NDArray[np.float32]: ...

    @abstractmethod
    def _apply(self, settings: ReconstructionSettings) -> None: ...

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

    def with_settings(self, settings: ReconstructionSettings) -> Self:
        """Return another reconstructor that has the rows of this one that the settings need.

        Raises
        ------
        ReconstructionError
            The settings need rows that were not kept, or combine darks or flats in another way.
        """
        with self._lock:
            return self._like_this(settings)

    def rereconstruct(self, settings: ReconstructionSettings) -> ReconstructionResult:
        """Reconstruct again with other settings, from the rows that are kept.

        Raises
        ------
        ReconstructionError
            The settings need rows that were not kept, or combine darks or flats in another way.
        """
        with self._lock:
            return self._like_this(settings).finish()

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
            return np.stack([self._slice_with({parameter: value}) for value in values])

    def find_parameter(
        self, parameter: str, region: Interval, metric: Metric = "negativity", **how: Any
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
            return search(self._slice_with, parameter, region, metric, **how)

    def find_parameters(
        self,
        regions: Mapping[str, Interval],
        metric: Metric = "negativity",
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
                        self._slice_with, name, region, metric, fixed=others, **how
                    )
                    if together:
                        found[name] = replace(found[name], value=best[name])
                    best[name] = found[name].value
            return found

    def _slice_with(self, changes: Mapping[str, float]) -> NDArray[np.float32]:
        base = self.settings.updated(z_parameter=None, region=None, slices=self._first_row())
        if base.center is None and "center" not in changes:
            changes = {**changes, "center": self.axis().center_px}
        other = self._like_this(base.updated(**changes))
        one: NDArray[np.float32] = other._volume(other.axis().center_px, last=True)[0]
        return one

    def _first_row(self) -> tuple[int]:
        chosen = self.settings.slices
        if chosen is not None:
            return (chosen[0],)
        wanted = self.settings.region
        if wanted is not None and self.settings.z_parameter is None:
            rows = [int(row) for row in self.slice_rows]
        else:
            rows = list(self.rows)
        return (rows[len(rows) // 2],)
