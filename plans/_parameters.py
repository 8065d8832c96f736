"""Parameters of plans, checked and converted before anything moves."""

import inspect
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.units import QuantityLike, convert

from ._protocols import Beam, FrameCamera


def motor_unit(motor: Any) -> MsgGenerator[str]:
    """Return the unit of a motor's position, as the motor itself tells; empty when it does not."""
    for attribute in ("unit", "egu", "units"):
        unit = getattr(motor, attribute, None)
        if isinstance(unit, str) and unit:
            return unit
    found: dict[str, Any] = {}

    async def ask() -> None:
        description = motor.describe()
        found.update(await description if inspect.isawaitable(description) else description)

    yield from bps.wait_for([ask])
    key = found.get(motor.name) or next(iter(found.values()), {})
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
    if not hasattr(motor, "set"):
        raise ParameterError(
            f"{parameter}: {motor!r} was given as the motor, and it cannot be moved. Give a device "
            "with a set method."
        )
    unit = yield from motor_unit(motor)
    position = convert(value, unit, parameter=parameter)
    yield from check_limits(motor, position, parameter)
    return position


def check_limits(motor: Any, position: float, parameter: str) -> MsgGenerator[None]:
    """Ask a motor whether it accepts a position, if it can say.

    Raises
    ------
    ParameterError
        If it does not.
    """
    if not hasattr(motor, "check_value"):
        return

    async def ask() -> None:
        answer = motor.check_value(position)
        if inspect.isawaitable(answer):
            await answer

    try:
        yield from bps.wait_for([ask])
    except GeneratorExit:
        raise
    except Exception as error:
        cause = error.__cause__ or error
        raise ParameterError(f"{parameter}: {cause}") from error


def check_devices(camera: Any, beam: Any) -> None:
    """Check that the devices can do what every imaging plan needs.

    Raises
    ------
    ParameterError
        If one was given that cannot, for instance a name instead of a device.
    """
    if not isinstance(camera, FrameCamera):
        raise ParameterError(
            f"camera: {camera!r} is no camera with a frame stream. Give a device such as "
            "SimulatedBeamline().camera or a FileCamera."
        )
    if not isinstance(beam, Beam):
        raise ParameterError(
            f"beam: {beam!r} cannot be switched. Give a shutter or tube that takes True and False, "
            "or wrap yours in concertino.devices.BeamSwitch."
        )


def read_number(device: Any) -> MsgGenerator[float]:
    """Return the present value of a signal that holds one number."""
    reading = yield from bps.rd(device)
    return float(reading)
