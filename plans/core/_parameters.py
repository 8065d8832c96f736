"""Parameters of plans, checked and converted before anything moves."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.protocols import HasName, Movable
from bluesky.utils import MsgGenerator, maybe_await

from concertino import DeviceError, ParameterError
from concertino.frames import FrameRequest
from concertino.units import QuantityLike, convert, is_unit

from ._awaited import names_of
from ._device_queries import AsSet, PresentNumber, outcome, present_number, query
from ._motor_facts import greatest_velocity, position_limits, stated_unit, unit_of
from ._offers import (
    ChecksRequest,
    ChecksValue,
    ChecksVelocity,
    Describes,
    HasVelocity,
    SetOtherwise,
)
from ._protocols import FrameCamera
from ._roles import check_beam

_ROUNDING = 1e-9


def motor_unit(motor: Any) -> MsgGenerator[str]:
    """Return the unit of a motor's position, as the motor itself tells; empty when it does not."""
    unit = stated_unit(motor)
    if not unit and isinstance(motor, Describes):
        unit = yield from query(lambda: unit_of(motor), f"{motor.name} was asked for its unit")
    return unit


def motor_position(motor: Any, value: QuantityLike, parameter: str) -> MsgGenerator[float]:
    """Return a position in the motor's unit, within its limits.

    Parameters
    ----------
    motor : device
        That is to move there.
    value : quantity
        Position; a plain number is in the motor's unit.
    parameter : str
        Name in messages.

    Raises
    ------
    ParameterError
        If it is no position for this motor, or beyond its limits.
    """
    unit = yield from motor_unit(motor)
    position = convert(value, unit, parameter=parameter)
    yield from check_limits(motor, position, parameter)
    return position


def per_degree(rotation: HasName, parameter: str = "rotation") -> MsgGenerator[float]:
    """Return what one degree is in the rotation's unit; 1 when that is of another kind, or none."""
    return (yield from in_motor_unit(rotation, "deg", parameter))


def in_motor_unit(motor: HasName, unit: str, parameter: str) -> MsgGenerator[float]:
    """Return what one `unit` is in the motor's unit; 1 when that is of another kind, or none.

    Raises
    ------
    ParameterError
        If the motor states a unit that nobody knows.
    """
    own = yield from motor_unit(motor)
    if not is_unit(own):
        raise ParameterError(
            f"{parameter}: {motor.name} states {own!r} as the unit of its position, which is not known, so that "
            f"nobody can say what 1 {unit} is. Have it state its unit, such as {unit!r} (in EPICS its EGU), or none."
        )
    try:
        return convert({"value": 1.0, "unit": unit}, own, parameter=motor.name)
    except ParameterError:
        return 1.0


def check_limits(motor: HasName, position: float, parameter: str) -> MsgGenerator[None]:
    """Ask a motor whether it accepts a position, as far as it can say.

    Raises
    ------
    ParameterError
        If it does not.
    """

    async def ask() -> None:
        low, high = await position_limits(motor)
        slack = _ROUNDING * abs(position)
        if not low - slack <= position <= high + slack:
            unit = await unit_of(motor)
            raise DeviceError(
                f"Motor {motor.name} was asked to move to {position:g} {unit}; its limits are {low:g} to "
                f"{high:g} {unit}."
            )
        if isinstance(motor, ChecksValue):
            await maybe_await(motor.check_value(position))

    yield from check_accepted(motor, ask, parameter)


def check_accepted(
    device: HasName, question: Callable[[], Any], parameter: str
) -> MsgGenerator[None]:
    """Ask a device something that it answers with an error if it does not accept it.

    Raises
    ------
    ParameterError
        If it does not.
    """

    async def ask() -> Exception | None:
        try:
            await maybe_await(question())
        except Exception as error:
            return error
        return None

    refusal = yield from query(
        ask, f"{names_of([device])} was asked whether it accepts {parameter}"
    )
    if refusal is not None:
        raise ParameterError(f"{parameter}: {refusal}") from refusal


def check_devices(beam: object, sample_stage: object) -> None:
    """Check that the devices can do what every imaging plan needs.

    Raises
    ------
    ParameterError
        If one was given that cannot, for instance a name instead of a device.
    """
    check_beam(beam)
    check_motor(sample_stage, "sample_stage")


def check_motor(motor: object, parameter: str, *, velocity: bool = False) -> None:
    """Check that a motor is one.

    Parameters
    ----------
    motor : Any
        What was given as the motor.
    parameter : str
        Name in messages.
    velocity : bool
        Whether its velocity must be settable.

    Raises
    ------
    ParameterError
        If it cannot be moved, or not at a velocity that is set.
    """
    if not isinstance(motor, Movable) or not isinstance(motor, HasName):
        raise ParameterError(
            f"{parameter}: {motor!r} cannot be moved. Give a motor: a device with a set method."
        )
    if velocity and not (isinstance(motor, HasVelocity) and isinstance(motor.velocity, Movable)):
        raise ParameterError(
            f"{parameter}: {motor.name} has no velocity that can be set, as a continuous scan needs. "
            "Use step_tomography, or a motor with a signal velocity."
        )


def check_velocity(motor: HasName, velocity: float, parameters: str) -> MsgGenerator[None]:
    """Ask a motor whether it accepts a velocity, as far as it can say.

    Parameters
    ----------
    motor : device
        That is to move.
    velocity : float
        In its unit, per second.
    parameters : str
        What the velocity follows from, for the message.

    Raises
    ------
    ParameterError
        If it does not.
    """

    async def ask() -> None:
        if isinstance(motor, ChecksVelocity):
            await maybe_await(motor.check_velocity(velocity))
        greatest = await greatest_velocity(motor)
        if velocity > greatest * (1 + _ROUNDING):
            unit = await unit_of(motor)
            raise DeviceError(
                f"Motor {motor.name} was asked to move at {velocity:g} {unit}/s; it takes at most {greatest:g} "
                f"{unit}/s. Take more projections, a smaller range, or a lower frame rate."
            )

    yield from check_accepted(motor, ask, parameters)


def angular_range_deg(value: QuantityLike) -> float:
    """Return the angle that a tomography covers, in deg.

    Raises
    ------
    ParameterError
        If it is no angle, or none at all.
    """
    angle = convert(value, "deg", parameter="angular_range")
    if angle == 0:
        raise ParameterError(
            "angular_range: 0 deg was given. Give an angle such as 180 deg, negative to turn backwards."
        )
    return angle


def check_request(camera: FrameCamera, request: FrameRequest) -> MsgGenerator[None]:
    """Ask a camera whether it can deliver some frames, if it can say.

    Raises
    ------
    CameraError
        If it cannot.
    """

    def ask(settings: Mapping[str, Any]) -> Any:
        if not settings:
            return camera.check_request(request) if isinstance(camera, ChecksRequest) else None
        # Its present settings say nothing of those that it will have.
        if isinstance(camera, SetOtherwise):
            return camera.check_request_if(request, settings)
        return None

    if isinstance(camera, ChecksRequest):
        what = f"{camera.name} was asked whether it can take {request.kind}"
        yield from outcome(AsSet(camera, ask, what))


def read_number(device: Any) -> MsgGenerator[float]:
    """Return the present value of a signal or motor that holds one number.

    Not with bluesky's `rd`: a RunEngine that is suspended in its message gives 0, or fails.
    """
    value = yield from outcome(PresentNumber(device))
    if value is None:
        # One of bluesky's simulators may know better than the device.
        value = yield from bps.rd(device, default_value=None)
    if value is None:
        value = yield from query(
            partial(present_number, device), f"{device.name} was asked for its value"
        )
    return float(value)
