"""Quantities in ``set`` messages arrive at devices as numbers in the devices' own units."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import HasHints
from bluesky.utils import Msg, MsgGenerator, maybe_await

from concertino.plans import outcome_of, passed_on
from concertino.units import is_quantity, to_device_unit

_NUMBERS = ("number", "integer")


@runtime_checkable
class _HasEgu(Protocol):
    """A motor of ophyd, which tells its unit beside its description."""

    egu: str


@runtime_checkable
class _Describes(Protocol):
    """A device that describes what it is set to."""

    name: str

    def describe(self) -> Any: ...


@runtime_checkable
class _TakesUnits(Protocol):
    """A setting of a camera, which converts what it is set to itself: it knows units that only its vendor does."""

    def as_set(self, value: object) -> Any: ...


class UnitGuard:
    """Preprocessor that converts the quantities on their way to devices.

    ``bps.mv(rotation, 90 * q.deg)`` sends 90 to a motor in degrees and 1.5708 to one in radians;
    so do ``"90 deg"`` and ``{"value": 90, "unit": "deg"}``. Plain numbers pass as they are, at the
    cost of a type check, and so does text for a device that takes text. The unit is asked of the
    device at each quantity, as a device may change it.

    A relative move adds the quantity to the present position before any message leaves the plan:
    give ``bps.mvr`` plain numbers. A quantity is refused there by pint, never misread.

    Raises
    ------
    ParameterError
        In the plan, at the ``set`` that cannot be converted; nothing is sent to the device.

    Examples
    --------
    >>> from bluesky import RunEngine
    >>> RE = RunEngine({})
    >>> RE.preprocessors.append(UnitGuard())
    """

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Yield the plan's messages, those with quantities converted.

        Parameters
        ----------
        plan : generator
            Any plan.

        Yields
        ------
        msg : bluesky.Msg
            The plan's messages, and one ``wait_for`` before each converted one.
        """
        return passed_on(plan, _converted)


def _converted(msg: Msg) -> MsgGenerator[Any] | None:
    if msg.command != "set" or not msg.args or not _may_be_quantity(msg.args[0]):
        return None
    if isinstance(msg.obj, _TakesUnits):
        return None
    return _in_device_unit(msg)


def _in_device_unit(msg: Msg) -> MsgGenerator[Any]:
    value = msg.args[0]
    data_key = yield from outcome_of(_data_key, msg.obj)
    if data_key is None:  # Somebody only looks at the messages.
        return (yield msg)
    unit = data_key.get("units") or (isinstance(msg.obj, _HasEgu) and msg.obj.egu) or ""
    if isinstance(value, str) and not (unit and data_key.get("dtype", "number") in _NUMBERS):
        return (yield msg)
    number = to_device_unit(value, unit, device=msg.obj.name)
    return (yield msg._replace(args=(number, *msg.args[1:])))


def _may_be_quantity(value: Any) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, Mapping):
        return set(value) == {"value", "unit"}
    return is_quantity(value)


async def _data_key(device: Any) -> dict[str, Any]:
    """Return the description of what a device is set to, empty if it has none."""
    if not isinstance(device, _Describes):
        return {}
    description: Any = await maybe_await(device.describe())
    fields = device.hints.get("fields", []) if isinstance(device, HasHints) else []
    for key in (device.name, *(fields if len(fields) == 1 else ())):
        if key in description:
            return dict(description[key])
    return dict(next(iter(description.values()))) if len(description) == 1 else {}
