"""Search a setting by what it does to a slice."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError, ReconstructionError
from concertino.reconstruction.settings._settings import Interval, positions

from ._metrics import Metric, largest_is_best, slice_metric

SliceAt = Callable[[Mapping[str, float]], NDArray[np.float32]]
"""Reconstructs one slice (y, x) with some settings changed."""

SlicesAt = Callable[[Sequence[Mapping[str, float]]], Iterator[tuple[int, NDArray[np.float32]]]]
"""Reconstructs one slice (y, x) for each of several changes of settings; gives place and slice, in any order."""


@dataclass(frozen=True, eq=False)
class ParameterEstimate:
    """The best value of a setting, and the curve it was read from.

    Attributes
    ----------
    parameter
        Name of the setting.
    value
        The best value, between the places that were tried.
    confidence
        0 (a curve without a clear extremum, or slices of nothing but noise) to 1.
    values, metrics
        float64: places tried, in order, and the slice metric there.
    at_edge
        What to do when slices get better towards an edge of the region, whose value it is then; empty otherwise.
    """

    parameter: str
    value: float
    confidence: float
    values: NDArray[np.float64]
    metrics: NDArray[np.float64]
    at_edge: str = ""


def search(
    slices_at: SlicesAt,
    parameter: str,
    region: Interval,
    metric: Metric,
    *,
    smoothing: int = 1,
    refinements: int = 1,
    fixed: Mapping[str, float] | None = None,
    edge: bool = False,
) -> ParameterEstimate:
    """Try all places of a region, then finer ones about the best.

    Parameters
    ----------
    slices_at
        Reconstructs a slice for each of several changes of settings.
    parameter
        Name of the setting.
    region
        (from, to, step), `to` excluded.
    metric
        What makes a slice good.
    smoothing
        The curve is averaged over this many places (odd) before its extremum is taken.
    refinements
        How often the best place's surroundings are tried again with a quarter of the step.
    fixed
        Other settings to change.
    edge
        Whether the best value may be at an edge of the region; the estimate then says so.

    Raises
    ------
    ParameterError
        The region has fewer than three places, or there is no such metric.
    ReconstructionError
        Slices get better towards an edge of the region: the best value is not in it.
    """
    places = positions(region)
    if len(places) < 3:
        raise ParameterError(
            f"region: {region} was given for a search of {parameter} and holds {len(places)} "
            "places; give at least 3."
        )
    sign = -1.0 if largest_is_best(metric) else 1.0
    known: dict[float, float] = {}

    def tried(values: Sequence[float]) -> NDArray[np.float64]:
        new = [value for value in dict.fromkeys(values) if value not in known]
        images = slices_at([{**(fixed or {}), parameter: value} for value in new])
        known.update((new[place], slice_metric(image, metric)) for place, image in images)
        return np.array([known[value] for value in values])

    curve = _smoothed(sign * tried(places), smoothing)
    confidence = _clarity(curve)
    best = places[int(np.argmin(curve))]
    if best in (places[0], places[-1]):
        which = "first" if best == places[0] else "last"
        sentence = (
            f"{parameter}: of the values {places[0]:g} to {places[-1]:g} the {which} one, {best:g}, "
            f"makes the best slice by {metric!r}, so the best value is not in the region. Move the "
            "region, or make it wider."
        )
        if not edge:
            raise ReconstructionError(sentence)
        metrics = np.array([known[value] for value in places])
        return ParameterEstimate(parameter, best, 0.0, np.array(places), metrics, sentence)
    step = region[2]
    for _ in range(refinements):
        step /= 4.0
        around = [best + step * i for i in range(-4, 5)]
        best = around[int(np.argmin(sign * tried(around)))]
    best += step * vertex(sign * tried([best - step, best, best + step]))
    order = sorted(known)
    return ParameterEstimate(
        parameter, best, confidence, np.array(order), np.array([known[value] for value in order])
    )


def optimise(
    slice_at: SliceAt, start: Mapping[str, Interval], metric: Metric, *, iterations: int
) -> dict[str, float]:
    """Find several settings together by SciPy's Nelder-Mead, from the middle of their regions.

    Parameters
    ----------
    start
        For each setting (from, to, step): bounds, and the size of the first steps.
    iterations
        Limit of the number of iterations.

    Returns
    -------
    dict
        The best value of each setting.
    """
    from scipy.optimize import minimize

    names = list(start)
    bounds = [start[name][:2] for name in names]
    middle = np.array([(low + high) / 2 for low, high in bounds])
    simplex = np.vstack([middle, middle + np.diag([start[name][2] for name in names])])
    sign = -1.0 if largest_is_best(metric) else 1.0

    def cost(values: NDArray[np.float64]) -> float:
        changes = dict(zip(names, (float(value) for value in values), strict=True))
        return sign * slice_metric(slice_at(changes), metric)

    found = minimize(
        cost,
        middle,
        method="Nelder-Mead",
        bounds=bounds,
        options={"maxiter": iterations, "initial_simplex": simplex},
    )
    return dict(zip(names, (float(value) for value in found.x), strict=True))


def vertex(values: NDArray[np.floating]) -> float:
    """Offset of a parabola's lowest point through three values."""
    left, middle, right = (float(value) for value in values)
    curve = left - 2.0 * middle + right
    return 0.0 if curve <= 0 else float(np.clip(0.5 * (left - right) / curve, -0.5, 0.5))


def _smoothed(curve: NDArray[np.float64], places: int) -> NDArray[np.float64]:
    if places <= 1:
        return curve
    half = places // 2
    padded = np.pad(curve, half, mode="edge")
    return np.convolve(padded, np.ones(2 * half + 1) / (2 * half + 1), mode="valid")


def _clarity(curve: NDArray[np.float64]) -> float:
    """How much of the curve is one valley: 1 for a smooth one inside, 0 for noise or an edge."""
    best = int(np.argmin(curve))
    if best in (0, len(curve) - 1) or np.ptp(curve) == 0:
        return 0.0
    falling, rising = -np.diff(curve[: best + 1]), np.diff(curve[best:])
    steps = np.concatenate([falling, rising])
    wrong = -steps[steps < 0].sum()
    return float(np.clip(1.0 - 2.0 * wrong / np.abs(steps).sum(), 0.0, 1.0))
