"""Projections at angles, as values: step by step, or while the rotation turns steadily."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from bluesky.utils import MsgGenerator
from pydantic import field_validator

from concertino import ParameterError
from concertino.frames import PulseTrain
from concertino.plans.core._cameras import common_frame_rate
from concertino.plans.core._device_queries import FramesAsSet, outcome
from concertino.plans.core._offers import FramesToBe
from concertino.plans.core._parameters import check_limits, per_degree
from concertino.plans.geometry._angle_schemes import Equidistant, passed_angles, scheme_angles
from concertino.plans.geometry._formulas import continuous_velocity
from concertino.plans.geometry._half_acquisition import axis_fields, turn_deg
from concertino.plans.run._metadata import quantity
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment
from concertino.plans.safety._safety import motor_off
from concertino.plans.stubs._scan_setup import ScanSetup
from concertino.plans.stubs._sweep import (
    SteadyScan,
    check_sweep,
    plan_sweeps,
    sweep_and_take,
    sweep_angles,
)
from concertino.plans.stubs._triggers import (
    StartedBy,
    check_train,
    recorded_trigger,
    sweep_trigger,
    trigger_device,
)

from ._acquisition import Numbered, Ready, register_acquisition
from ._scan_values import Counted, In
from ._scheme_values import AnyScheme, recorded, scheme_record

_SPEED = "angular_range, num_projections and the camera's frame rate"


class _Projections(Numbered):
    """Projections at the angles of a scheme."""

    MOTORS: ClassVar[Mapping[str, bool]] = {"rotation": False}

    number: Annotated[int, Counted("num_projections")]
    angular_range: Annotated[float, In("deg")] | None = None
    start_angle: Annotated[float, In("deg")] = 0.0
    scheme: AnyScheme = Equidistant()
    trigger: StartedBy = "software"
    half_acquisition: bool = False
    rotation_axis: Annotated[float, In("px")] | None = None

    @property
    def needs_trigger(self) -> bool:
        """Whether a device starts its exposures."""
        return self.trigger == "device"

    def _range_deg(self, setup: ScanSetup) -> float:
        """Return the angle to cover, in deg."""
        return turn_deg(self.angular_range, self.half_acquisition)

    def _axis(self, setup: ScanSetup) -> MsgGenerator[dict[str, Any]]:
        """Return what the `TomoBlock` says of the rotation axis."""
        width: int = setup.cameras.frame_shape[1]
        if self.rotation_axis is not None:
            rehearsed: FramesToBe | None = yield from outcome(FramesAsSet(setup.cameras.first))
            width = width if rehearsed is None else rehearsed.frame_shape[1]
        return axis_fields(width, self.rotation_axis, self.half_acquisition)

    def _told(self, setup: ScanSetup) -> dict[str, Any]:
        """Return what every run of projections tells in its ``plan_args``."""
        axis = self.rotation_axis
        return {
            "trigger": recorded_trigger(self.trigger, setup.trigger),
            "angular_range": quantity(self._range_deg(setup), "deg"),
            "start_angle": quantity(self.start_angle, "deg"),
            **scheme_record(self.scheme),
            **({"half_acquisition": True} if self.half_acquisition else {}),
            **({} if axis is None else {"rotation_axis": quantity(axis, "px")}),
        }


@register_acquisition
class StepProjections(_Projections):
    """One projection at each of some angles.

    Parameters
    ----------
    number : int
        How many.
    angular_range : quantity, optional
        Angle to cover; a plain number is in deg. By default as `step_tomography`.
    start_angle : quantity
        First angle; a plain number is in deg.
    scheme : AngleScheme, str or list of float
        Which angles and in which order.
    trigger : {"software", "device"}
        Who starts an exposure: the plan, or a device that gives pulses.
    half_acquisition : bool
        Whether the rotation axis is near an edge of the frame.
    rotation_axis : quantity, optional
        Column of the rotation axis, when it is known; a plain number is in px.
    """

    kind: Literal["step_projections"] = "step_projections"

    @field_validator("trigger", mode="before")
    @classmethod
    def _waits_for_the_stage(cls, value: Any) -> Any:
        if value == "edge":
            raise ParameterError(
                "trigger: 'edge' was given, and in a stepped scan pulses must wait for the stage. Give the device "
                "that makes them, or 'software'."
            )
        return value

    def _range_deg(self, setup: ScanSetup) -> float:
        cone = getattr(setup.beam, "source_kind", None) == "tube"
        return turn_deg(self.angular_range, self.half_acquisition, cone=cone)

    def ready(self, setup: ScanSetup) -> MsgGenerator[Ready]:
        """Check angles and pulses."""
        rotation, sweep = setup.motors["rotation"], self._range_deg(setup)
        axis_at = yield from self._axis(setup)
        pulses = trigger_device(self.trigger, setup.trigger)
        if pulses is not None:
            yield from check_train(pulses, PulseTrain(self.number))
        angles = scheme_angles(self.scheme, self.number, self.start_angle, sweep)
        degree = yield from per_degree(rotation)
        for angle, parameter in (
            (angles[0], "start_angle"),
            (min(angles), "angular_range"),
            (max(angles), "angular_range"),
        ):
            yield from check_limits(rotation, angle * degree, parameter)
        positions = [angle * degree for angle in angles]
        return Ready(
            self.model_copy(
                update={"angular_range": sweep, "scheme": recorded(self.scheme, angles)}
            ),
            partial(take_steps, [(rotation, positions)], pulses),
            "software" if pulses is None else "edge",
            tomo={
                "scheme": self.scheme.name,
                "acquisition": "stepped",
                "angles_deg": None if self.scheme.name == "equidistant" else angles,
                "angular_range_deg": sweep,
                "start_angle_deg": self.start_angle,
                "angle_source": "readback",
                "rotation": rotation.name,
                **axis_at,
            },
            plan_args=self._told(setup),
            afterwards=[(rotation, positions[0])],
            restore=[] if pulses is None else [lambda: motor_off(pulses)],
        )


def take_steps(
    points: Sequence[tuple[Any, Sequence[float]]],
    pulses: Any,
    setup: ScanSetup,
    piece: AcquisitionSegment,
    hold: PauseRequest | None,
) -> MsgGenerator[bool]:
    return setup.steps(points, setup.radio, piece, hold, pulses)


@register_acquisition
class SweepProjections(_Projections):
    """Projections while the rotation turns steadily.

    Parameters
    ----------
    number : int
        How many, for each tomogram.
    angular_range, start_angle, scheme, half_acquisition, rotation_axis
        As for `StepProjections`; the range is that of each tomogram.
    trigger : {"software", "edge", "device"}
        Who starts an exposure: the camera, pulses that somebody gives, or those of a device.
    tomograms : int
        How many follow one another in one rotation.
    unwind : bool
        Whether the rotation turns back to the start afterwards.
    """

    MOTORS: ClassVar[Mapping[str, bool]] = {"rotation": True}

    kind: Literal["sweep_projections"] = "sweep_projections"
    tomograms: Annotated[int, Counted("num_tomograms")] = 1
    unwind: bool = True

    @property
    def count(self) -> int:
        """Number of its frames."""
        return self.number * self.tomograms

    def ready(self, setup: ScanSetup) -> MsgGenerator[Ready]:
        """Check the move, and who starts the exposures."""
        rotation, sweep = setup.motors["rotation"], self._range_deg(setup)
        axis_at = yield from self._axis(setup)
        rate = yield from common_frame_rate(setup.cameras)
        passed = passed_angles(self.scheme, self.number, self.start_angle, sweep, self.tomograms)
        velocity = continuous_velocity(rate, passed.step, 1)
        degree = yield from per_degree(rotation)
        sweeps = yield from plan_sweeps(
            [(rotation, self.start_angle * degree, velocity * degree)], passed.span / abs(velocity)
        )
        yield from check_sweep(sweeps[0], "start_angle", "angular_range", _SPEED)
        positions = [angle * degree for angle in passed.angles]
        by = yield from sweep_trigger(
            trigger_device(self.trigger, setup.trigger) or self.trigger,
            setup.cameras, rotation, positions, velocity * degree, rate,
        )  # fmt: skip
        passed.check(by.by_position)
        angles = sweep_angles(setup.cameras, sweeps[0], degree, by)
        scan = SteadyScan(sweeps, self.count, angles, by, self.unwind)
        return Ready(
            self.model_copy(
                update={
                    "angular_range": sweep,
                    "scheme": recorded(self.scheme, passed.angles[: self.number]),
                }
            ),
            partial(sweep_and_take, scan),
            by.request,
            tomo={
                "scheme": passed.scheme,
                "acquisition": "continuous",
                "angles_deg": None if passed.even else list(passed.angles),
                "angular_range_deg": passed.step * self.count if passed.even else sweep,
                "projections_per_tomogram": self.number if self.tomograms > 1 else None,
                "start_angle_deg": self.start_angle,
                "angle_source": "computed" if angles is None else angles.source,
                "rotation": rotation.name,
                **axis_at,
            },
            plan_args={
                "num_projections": self.number,
                "num_tomograms": self.tomograms,
                **self._told(setup),
                **({} if self.unwind else {"unwind": False}),
                "velocity": quantity(velocity, "deg/s"),
                "frame_rate": quantity(rate, "Hz"),
            },
            afterwards=[(rotation, sweeps[0].start)] if self.unwind else (),
            restore=scan.restored(),
        )
