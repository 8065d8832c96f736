"""What a motor tells of itself: its unit, its limits, how it gains speed, how exactly it arrives."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bluesky.protocols import HasName
from bluesky.utils import maybe_await

from concertino import ParameterError
from concertino.units import convert, meant_unit

from ._device_queries import number
from ._epics_fields import record_field
from ._offers import HasLimits, Reads

#: By which names a motor gives the time in which it gains its speed.
RAMPS = ("acceleration_time", "acceleration")
_UNITS = ("unit", "egu", "units")
_SETPOINTS = ("user_setpoint", "setpoint")
_TOLERANCES = ("tolerance", "deadband", "retry_deadband")
_RESOLUTIONS = ("resolution", "motor_resolution", "encoder_resolution")
#: Steps by which a motor may be off that has arrived.
_STEPS = 2


async def described(device: Any) -> Mapping[str, Any]:
    """Return what a device says of its readings; nothing when it does not."""
    with suppress(Exception):
        return dict(await maybe_await(device.describe()) or {})
    return {}


def main_key(device: Any, keys: Mapping[str, Any]) -> str | None:
    """Return which of a device's readings is the device's own: by its name, its hint, or as the only one."""
    if device.name in keys:
        return str(device.name)
    hinted = []
    with suppress(Exception):
        hinted = list(device.hints.get("fields", []))
    for candidates in (hinted, list(keys)):
        there = [key for key in candidates if key in keys]
        if len(there) == 1:
            return there[0]
    return None


def stated_unit(device: HasName) -> str:
    """Return the unit that a device has as an attribute, spelt as pint does; empty when it has none."""
    for attribute in _UNITS:
        unit = _part(device, attribute)
        if isinstance(unit, str) and unit:
            return meant_unit(unit)
    return ""


async def unit_of(device: HasName) -> str:
    """Return the unit of a device's position, spelt as pint does; empty when it tells none."""
    if unit := stated_unit(device):
        return unit
    keys = await described(device)
    key: Mapping[str, Any] = keys.get(main_key(device, keys) or "") or next(iter(keys.values()), {})
    return meant_unit(str(key.get("units") or ""))


async def position_limits(motor: HasName) -> tuple[float, float]:
    """Return the lowest and the highest position that a motor tells to take, in its unit."""
    pairs: list[tuple[float, float] | None] = []
    with suppress(Exception):  # A property may want a connection.
        pairs.append(_pair(motor.limits) if isinstance(motor, HasLimits) else None)
    low, high = [await _figure(motor, name) for name in ("low_limit_travel", "high_limit_travel")]
    pairs.append(_pair((low, high)))
    for name in _SETPOINTS:
        if (setpoint := _part(motor, name)) is not None:
            pairs.append(await _control_limits(setpoint))
    known = [pair for pair in pairs if pair is not None]
    return (
        max((low for low, _ in known), default=-math.inf),
        min((high for _, high in known), default=math.inf),
    )


async def greatest_velocity(motor: Any) -> float:
    """Return the greatest velocity that a motor tells to take, in its unit per second."""
    told = [await _figure(motor, "max_velocity"), await record_field(motor, "VMAX")]
    limits = await _control_limits(motor.velocity)
    if limits is not None:
        told.append(limits[1])
    return min((value for value in told if value is not None and value > 0), default=math.inf)


async def ramp_s(motor: HasName, speed: float) -> float:
    """Return the time in which a motor gains a speed, in s; 0 when it does not tell.

    Parameters
    ----------
    motor : device
        With ``acceleration_time``, in s, or ``acceleration``: in s as well, as of EPICS' motor record
        (ACCL), unless its unit says that it is per s².
    speed : float
        In its unit per second.
    """
    for name in RAMPS:
        signal: Any = _part(motor, name)
        if signal is None:
            continue
        told = await number(signal)
        if told is None or told <= 0:
            continue
        unit = await unit_of(signal)
        with suppress(ParameterError):
            rate = convert(
                {"value": told, "unit": unit}, f"{await unit_of(motor)}/s**2", parameter=""
            )
            return abs(speed) / rate
        return told
    return 0.0


async def backlash(motor: HasName) -> float:
    """Return by how much a motor goes beyond a position that it takes from the other side, in its unit.

    It is more than 0 for one that arrives from below, less for one that arrives from above, and 0 when it does not tell.
    """
    told = await _figure(motor, "backlash")
    return (await record_field(motor, "BDST") if told is None else told) or 0.0


async def tolerance(motor: HasName) -> tuple[float, float]:
    """Return how far a motor that has arrived may be off, in its unit.

    Returns
    -------
    told, least : float
        The tolerance or dead band that it tells, 0 when it tells none; and what its resolution and the digits
        of its read-back leave open.
    """
    told = [await _figure(motor, name) for name in _TOLERANCES]
    told.append(await record_field(motor, "RDBD"))
    steps = [await _figure(motor, name) for name in _RESOLUTIONS]
    steps.append(await record_field(motor, "MRES"))
    least = _STEPS * max((abs(step) for step in steps if step), default=0.0)
    keys = await described(motor)
    digits = keys.get(main_key(motor, keys) or "", {}).get("precision")
    if isinstance(digits, int) and 0 < digits < 16:
        least = max(least, 10.0**-digits)
    return max((value for value in told if value), default=0.0), least


async def _control_limits(signal: Any) -> tuple[float, float] | None:
    """Return the limits that a signal's control system has for it."""
    for key in (await described(signal)).values():
        control = (key.get("limits") or {}).get("control") or {}
        low = control.get("low", key.get("lower_ctrl_limit"))
        high = control.get("high", key.get("upper_ctrl_limit"))
        if (found := _pair((low, high))) is not None:
            return found
    return None


def _pair(value: Any) -> tuple[float, float] | None:
    """Return limits; None for what are none: equal ones mean that there are no limits."""
    with suppress(TypeError, ValueError):
        low, high = value
        low = -math.inf if low is None else float(low)
        high = math.inf if high is None else float(high)
        if low < high:
            return low, high
    return None


async def _figure(motor: Any, name: str) -> float | None:
    """Return a number that a motor has, as an attribute or a signal."""
    value = _part(motor, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return await number(value) if isinstance(value, Reads) else None


def _part(motor: object, name: str) -> object:
    """Return what a motor has by one of the names of a table above; None also where a property wants a connection."""
    with suppress(Exception):
        return getattr(motor, name, None)
    return None
