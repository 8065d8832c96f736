"""Where a device was sent last, and between which limits it may be, as far as it tells."""

import asyncio
import inspect
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import HasHints, Locatable, Readable
from bluesky.utils import maybe_await


@runtime_checkable
class _HasLimits(Protocol):
    limits: Any


@runtime_checkable
class _HasTravel(Protocol):
    low_limit_travel: Any
    high_limit_travel: Any


@runtime_checkable
class _HasUserSetpoint(Protocol):
    user_setpoint: Any


@runtime_checkable
class _HasSetpoint(Protocol):
    setpoint: Any


async def answer(device: Readable[Any], question: str) -> Mapping[str, Any]:
    """Return what a device reads or describes; one that answers at once may wait for its control system.

    Parameters
    ----------
    device : Readable
        The device.
    question : {"read", "describe"}
        What it is asked.
    """
    method = device.read if question == "read" else device.describe
    if inspect.iscoroutinefunction(method):
        found = await method()
    else:
        found = await maybe_await(await asyncio.to_thread(method))
    return dict(found or {})


def own_key(device: Readable[Any], keys: Mapping[str, Any]) -> str:
    """Return which of a device's readings is its own: by its name, by its hint, or the first."""
    if device.name in keys:
        return str(device.name)
    hinted: list[str] = []
    with suppress(Exception):
        hints = device.hints if isinstance(device, HasHints) else {}
        hinted = [key for key in hints.get("fields", []) if key in keys]
    return hinted[0] if hinted else next(iter(keys))


async def bounds(device: Readable[Any]) -> dict[str, float]:
    """Return the set point and the limits of a device, in its own unit; what it does not tell is left out.

    Parameters
    ----------
    device : device
        A signal or a motor, of any control system.

    Returns
    -------
    dict of str to float
        Any of ``setpoint``, ``low_limit`` and ``high_limit``.
    """
    found: dict[str, float] = {}
    setpoint = await _setpoint(device)
    if setpoint is not None:
        found["setpoint"] = setpoint
    low, high = await _limits(device)
    if low < high:  # Equal ones mean that there are none.
        found |= {
            name: limit
            for name, limit in (("low_limit", low), ("high_limit", high))
            if math.isfinite(limit)
        }
    return found


async def _setpoint(device: Any) -> float | None:
    with suppress(Exception):
        if isinstance(device, Locatable):
            locate = device.locate
            located: Any = (
                await locate()
                if inspect.iscoroutinefunction(locate)
                else await maybe_await(await asyncio.to_thread(locate))
            )
            return float(located["setpoint"])
    with suppress(Exception):
        if isinstance(device, _HasUserSetpoint):
            return await _number(device.user_setpoint)
    with suppress(Exception):
        if isinstance(device, _HasSetpoint):
            return await _number(device.setpoint)
    return None


async def _limits(device: Any) -> tuple[float, float]:
    pairs: list[tuple[Any, Any]] = []
    with suppress(Exception):  # A property may want a connection.
        if isinstance(device, _HasLimits):
            pairs.append(tuple(device.limits))
    with suppress(Exception):
        if isinstance(device, _HasTravel):
            low = await _number(device.low_limit_travel)
            pairs.append((low, await _number(device.high_limit_travel)))
    with suppress(Exception):
        described = await answer(device, "describe")
        key = described[own_key(device, described)]
        control = (key.get("limits") or {}).get("control") or {}
        pairs.append(
            (
                control.get("low", key.get("lower_ctrl_limit")),
                control.get("high", key.get("upper_ctrl_limit")),
            )
        )
    lows = [float(low) for low, high in pairs if low is not None and low != high]
    highs = [float(high) for low, high in pairs if high is not None and low != high]
    return max(lows, default=-math.inf), min(highs, default=math.inf)


async def _number(value: Any) -> float | None:
    if isinstance(value, int | float) or value is None:
        return value
    readings = await answer(value, "read")
    return float(readings[own_key(value, readings)]["value"])


class SetpointAndLimits(Readable[Any]):
    """Reads a device with its set point and its limits, for a baseline.

    What the device does not tell, or reads itself, is left out.

    Parameters
    ----------
    device : Readable
        Anything that can be read.
    """

    parent: Any = None

    def __init__(self, device: Readable[Any]) -> None:
        self.device = device
        self._more: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The device's name."""
        return str(self.device.name)

    @property
    def hints(self) -> Any:
        """The device's hints."""
        return self.device.hints if isinstance(self.device, HasHints) else {}

    async def describe(self) -> dict[str, Any]:
        """Describe the device, and what it tells besides."""
        described = dict(await answer(self.device, "describe"))
        if not described:
            return described
        own = described[own_key(self.device, described)]
        self._more = {}
        if own.get("dtype") in ("number", "integer") and not own.get("shape"):
            self._more = {
                part: value
                for part, value in (await bounds(self.device)).items()
                if not any(key.endswith(part) for key in described)
            }
        units = {"units": own["units"]} if own.get("units") else {}
        more = {"source": own["source"], "dtype": "number", "dtype_numpy": "<f8", "shape": []}
        return described | {f"{self.name}-{part}": more | units for part in self._more}

    async def read(self) -> dict[str, Any]:
        """Read what was described."""
        readings = dict(await answer(self.device, "read"))
        if self._more:
            self._more |= {
                part: value
                for part, value in (await bounds(self.device)).items()
                if part in self._more
            }
        when = max((reading["timestamp"] for reading in readings.values()), default=0.0)
        return readings | {
            f"{self.name}-{part}": {"value": value, "timestamp": when}
            for part, value in self._more.items()
        }

    async def describe_configuration(self) -> dict[str, Any]:
        """Describe the device's configuration."""
        if not isinstance(self.device, _HasConfiguration):
            return {}
        return dict(await maybe_await(self.device.describe_configuration()))

    async def read_configuration(self) -> dict[str, Any]:
        """Read the device's configuration."""
        if not isinstance(self.device, _HasConfiguration):
            return {}
        return dict(await maybe_await(self.device.read_configuration()))


@runtime_checkable
class _HasConfiguration(Protocol):
    def read_configuration(self) -> Any: ...

    def describe_configuration(self) -> Any: ...
