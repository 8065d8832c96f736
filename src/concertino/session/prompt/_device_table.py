"""The devices of a session, and how they are: read in parallel, each within a time-out."""

import asyncio
import inspect
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable
from bluesky.utils import maybe_await

from concertino.devices import SetpointAndLimits
from concertino.guard import address_of
from concertino.session._optional_device import HasSettingsReadout
from concertino.terminal._table import Table

#: Between two looks at a device that does not tell whether it moves, in seconds.
_LOOK_S = 0.1
_ALIKE = 1e-9


@runtime_checkable
class _TellsMoving(Protocol):
    """A motor of ophyd."""

    @property
    def moving(self) -> bool: ...


@runtime_checkable
class _TellsDone(Protocol):
    """A motor of ophyd-async: 0 while it moves."""

    motor_done_move: Any


@dataclass(frozen=True)
class DeviceState:
    """How a device is.

    Attributes
    ----------
    name, kind, address : str
        Its name, its class, and where its control system has it ("" when it tells no address).
    value : object
        Its position or value, in `unit`; None when it has none of its own, as a camera, or is not reachable.
    unit : str
        As the device states it.
    low, high : float
        Its limits, infinite when it tells none.
    moving : bool or None
        None when it does not move.
    error : str
        Why it was not reached; "" when it was.
    """

    name: str
    kind: str
    address: str = ""
    value: object = None
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    moving: bool | None = None
    error: str = ""

    @property
    def reachable(self) -> bool:
        """Whether it answered."""
        return not self.error

    def row(self) -> tuple[str, ...]:
        """Return what a table shows of it."""
        if self.error:
            return (self.name, "not reached", "", "", "", self.kind, self.address)
        limits = ""
        if math.isfinite(self.low) or math.isfinite(self.high):
            limits = f"{self.low:g} to {self.high:g}"
        moving = "" if self.moving is None else ("yes" if self.moving else "no")
        return (
            self.name, _shown(self.value), self.unit, limits, moving, self.kind, self.address,
        )  # fmt: skip


class DeviceTable(Table[DeviceState]):
    """States of devices, shown as a table at a prompt and in a notebook."""

    __slots__ = ()

    HEADINGS = ("device", "position", "unit", "limits", "moving", "kind", "address")

    def notes(self) -> list[str]:
        """Return why devices were not reached."""
        return [state.error for state in self if state.error]


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


async def states_of(devices: Iterable[object], timeout_s: float) -> DeviceTable:
    """Return how devices are; to be called in the loop in which they are connected.

    Parameters
    ----------
    devices : iterable of device
        Of ophyd-async, ophyd, or anything that reads.
    timeout_s : float
        For each device; all are asked at a time.
    """
    return DeviceTable(await asyncio.gather(*(_in_time(one, timeout_s) for one in devices)))


async def _in_time(device: Any, timeout_s: float) -> DeviceState:
    where = address_of(device)
    named = f"{device.name} ({where})" if where else f"{device.name}"
    try:
        return await asyncio.wait_for(_state(device, where), timeout_s)
    except TimeoutError:
        why = f"{named} did not answer within {timeout_s:g} s"
    except Exception as error:
        why = f"{named} was read and failed: {type(error).__name__}: {error}".rstrip(".")
    advice = "Check whether its control system runs, its address, and the network."
    return DeviceState(device.name, type(device).__name__, where, error=f"{why}. {advice}")


async def _state(device: Any, where: str) -> DeviceState:
    name, kind = str(device.name), type(device).__name__
    if isinstance(device, HasSettingsReadout):
        await maybe_await(device.settings_readout.read())
        return DeviceState(name, kind, where)
    reader = SetpointAndLimits(device)  # It asks those that answer at once in a thread.
    described, readings = await reader.describe(), await reader.read()
    if not readings:
        return DeviceState(name, kind, where)
    key = _own_key(device, readings)
    value, unit = readings[key]["value"], str(described.get(key, {}).get("units") or "")
    if isinstance(value, str) or not _is_movable(device):
        return DeviceState(name, kind, where, value, unit)
    low = readings.get(f"{name}-low_limit", {}).get("value", -math.inf)
    high = readings.get(f"{name}-high_limit", {}).get("value", math.inf)
    return DeviceState(
        name, kind, where, value, unit, low, high, await _moving(device, key, readings)
    )


def _own_key(device: Any, readings: Mapping[str, Any]) -> str:
    """Return which reading is the device's own: by its name, by its hint, or the first."""
    hinted: list[str] = []
    with suppress(Exception):
        hinted = list(device.hints.get("fields", []))
    return next(key for key in (str(device.name), *hinted, *readings) if key in readings)


def _is_movable(device: object) -> bool:
    return isinstance(device, Movable)


async def _moving(device: Any, key: str, before: Mapping[str, Any]) -> bool | None:
    with suppress(Exception):
        if isinstance(device, _TellsDone):
            (reading,) = (await maybe_await(device.motor_done_move.read())).values()
            return not bool(reading["value"])
    if inspect.isdatadescriptor(inspect.getattr_static(type(device), "moving", None)):
        with suppress(Exception):
            if isinstance(device, _TellsMoving):
                return bool(await asyncio.to_thread(lambda: device.moving))
    await asyncio.sleep(_LOOK_S)
    after = await SetpointAndLimits(device).read()
    first, second = before[key]["value"], after[key]["value"]
    if isinstance(first, bool) or not isinstance(first, int | float):
        return None
    return bool(abs(second - first) > _ALIKE * max(1.0, abs(first)))
