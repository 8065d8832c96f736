"""A plan parameter of a physical kind becomes a plain number in one unit, or is refused."""

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union, runtime_checkable

from concertino._errors import ParameterError

from ._registry import registry

if TYPE_CHECKING:
    from pint import Quantity

    QuantityLike: TypeAlias = float | str | Mapping[str, Any] | Quantity[Any]
else:
    # What bluesky's queue server can validate: it knows no class of ours or of pint's.
    QuantityLike = Union[float, str, dict]  # noqa: UP007

_MOST = 10**8  # of anything that is counted; each frame is accounted for in memory
# The number is an atomic group: none of its digits is ever given back to the unit ("10,5 mm").
_NUMBER_AND_UNIT = re.compile(
    r"(?P<value>(?>[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|nan|inf(?:inity)?)))"
    r"\s*(?P<unit>(?![,.+*-]).*)",
    re.DOTALL | re.IGNORECASE,
)

# What pint's parser passes over as if it were not there, or takes for a factor.
_STRAY = re.compile(r"[!#$&,:;<=>?@\\`|~\n\r]")

_KINDS = {
    "[length]": "a length",
    "[angle]": "an angle",
    "[time]": "a time",
    "1/[time]": "a rate",
    "[length]/[time]": "a speed",
    "[angle]/[time]": "an angular speed",
    "[temperature]": "a temperature",
    "[current]": "a current",
    "[mass]*[length]**2/[time]**2": "an energy",
    "[pixel]": "a number of pixels",
    "[length]/[pixel]": "a length per pixel",
    "dimensionless": "a pure number",
}


def convert(
    value: QuantityLike,
    unit: str,
    *,
    parameter: str,
    positive: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
) -> float:
    """Convert a parameter once, at the boundary, to a plain number in `unit`.

    Parameters
    ----------
    value : float, str, mapping or pint.Quantity
        A plain number (already in `unit`), a string such as ``"10 mm"``, a mapping
        ``{"value": 10, "unit": "mm"}``, or a quantity of any pint registry.
    unit : str
        The documented unit, ``"mm"``; ``""`` for a pure number.
    parameter : str
        The name of the parameter, for the message.
    positive : bool
        Whether zero and negative values are refused.
    minimum, maximum : float, optional
        Smallest and largest value allowed, in `unit`.

    Returns
    -------
    float
        The value in `unit`, finite.

    Raises
    ------
    ParameterError
        If the value is of another dimension, has an unknown unit or none, is not finite, is out
        of range, or is no quantity at all. The message names parameter, value and unit wanted.

    Examples
    --------
    >>> from concertino.units import convert, q
    >>> convert("1 cm", "mm", parameter="flat_position")
    10.0
    >>> convert(0.5 * q.turn, "deg", parameter="angular_range")
    180.0
    >>> convert(180, "deg", parameter="angular_range")
    180.0
    """
    number = _number(value, unit, parameter)
    shown = f"{parameter}: {_show(value)}"
    if not math.isfinite(number):
        raise ParameterError(f"{shown} is not a finite number. Give one in {_name(unit)}.")
    if positive and number <= 0:
        raise ParameterError(f"{shown} is not positive. Give more than 0{_suffix(unit)}.")
    if minimum is not None and number < minimum:
        raise ParameterError(f"{shown} is too small. Give at least {_amount(minimum, unit)}.")
    if maximum is not None and number > maximum:
        raise ParameterError(f"{shown} is too large. Give at most {_amount(maximum, unit)}.")
    return number


def convert_count(
    value: QuantityLike,
    *,
    parameter: str,
    minimum: int = 1,
    unit: str = "frame",
) -> int:
    """Convert a count of things to an int.

    Parameters
    ----------
    value : int, float, str, mapping or pint.Quantity
        A whole number (``200``, ``200.0``) or a quantity such as ``"200 frame"``.
    parameter : str
        The name of the parameter, for the message.
    minimum : int
        Smallest count allowed; the largest is 100 million.
    unit : str
        What is counted.

    Returns
    -------
    int
        The count.

    Raises
    ------
    ParameterError
        If the value is not a whole number or is out of range.

    Examples
    --------
    >>> from concertino.units import convert_count
    >>> convert_count("200 frames", parameter="num_darks")
    200
    """
    number = convert(value, unit, parameter=parameter, minimum=minimum, maximum=_MOST)
    if not number.is_integer():
        raise ParameterError(f"{parameter}: {_show(value)} is not a whole number. Give one.")
    return int(number)


def parse(text: str, *, parameter: str = "quantity") -> "Quantity[Any]":
    """Read a number with a unit, such as ``"10 mm"``; no other expression is understood.

    Parameters
    ----------
    text : str
        The number, then the unit; the unit may be missing.
    parameter : str
        The name of the parameter, for the message.

    Returns
    -------
    pint.Quantity
        With a float magnitude.

    Raises
    ------
    ParameterError
        If the text is no number with a unit, or the unit is unknown.

    Examples
    --------
    >>> from concertino.units import parse
    >>> parse("10 mm").magnitude
    10.0
    """
    found = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if found is None:
        raise ParameterError(
            f"{parameter}: {text!r} is no quantity. Give a number with a unit, such as '10 mm'."
        )
    return quantity(float(found["value"]), found["unit"].strip(), parameter=parameter)


def quantity(value: float, unit: str, *, parameter: str = "quantity") -> "Quantity[Any]":
    """Make a quantity of the one registry from a number and the name of a unit.

    Parameters
    ----------
    value : float
        The number, or an array.
    unit : str
        Any unit that pint can read: ``"mm"``, ``"deg/s"``, ``"%"``, ``""``.
    parameter : str
        The name of the parameter, for the message.

    Returns
    -------
    pint.Quantity
        Of :data:`concertino.units.ureg`.

    Raises
    ------
    ParameterError
        If the unit is unknown.
    """
    ureg = registry()
    try:
        if stray := _STRAY.search(unit):
            raise ValueError(f"{stray[0]!r} is in no unit")
        units = ureg.parse_units(unit)
    except Exception as error:  # pint's parser raises half a dozen kinds, AssertionError included
        raise ParameterError(
            f"{parameter}: {unit!r} in '{_shown_number(value)} {unit}' is not a unit that is known."
            " Give one such as 'mm', 'deg', 's' or 'px'."
        ) from error
    return ureg.Quantity(value, units)


def _number(value: Any, unit: str, parameter: str) -> float:
    if _is_number(value):
        return float(value)
    if isinstance(value, str):
        found = parse(value, parameter=parameter)
        if unit and str(found.units) == "dimensionless":
            raise ParameterError(
                f"{parameter}: {value!r} has no unit. Give it one, such as"
                f" '{found.magnitude if math.isfinite(found.magnitude) else 10:g} {unit}'."
            )
    elif isinstance(value, Mapping):
        found = _from_mapping(value, unit, parameter)
    elif is_quantity(value):
        # Through the name of the unit, as it may come from another registry.
        found = quantity(value.magnitude, str(value.units), parameter=parameter)
    else:
        raise ParameterError(f"{parameter}: {value!r} is no quantity. {_asked(unit)}")
    if not _is_number(found.magnitude):
        raise ParameterError(f"{parameter}: {_show(value)} is not one number. Give a single value.")
    wanted = quantity(1, unit, parameter=parameter).units
    if not found.is_compatible_with(wanted):
        raise ParameterError(
            f"{parameter}: {_kind(wanted)} in {_name(unit)} is wanted, but {_show(value)} is"
            f" {_kind(found.units)}. {_asked(unit)}"
        )
    return float(found.m_as(wanted))


def _from_mapping(value: Mapping[str, Any], unit: str, parameter: str) -> "Quantity[Any]":
    number: Any = value.get("value")
    name = value.get("unit")
    if set(value) != {"value", "unit"} or not _is_number(number) or not isinstance(name, str):
        raise ParameterError(
            f"{parameter}: {dict(value)!r} is no quantity. Give exactly a number and a unit, such"
            f" as {{'value': 10, 'unit': {unit!r}}}."
        )
    return quantity(float(number), name, parameter=parameter)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _kind(units: Any) -> str:
    dimensions = f"{units.dimensionality:C}"
    return _KINDS.get(dimensions, f"of dimension {dimensions}")


@runtime_checkable
class _IsQuantity(Protocol):
    """A quantity of any registry: each has a class of its own."""

    magnitude: Any
    units: Any


def is_quantity(value: object) -> bool:
    """Return whether something is a quantity of pint, of whichever registry."""
    return isinstance(value, _IsQuantity)


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"'{_shown_number(value.get('value'))} {value.get('unit')}'"
    if is_quantity(value):
        return f"'{_shown_number(value.magnitude)} {value.units}'"
    return repr(value) if isinstance(value, str) else _shown_number(value)


def _shown_number(value: Any) -> str:
    return f"{float(value):g}" if _is_number(value) else f"{value}"


def _asked(unit: str) -> str:
    if not unit:
        return "Give a plain number."
    return f"Give a plain number in {unit} or a quantity such as '10 {unit}'."


def _name(unit: str) -> str:
    return unit or "no unit"


def _amount(value: float, unit: str) -> str:
    several = "s" if unit == "frame" and value != 1 else ""
    return f"{value:g}{_suffix(unit)}{several}"


def _suffix(unit: str) -> str:
    return f" {unit}" if unit else ""
