"""What stepped and continuous spirals have in common: the geometry, checked."""

from dataclasses import dataclass
from typing import Any

from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.units import QuantityLike, convert

from ._formulas import projections_in_spiral, tomograms_in_spiral
from ._metadata import quantity
from ._parameters import (
    angular_range_deg,
    check_limits,
    check_motor,
    in_motor_unit,
    motor_position,
    per_degree,
)


@dataclass(frozen=True)
class Spiral:
    """A spiral: while the sample turns it moves along the rotation axis.

    Parameters
    ----------
    start_deg, range_deg : float
        First angle, and angle per tomogram, in deg.
    start_mm, shift_mm, height_mm : float
        First height, vertical shift per tomogram, and height of the sample, in mm.
    projections : int
        Per tomogram.
    per_degree, per_mm : float
        What 1 deg and 1 mm are in the units of rotation and vertical stage.
    """

    start_deg: float
    range_deg: float
    start_mm: float
    shift_mm: float
    height_mm: float
    projections: int
    per_degree: float
    per_mm: float

    @property
    def tomograms(self) -> float:
        """How many there are; need not be whole."""
        return tomograms_in_spiral(self.height_mm, self.shift_mm)

    @property
    def total(self) -> int:
        """Number of all projections."""
        return projections_in_spiral(self.tomograms, self.projections)

    def angles(self) -> list[float]:
        """Return the angle of each projection, in the rotation's unit."""
        step = self.range_deg / self.projections
        return [(self.start_deg + i * step) * self.per_degree for i in range(self.total)]

    def heights(self) -> list[float]:
        """Return the height of each projection, in the vertical stage's unit."""
        step = self.shift_mm / self.projections
        return [(self.start_mm + i * step) * self.per_mm for i in range(self.total)]

    def tomo(self, rotation: Any) -> dict[str, Any]:
        """Return the fields of the `TomoBlock`."""
        turns = self.total / self.projections
        return {
            "scheme": "spiral",
            "start_angle_deg": self.start_deg,
            "angular_range_deg": self.range_deg * turns,
            "vertical_start_mm": self.start_mm,
            "vertical_range_mm": self.shift_mm * turns,
            "projections_per_tomogram": self.projections,
            "rotation": rotation.name,
        }

    def plan_args(self) -> dict[str, Any]:
        """Return the parameters for the start document."""
        return {
            "num_projections": self.projections,
            "num_tomograms": self.tomograms,
            "angular_range": quantity(self.range_deg, "deg"),
            "start_angle": quantity(self.start_deg, "deg"),
            "start_position_vertical": quantity(self.start_mm, "mm"),
            "vertical_shift_per_tomogram": quantity(self.shift_mm, "mm"),
            "sample_height": quantity(self.height_mm, "mm"),
        }


def checked_spiral(
    rotation: Any,
    vertical_stage: Any,
    *,
    projections: int,
    angular_range: QuantityLike,
    start_angle: QuantityLike,
    start_position_vertical: QuantityLike,
    vertical_shift_per_tomogram: QuantityLike,
    sample_height: QuantityLike,
    velocity: bool = False,
) -> MsgGenerator[Spiral]:
    """Return the spiral that was asked for.

    Parameters
    ----------
    rotation, vertical_stage : device
        What moves.
    projections : int
        Per tomogram.
    angular_range, start_angle, start_position_vertical : quantity
        As the plans take them, and the next two.
    vertical_shift_per_tomogram, sample_height : quantity
        In mm when plain.
    velocity : bool
        Whether velocities must be settable.

    Raises
    ------
    ParameterError
        If something cannot work.
    """
    check_motor(rotation, "rotation", velocity=velocity)
    check_motor(vertical_stage, "vertical_stage", velocity=velocity)
    start = yield from motor_position(
        vertical_stage, start_position_vertical, "start_position_vertical"
    )
    per_mm = yield from in_motor_unit(vertical_stage, "mm", "vertical_stage")
    shift = convert(vertical_shift_per_tomogram, "mm", parameter="vertical_shift_per_tomogram")
    if shift == 0:
        raise ParameterError(
            "vertical_shift_per_tomogram: 0 mm was given, and a spiral moves. Give a length such as "
            "'2 mm', negative to move down, or use step_tomography or continuous_tomography."
        )
    spiral = Spiral(
        convert(start_angle, "deg", parameter="start_angle"),
        angular_range_deg(angular_range),
        start / per_mm,
        shift,
        convert(sample_height, "mm", parameter="sample_height", positive=True),
        projections,
        (yield from per_degree(rotation)),
        per_mm,
    )
    for angle, parameter in ((0, "start_angle"), (-1, "angular_range and sample_height")):
        yield from check_limits(rotation, spiral.angles()[angle], parameter)
    yield from check_limits(
        vertical_stage, spiral.heights()[-1], "sample_height and vertical_shift_per_tomogram"
    )
    return spiral
