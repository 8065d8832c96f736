"""Projections along a spiral, as values: step by step, or while rotation and height move steadily."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

from bluesky.utils import MsgGenerator
from pydantic import field_validator

from concertino import ParameterError
from concertino.plans.core._cameras import Trigger, common_frame_rate
from concertino.plans.core._parameters import (
    angular_range_deg,
    check_limits,
    in_motor_unit,
    motor_position,
    motor_unit,
    per_degree,
)
from concertino.plans.geometry._formulas import (
    continuous_velocity,
    projections_in_spiral,
    tomograms_in_spiral,
)
from concertino.plans.run._metadata import quantity
from concertino.plans.stubs._scan_setup import ScanSetup
from concertino.plans.stubs._sweep import (
    SteadyScan,
    check_sweep,
    plan_sweeps,
    sweep_and_take,
    sweep_angles,
)

from ._acquisition import Acquisition, Ready, register_acquisition
from ._projections import take_steps
from ._scan_values import Counted, In, MotorPosition, Position

_RATE = "num_projections and the camera's frame rate"


@dataclass(frozen=True)
class _Axes:
    """What 1 deg and 1 mm are in the units of rotation and vertical stage, and the first height in mm."""

    degree: float
    per_mm: float
    start_mm: float


class _Spiral(Acquisition):
    """A spiral: while the sample turns it moves along the rotation axis."""

    number: Annotated[int, Counted("num_projections")]
    angular_range: Annotated[float, In("deg")] = 180.0
    start_angle: Annotated[float, In("deg")] = 0.0
    start_position_vertical: Position
    vertical_shift_per_tomogram: Annotated[float, In("mm")]
    sample_height: Annotated[float, In("mm", positive=True)]

    @field_validator("angular_range")
    @classmethod
    def _turns(cls, value: float) -> float:
        return angular_range_deg(value)

    @field_validator("vertical_shift_per_tomogram")
    @classmethod
    def _moves(cls, value: float) -> float:
        if value == 0:
            raise ParameterError(
                "vertical_shift_per_tomogram: 0 mm was given, and a spiral moves. Give a length such as "
                "'2 mm', negative to move down, or use step_tomography or continuous_tomography."
            )
        return value

    @property
    def tomograms(self) -> float:
        """How many there are; need not be whole."""
        return tomograms_in_spiral(self.sample_height, self.vertical_shift_per_tomogram)

    @property
    def count(self) -> int:
        """Number of all projections."""
        return projections_in_spiral(self.tomograms, self.number)

    def _tomo(self, setup: ScanSetup, axes: _Axes) -> dict[str, Any]:
        """Return the fields of the `TomoBlock` but for where the angles come from."""
        turns = self.count / self.number
        return {
            "scheme": "spiral",
            "start_angle_deg": self.start_angle,
            "angular_range_deg": self.angular_range * turns,
            "vertical_start_mm": axes.start_mm,
            "vertical_range_mm": self.vertical_shift_per_tomogram * turns,
            "projections_per_tomogram": self.number,
            "rotation": setup.motors["rotation"].name,
        }

    def _told(self, axes: _Axes) -> dict[str, Any]:
        """Return its parameters for the start document's ``plan_args``."""
        return {
            **self.model_dump(mode="json", exclude={"kind", "number"}),
            "num_projections": self.number,
            "num_tomograms": self.tomograms,
            "start_position_vertical": quantity(axes.start_mm, "mm"),
        }

    def _known(self, setup: ScanSetup) -> MsgGenerator[tuple[Self, _Axes]]:
        """Return it with its start in the stage's unit, and the axes' units, when they are within their limits.

        Raises
        ------
        ParameterError
            If something cannot work.
        """
        rotation, vertical = setup.motors["rotation"], setup.motors["vertical_stage"]
        asked = self.start_position_vertical.asked
        start = yield from motor_position(vertical, asked, "start_position_vertical")
        unit = yield from motor_unit(vertical)
        per_mm = yield from in_motor_unit(vertical, "mm", "vertical_stage")
        known = self.model_copy(update={"start_position_vertical": MotorPosition(start, unit)})
        axes = _Axes((yield from per_degree(rotation)), per_mm, start / per_mm)
        angles, heights = self._points(axes)
        for angle, parameter in ((0, "start_angle"), (-1, "angular_range and sample_height")):
            yield from check_limits(rotation, angles[angle], parameter)
        yield from check_limits(
            vertical, heights[-1], "sample_height and vertical_shift_per_tomogram"
        )
        return known, axes

    def _points(self, axes: _Axes) -> tuple[list[float], list[float]]:
        """Return angle and height of each projection, in the axes' units."""
        turn, rise = (
            self.angular_range / self.number,
            self.vertical_shift_per_tomogram / self.number,
        )
        indices = range(self.count)
        return (
            [(self.start_angle + i * turn) * axes.degree for i in indices],
            [(axes.start_mm + i * rise) * axes.per_mm for i in indices],
        )


@register_acquisition
class StepSpiralProjections(_Spiral):
    """Projections along a spiral, step by step.

    Parameters
    ----------
    number : int
        Projections of each tomogram.
    angular_range, start_angle : quantity
        Angle of each tomogram, and the first one; plain numbers are in deg.
    start_position_vertical : quantity
        Where the vertical stage is at the first projection; a plain number is in the stage's unit.
    vertical_shift_per_tomogram, sample_height : quantity
        How far it moves per tomogram, and the height to cover; plain numbers are in mm.
    """

    TRIGGER: ClassVar[Trigger] = "software"
    MOTORS: ClassVar[Mapping[str, bool]] = {"rotation": False, "vertical_stage": False}

    kind: Literal["step_spiral_projections"] = "step_spiral_projections"

    def ready(self, setup: ScanSetup) -> MsgGenerator[Ready]:
        """Check angles and heights."""
        known, axes = yield from self._known(setup)
        motors = setup.motors["rotation"], setup.motors["vertical_stage"]
        points = list(zip(motors, known._points(axes), strict=True))
        return Ready(
            known,
            partial(take_steps, points, None),
            self.TRIGGER,
            tomo={**known._tomo(setup, axes), "acquisition": "stepped", "angle_source": "readback"},
            plan_args=known._told(axes),
            afterwards=[(axis, places[0]) for axis, places in points],
        )


@register_acquisition
class SpiralProjections(_Spiral):
    """Projections while the sample turns and moves along the axis steadily.

    Parameters
    ----------
    number, angular_range, start_angle, start_position_vertical, vertical_shift_per_tomogram, sample_height
        As for `StepSpiralProjections`.
    """

    MOTORS: ClassVar[Mapping[str, bool]] = {"rotation": True, "vertical_stage": True}

    kind: Literal["spiral_projections"] = "spiral_projections"

    def ready(self, setup: ScanSetup) -> MsgGenerator[Ready]:
        """Check the moves."""
        known, axes = yield from self._known(setup)
        rotation, vertical = setup.motors["rotation"], setup.motors["vertical_stage"]
        rate = yield from common_frame_rate(setup.cameras)
        velocity = continuous_velocity(rate, known.angular_range, known.number)
        lift = continuous_velocity(rate, known.vertical_shift_per_tomogram, known.number)
        sweeps = yield from plan_sweeps(
            [
                (rotation, known.start_angle * axes.degree, velocity * axes.degree),
                (vertical, axes.start_mm * axes.per_mm, lift * axes.per_mm),
            ],
            known.count / rate,
        )
        turning, lifting = sweeps
        angles = sweep_angles(setup.cameras, turning, axes.degree)
        yield from check_sweep(turning, "start_angle", "angular_range", f"angular_range, {_RATE}")
        yield from check_sweep(
            lifting,
            "start_position_vertical",
            "sample_height",
            f"vertical_shift_per_tomogram, {_RATE}",
        )
        scan = SteadyScan(sweeps, known.count, angles)
        return Ready(
            known,
            partial(sweep_and_take, scan),
            tomo={
                **known._tomo(setup, axes),
                "acquisition": "continuous",
                "angle_source": "computed" if angles is None else angles.source,
            },
            plan_args={
                **known._told(axes),
                "velocity": quantity(velocity, "deg/s"),
                "vertical_velocity": quantity(lift, "mm/s"),
                "frame_rate": quantity(rate, "Hz"),
            },
            afterwards=[(sweep.axis, sweep.start) for sweep in sweeps],
            restore=scan.restored(),
        )
