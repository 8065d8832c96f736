"""One value of a device kind: any signal, or a quantity that does not change, in the unit of its kind."""

import math
import time
from typing import Any, TypeAlias

from bluesky.protocols import Readable

from concertino import DeviceError, ParameterError
from concertino.units import QuantityLike, convert, is_quantity, meant_unit

from ._bounds import answer, bounds, own_key

#: What a value can be made of.
Source: TypeAlias = Readable[Any] | QuantityLike


class Value(Readable[Any]):
    """A value of a device, in the unit of its kind, whatever the control system states.

    Parameters
    ----------
    name : str
        Of the value: the device's, a hyphen, and what it is.
    source : Readable or quantity
        A signal or motor of ophyd or ophyd-async, or what is always so.
    unit : str or None
        Unit of the kind; None for text.
    stated : str
        Unit of the source, when it does not state it; by default that of the kind.

    Raises
    ------
    ParameterError
        If the source is neither, or a quantity of another kind.
    """

    parent: Any = None

    def __init__(self, name: str, source: Source, unit: str | None, stated: str = "") -> None:
        self._name, self.unit, self._stated = name, unit, stated
        self._constant: float | str | None = None
        if isinstance(source, Readable):
            self.source: Any = source
        elif unit is None and isinstance(source, str):
            self.source, self._constant = None, source
        elif unit is not None and (isinstance(source, int | float | str) or is_quantity(source)):
            given = {"value": source, "unit": stated} if stated else source
            self.source, self._constant = None, convert(given, unit, parameter=name)
        else:
            wanted = "text" if unit is None else f"a quantity such as '10 {unit}'"
            raise ParameterError(
                f"{name}: {source!r} was given. Give a signal or motor, of ophyd or ophyd-async, or {wanted}."
            )
        self._more: tuple[str, ...] = ()
        self._own_unit: str | None = None

    @property
    def name(self) -> str:
        """Name of the value."""
        return self._name

    async def present(self) -> Any:
        """Return the present value: a float in the unit of the kind, or text.

        Raises
        ------
        DeviceError
            If the source gives none, or one in the unit of something else.
        """
        return (await self.read())[self.name]["value"]

    async def describe(self) -> dict[str, Any]:
        """Describe the value."""
        what = (
            {"dtype": "string"} if self.unit is None else {"dtype": "number", "dtype_numpy": "<f8"}
        )
        if self.unit:
            what["units"] = self.unit
        source = "given"
        if self.source is not None:
            own = await answer(self.source, "describe")
            key = own_key(self.source, own)
            source = str(own[key].get("source", self.source.name))
            self._own_unit = meant_unit(str(own[key].get("units") or ""))
        return {self.name: {"source": source, "shape": [], **what}}

    async def read(self) -> dict[str, Any]:
        """Read the value."""
        if self.source is None:
            return {self.name: {"value": self._constant, "timestamp": time.time()}}
        if self._own_unit is None:
            await self.describe()
        readings = await answer(self.source, "read")
        if not readings:
            raise DeviceError(
                f"{self.name}: {self.source.name} was read and gives nothing. See whether it answers."
            )
        reading = readings[own_key(self.source, readings)]
        value = self._converted(reading["value"])
        return {self.name: {"value": value, "timestamp": reading["timestamp"]}}

    async def describe_with_bounds(self) -> dict[str, Any]:
        """Describe the value, and its set point and limits where the source tells them."""
        described = await self.describe()
        numeric = self.source is not None and self.unit is not None
        self._more = tuple(await bounds(self.source)) if numeric else ()
        return {key: dict(described[self.name]) for key in (self.name, *self._keys())}

    async def read_with_bounds(self) -> dict[str, Any]:
        """Read what was described so."""
        found = await self.read()
        more = await bounds(self.source) if self._more else {}
        for part, key in zip(self._more, self._keys(), strict=True):
            value = self._converted(more.get(part, math.nan))
            found[key] = {"value": value, "timestamp": found[self.name]["timestamp"]}
        return found

    def _keys(self) -> list[str]:
        return [f"{self.name}-{part}" for part in self._more]

    def _converted(self, value: Any) -> Any:
        if self.unit is None:
            return str(value)
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise DeviceError(
                f"{self.name}: {self.source.name} reads as {value!r}, which is no number. Give a signal that reads as "
                f"one in {self.unit or 'no unit'}."
            ) from error
        unit = self._stated or self._own_unit or self.unit
        if unit == self.unit or number != number:  # What is not known has no unit.
            return number
        try:
            return convert({"value": number, "unit": unit}, self.unit, parameter=self.name)
        except ParameterError as error:
            raise DeviceError(
                f"{self.name}: {self.source.name} reads as {number:g} in {unit!r}, and {self.unit!r} is wanted "
                f"({error}). Give the signal that is meant, or the unit that it has: units={{'…': '{self.unit}'}}."
            ) from error
