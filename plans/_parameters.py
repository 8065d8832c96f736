"""Parameters of plans, checked and converted before anything moves."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.frames import FrameRequest
from concertino.units import QuantityLike, convert

from ._protocols import Beam, FrameCamera
from ._questions import PresentNumber, asked, outcome, present_number


def motor_unit(motor: Any) -> MsgGenerator[str]:
    """Return the unit of a motor's position, as the motor itself tells; empty when it does not."""
    for attribute in ("unit", "egu", "units"):
        unit = getattr(motor, attribute, None)
        if isinstance(unit, str) and unit:
            return unit
    if not hasattr(motor, "describe"):
        return ""
    description: Mapping[str, Any] = yield from asked(motor.describe)
    key: Mapping[str, Any] = description.get(motor.name) or next(iter(description.values()), {})
    return str(key.get("units") or "")


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


def per_degree(rotation: Any) -> MsgGenerator[float]:
    """Return what one degree is in the rotation's unit; 1 when that is no angle that is known."""
    return (yield from in_motor_unit(rotation, "deg"))


def in_motor_unit(motor: Any, unit: str) -> MsgGenerator[float]:
    """Return what one `unit` is in the motor's unit; 1 when that is of another kind or unknown."""
    own = yield from motor_unit(motor)
    try:
        return convert({"value": 1.0, "unit": unit}, own, parameter=motor.name)
    except ParameterError:
        return 1.0


def check_limits(motor: Any, position: float, parameter: str) -> MsgGenerator[None]:
    """Ask a motor whether it accepts a position, if it can say.

    Raises
    ------
    ParameterError
        If it does not.
    """
    if not hasattr(motor, "check_value"):
        return

    async def ask() -> Exception | None:
        try:
            answer = motor.check_value(position)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:
            return error
        return None

    refusal = yield from asked(ask)
    if refusal is not None:
        raise ParameterError(f"{parameter}: {refusal}") from refusal


def check_devices(beam: Any, sample_stage: Any) -> None:
    """Check that the devices can do what every imaging plan needs.

    Raises
    ------
    ParameterError
        If one was given that cannot, for instance a name instead of a device.
    """
    if not isinstance(beam, Beam):
        raise ParameterError(
            f"beam: {beam!r} cannot be switched. Give a shutter or tube that takes True and False, "
            "or wrap yours in concertino.devices.BeamSwitch."
        )
    check_motor(sample_stage, "sample_stage")


def check_motor(motor: Any, parameter: str, *, velocity: bool = False) -> None:
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
    if not hasattr(motor, "set") or not hasattr(motor, "name"):
        raise ParameterError(
            f"{parameter}: {motor!r} cannot be moved. Give a motor: a device with a set method."
        )
    if velocity and not hasattr(getattr(motor, "velocity", None), "set"):
        raise ParameterError(
            f"{parameter}: {motor.name} has no velocity that can be set, as a continuous scan needs. "
            "Use step_tomography, or a motor with a signal velocity."
        )


def check_velocity(motor: Any, velocity: float, parameters: str) -> None:
    """Ask a motor whether it accepts a velocity, if it can say.

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
    if not hasattr(motor, "check_velocity"):
        return
    try:
        motor.check_velocity(velocity)
    except Exception as error:
        raise ParameterError(f"{parameters}: {error}") from error


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


def limit_of_blur(value: QuantityLike | None) -> float | None:
    """Return the greatest motion blur that is allowed, in px; None for no limit.

    Raises
    ------
    ParameterError
        If it is no number of pixels, or not positive.
    """
    return None if value is None else convert(value, "px", parameter="max_blur", positive=True)


def check_request(camera: FrameCamera, request: FrameRequest) -> MsgGenerator[None]:
    """Ask a camera whether it can deliver some frames, if it can say.

    Raises
    ------
    CameraError
        If it cannot.
    """
    check = getattr(camera, "check_request", None)
    if check is not None:
        yield from asked(lambda: check(request))


def read_number(device: Any) -> MsgGenerator[float]:
    """Return the present value of a signal or motor that holds one number.

    Not with bluesky's `rd`: a RunEngine that is suspended in its message gives 0, or fails.
    """
    value = yield from outcome(PresentNumber(device))
    if value is None:
        # One of bluesky's simulators may know better than the device.
        value = yield from bps.rd(device, default_value=None)
    if value is None:
        value = yield from asked(partial(present_number, device))
    return float(value)
