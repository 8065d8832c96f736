"""The steps of a grating, without or with the sample, as a value."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from bluesky.utils import MsgGenerator
from pydantic import field_validator, model_validator

from concertino import ParameterError
from concertino.documents import (
    OBJECT_STEPPING,
    REFERENCE_STEPPING,
    GratingBlock,
    ImageKind,
    SteppedGrating,
)
from concertino.plans.core._cameras import Trigger
from concertino.plans.core._parameters import (
    check_limits,
    in_motor_unit,
    motor_position,
    motor_unit,
)
from concertino.plans.run._metadata import quantity
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment
from concertino.plans.stubs._frames import move_together
from concertino.plans.stubs._scan_setup import ScanSetup

from ._acquisition import Acquisition, Ready, register_acquisition
from ._scan_values import Counted, In, MotorPosition, Position


@register_acquisition
class GratingSteps(Acquisition):
    """One frame at each step of a grating, without or with the sample.

    Parameters
    ----------
    sample : bool
        Whether the sample is in the beam.
    grating_period : quantity
        Period of the grating; a plain number is in um.
    stepping_start_position : quantity
        Position of the first step; a plain number is in the unit of the motor.
    num_periods, num_steps_per_period : int
        Periods to cover, and steps in each: 3 or more.
    propagation_distance : quantity, optional
        From sample to analyser grating; a plain number is in mm.
    stepped_grating : {"analyser", "phase", "source"}
        Which grating the motor moves.
    stepping_direction : {1, -1}
        1 if larger positions of the motor are towards larger columns of the frame.
    analyser_period : quantity, optional
        Period of the analyser grating when another one is stepped; a plain number is in um.
    """

    TRIGGER: ClassVar[Trigger] = "software"
    MOTORS: ClassVar[Mapping[str, bool]] = {"stepping": False}
    WHOLE: ClassVar[bool] = True

    kind: Literal["grating_steps"] = "grating_steps"
    sample: bool
    grating_period: Annotated[float, In("um", positive=True)]
    stepping_start_position: Position
    num_periods: Annotated[int, Counted("num_periods", unit="")] = 1
    num_steps_per_period: Annotated[int, Counted("num_steps_per_period", minimum=3, unit="")] = 16
    propagation_distance: Annotated[float, In("mm", positive=True)] | None = None
    stepped_grating: SteppedGrating = "analyser"
    stepping_direction: Literal[1, -1] = 1
    analyser_period: Annotated[float, In("um", positive=True)] | None = None

    @field_validator("stepped_grating", mode="before")
    @classmethod
    def _known_grating(cls, value: Any) -> Any:
        if value not in get_args(SteppedGrating):
            raise ParameterError(
                f"stepped_grating: {value!r} was given; give which grating the motor moves: 'analyser', "
                "'phase' or 'source'."
            )
        return value

    @field_validator("stepping_direction", mode="before")
    @classmethod
    def _known_direction(cls, value: Any) -> Any:
        if isinstance(value, bool) or value not in (1, -1):
            raise ParameterError(
                f"stepping_direction: {value!r} was given; give 1 if larger positions of the motor are "
                "towards larger columns of the frame, or -1 if towards smaller ones."
            )
        return value

    @model_validator(mode="after")
    def _one_analyser(self) -> Self:
        analyser, period = self.analyser_period, self.grating_period
        if self.stepped_grating == "analyser" and analyser is not None and analyser != period:
            raise ParameterError(
                f"analyser_period: {analyser:g} um was given, and the analyser itself is stepped, with a "
                f"grating_period of {period:g} um. Leave analyser_period out, or say which grating the motor "
                "moves: stepped_grating='phase' or 'source'."
            )
        return self

    @property
    def stream(self) -> str:
        """Name of the stream of its frames."""
        return OBJECT_STEPPING if self.sample else REFERENCE_STEPPING

    @property
    def count(self) -> int:
        """Number of its frames."""
        return self.num_periods * self.num_steps_per_period

    @property
    def image_kinds(self) -> Mapping[str, ImageKind]:
        """What the images of its stream are."""
        return {self.stream: "projection" if self.sample else "flat"}

    def ready(self, setup: ScanSetup) -> MsgGenerator[Ready]:
        """Check the positions."""
        motor = setup.motors["stepping"]
        per_um = yield from in_motor_unit(motor, "um", "stepping")
        asked = self.stepping_start_position.asked
        start = yield from motor_position(motor, asked, "stepping_start_position")
        known = self.model_copy(
            update={"stepping_start_position": MotorPosition(start, (yield from motor_unit(motor)))}
        )
        step = self.grating_period / self.num_steps_per_period
        positions = [start + i * step * per_um for i in range(self.count)]
        yield from check_limits(motor, positions[-1], "grating_period and num_periods")
        start_um = start / per_um
        told = known.model_dump(mode="json", exclude={"kind", "sample"})
        return Ready(
            known,
            partial(_step, motor, positions, self.sample),
            self.TRIGGER,
            tomo={
                "scheme": "grating",
                "acquisition": "stepped",
                "num_projections": self.count if OBJECT_STEPPING in setup.streams else 0,
                "propagation_distance_mm": self.propagation_distance,
            },
            plan_args={**told, "stepping_start_position": quantity(start_um, "um")},
            metadata={"grating": self._block(motor.name, start_um).model_dump(mode="json")},
        )

    def _block(self, motor: str, start_um: float) -> GratingBlock:
        return GratingBlock(
            period_um=self.grating_period,
            num_periods=self.num_periods,
            num_steps_per_period=self.num_steps_per_period,
            start_um=start_um,
            propagation_distance_mm=self.propagation_distance,
            stepping=motor,
            stepped=self.stepped_grating,
            direction=self.stepping_direction,
            analyser_period_um=self.analyser_period,
        )


def _step(
    motor: Any,
    positions: list[float],
    sample: bool,
    setup: ScanSetup,
    piece: AcquisitionSegment,
    hold: PauseRequest | None,
) -> MsgGenerator[bool]:
    place = setup.radio if sample else setup.flat
    complete = yield from setup.steps([(motor, positions)], place, piece, hold)
    yield from move_together((motor, positions[0]))
    return complete
