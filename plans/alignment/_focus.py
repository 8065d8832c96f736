"""Find where the camera is in focus."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from concertino import DeviceError, ParameterError
from concertino.plans.core._device_queries import ends_where_only_a_run_can_tell
from concertino.plans.core._parameters import check_motor, motor_position, motor_unit, read_number
from concertino.plans.core._protocols import FrameCamera
from concertino.plans.run._computed_readings import ComputedReadings, number
from concertino.plans.run._metadata import check_md, quantity
from concertino.plans.stubs._frames import move_together
from concertino.reconstruction import sharpness
from concertino.units import QuantityLike, convert, convert_count

from ._image_measure import ImageMeasure
from ._measuring import Measuring

_REPEATS = 2
_NOISES = 6.0
_MISFIT = 0.05
_FINE_STEPS = 13
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class FocusResult:
    """Where a measure is greatest.

    Parameters
    ----------
    uid : str
        Of the run.
    position : float
        Where the stage is now, in `unit`.
    unit : str
        The stage's unit.
    uncertainty : float
        Standard deviation of the position, in `unit`.
    figure : float
        The measure there.
    confidence : float
        0 (the measure changes no more than its noise lets it) to 1 (there is no noise).
    """

    uid: str
    position: float
    unit: str
    uncertainty: float
    figure: float
    confidence: float


@ends_where_only_a_run_can_tell
def focus(
    measure: Readable[Any],
    stage: Movable[Any],
    start: QuantityLike,
    end: QuantityLike,
    *,
    num: int = 15,
    tolerance: QuantityLike | None = None,
    beam: Movable[Any] | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[FocusResult]:
    """Move a stage to where a measure is greatest.

    First coarsely, at equal steps over the range, twice at each; then by golden sections
    between the neighbours of the best; then a peak is fitted to what was measured there. The stage
    ends at the best place; when there is none, or something fails, it goes back to where it was.

    Parameters
    ----------
    measure : device
        A camera, whose frames are to be sharp, or any readable device: an `ImageMeasure`, a diode.
    stage : device
        Moves the camera along the beam, or anything else.
    start, end : quantity
        The range to search; plain numbers are in the stage's unit.
    num : int
        Number of coarse steps. Their distance should be less than the width of the peak.
    tolerance : quantity, optional
        When to end the fine search; by default a fiftieth of the coarse step.
    beam : device, optional
        On during the search, and off at each end of it.
    md : dict, optional
        Metadata for the run.

    Returns
    -------
    FocusResult

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then.
    DeviceError
        If the measure hardly changes, or is greatest at an end of the range.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import focus
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = focus(b.camera, b.focus_stage, "-2 mm", "2 mm", beam=b.beam)
    """
    check_md(md)
    if isinstance(measure, FrameCamera):
        measure = ImageMeasure(measure, sharpness)
    check_motor(stage, "stage")
    measuring = Measuring([measure], [stage], beam)
    low = yield from motor_position(stage, start, "start")
    high = yield from motor_position(stage, end, "end")
    unit = yield from motor_unit(stage)
    count = convert_count(num, parameter="num", minimum=5, unit="")
    if low == high:
        raise ParameterError(f"start, end: both are {low:g} {unit}. Give a range to search.")
    low, high = min(low, high), max(low, high)
    step = (high - low) / (count - 1)
    fine = step / 50
    if tolerance is not None:
        fine = convert(tolerance, unit, parameter="tolerance", positive=True)
    yield from measuring.check()
    origin = yield from read_number(stage)
    columns = {"position": unit, "uncertainty": unit, "figure": "", "confidence": ""}
    figures = ComputedReadings("focus", {name: number(unit) for name, unit in columns.items()})
    search = _Search(measuring, stage, unit)
    found: dict[str, float] = {}

    def block() -> MsgGenerator[None]:
        best = yield from search.best(np.linspace(low, high, count), fine)
        yield from figures.note(**best)
        found.update(best)

    def back() -> MsgGenerator[None]:
        if not found:
            yield from bps.mv(stage, origin)

    metadata: Mapping[str, Any] = {
        "plan_name": "focus",
        "plan_args": {
            "measure": measuring.measures[0].name,
            "stage": stage.name,  # type: ignore[attr-defined]
            "start": quantity(low, unit),
            "end": quantity(high, unit),
            "num": count,
            "tolerance": quantity(fine, unit),
            "beam": None if beam is None else measuring.beam.name,
        },
        "hints": {"dimensions": [[[stage.name], "primary"]]},  # type: ignore[attr-defined]
        **(md or {}),
    }
    uid = yield from measuring.run(block, metadata, [back])
    return FocusResult(uid=uid, unit=unit, **found)


@dataclass
class _Search:
    """The measure at the places that were tried."""

    measuring: Measuring
    stage: Any
    unit: str

    def __post_init__(self) -> None:
        self.positions: list[float] = []
        self.values: list[float] = []

    @property
    def measure(self) -> str:
        return str(self.measuring.measures[0].name)

    def at(self, position: float) -> MsgGenerator[float]:
        yield from move_together((self.stage, float(position)))
        return (yield from self.here(float(position)))

    def here(self, position: float) -> MsgGenerator[float]:
        readings = yield from self.measuring.take()
        self.positions.append(position)
        self.values.append((yield from self.measuring.value(readings)))
        return self.values[-1]

    def best(self, places: NDArray[np.float64], fine: float) -> MsgGenerator[dict[str, float]]:
        noise, contrast = yield from self._coarse(places)
        means = np.reshape(self.values, (-1, _REPEATS)).mean(axis=1)
        top = int(np.argmax(means))
        self._check(places, means, noise, contrast)
        lower, upper = float(places[top - 1]), float(places[top + 1])
        place = yield from self._narrowed(lower, upper, fine)
        place, uncertainty = self._peak(place, lower, upper, noise, fine)
        figure = yield from self.at(place)
        measured = int(np.argmax(self.values))
        if self.values[measured] > figure + max(_NOISES * noise, _MISFIT * contrast):
            # The peak is no such shape as was fitted: what was seen counts for more.
            place = self.positions[measured]
            figure = yield from self.at(place)
        confidence = max(0.0, 1.0 - _NOISES * noise / contrast)
        return {
            "position": place,
            "uncertainty": uncertainty,
            "figure": figure,
            "confidence": confidence,
        }

    def _coarse(
        self, places: Sequence[float] | NDArray[np.float64]
    ) -> MsgGenerator[tuple[float, float]]:
        for place in places:
            yield from move_together((self.stage, float(place)))
            for _ in range(_REPEATS):
                yield from self.here(float(place))
        pairs = np.reshape(self.values, (-1, _REPEATS))
        noise = float(np.sqrt(np.mean(np.diff(pairs, axis=1) ** 2) / 2))
        return noise, float(np.ptp(pairs.mean(axis=1)))

    def _check(
        self, places: NDArray[np.float64], means: NDArray[np.float64], noise: float, contrast: float
    ) -> None:
        span = f"from {places[0]:g} to {places[-1]:g} {self.unit} of {self.stage.name}"
        if contrast <= max(_NOISES * noise, 1e-9 * float(np.abs(means).max())):
            raise DeviceError(
                f"focus: {self.measure} is flat {span}: it changes by {contrast:.3g}, with a noise of "
                f"{noise:.3g}. Bring something with contrast into the view, expose longer, or search a "
                "wider range."
            )
        top = int(np.argmax(means))
        if top in (0, len(places) - 1):
            raise DeviceError(
                f"focus: {self.measure} is greatest at the end of the range, at {places[top]:g} "
                f"{self.unit} of {self.stage.name}, so that the best place may lie beyond. Search a range "
                f"that reaches {'below' if top == 0 else 'above'} it."
            )

    def _narrowed(self, lower: float, upper: float, fine: float) -> MsgGenerator[float]:
        """Return where between two places the measure is greatest, by golden sections."""
        left, right = upper - _GOLDEN * (upper - lower), lower + _GOLDEN * (upper - lower)
        at_left = yield from self.at(left)
        at_right = yield from self.at(right)
        for _ in range(_FINE_STEPS):
            if upper - lower <= 2 * fine:
                break
            if at_left > at_right:
                upper, right, at_right = right, left, at_left
                left = upper - _GOLDEN * (upper - lower)
                at_left = yield from self.at(left)
            else:
                lower, left, at_left = left, right, at_right
                right = lower + _GOLDEN * (upper - lower)
                at_right = yield from self.at(right)
        return left if at_left > at_right else right

    def _peak(
        self, place: float, lower: float, upper: float, noise: float, fine: float
    ) -> tuple[float, float]:
        """Return place and uncertainty of the peak fitted to what was measured about it."""
        from scipy.optimize import curve_fit

        positions, values = np.array(self.positions), np.array(self.values)
        near = (positions >= lower) & (positions <= upper)
        positions, values = positions[near], values[near]
        floor, height = float(min(self.values)), float(np.ptp(self.values))
        guess = (place, height, (upper - lower) / 4, floor, 1.0)
        least = (lower, 0.0, (upper - lower) / 100, -np.inf, 0.2)
        most = (upper, np.inf, 10 * (upper - lower), np.inf, 10.0)
        sigma = np.full(len(values), max(noise, 1e-9 * height))
        try:
            fitted, covariance = curve_fit(
                _peak_shape, positions, values, guess, sigma, bounds=(least, most), max_nfev=2000
            )
        except (RuntimeError, ValueError):
            return place, (upper - lower) / 2
        # Scaled by the misfit: a peak of another shape is less certain.
        uncertainty = float(np.sqrt(covariance[0, 0]))
        if not lower < fitted[0] < upper or not uncertainty < upper - lower:
            return place, (upper - lower) / 2
        return float(fitted[0]), max(uncertainty, fine / 2)


def _peak_shape(
    position: NDArray[np.float64],
    place: float,
    height: float,
    width: float,
    floor: float,
    power: float,
) -> NDArray[np.float64]:
    shape: NDArray[np.float64] = (1 + ((position - place) / width) ** 2) ** -power
    return floor + height * shape
