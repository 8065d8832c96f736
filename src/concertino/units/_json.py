"""Quantities as documents carry them: ``{"value": 10.0, "unit": "mm"}``."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from concertino._errors import ParameterError

from ._convert import quantity
from ._registry import registry

if TYPE_CHECKING:
    from pint import Quantity


def to_json(value: "Quantity[Any]") -> dict[str, Any]:
    """Write a quantity as a JSON-safe mapping.

    Parameters
    ----------
    value : pint.Quantity
        A quantity with a finite number.

    Returns
    -------
    dict
        ``{"value": float or int, "unit": str}``; `from_json` reads it back unchanged.

    Raises
    ------
    ParameterError
        If the number is not one finite number: JSON has no NaN.

    Examples
    --------
    >>> from concertino.units import q, to_json
    >>> to_json(10.0 * q.mm)
    {'value': 10.0, 'unit': 'mm'}
    """
    number = value.magnitude
    if isinstance(number, np.generic | np.ndarray) and number.ndim == 0:
        number = number.item()
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ParameterError(f"{value!r} cannot be written as JSON. Give a single, finite number.")
    return {"value": number, "unit": _name(value)}


def from_json(value: Mapping[str, Any]) -> "Quantity[Any]":
    """Read a quantity from ``{"value": ..., "unit": ...}``.

    Parameters
    ----------
    value : mapping
        As `to_json` writes it.

    Returns
    -------
    pint.Quantity
        Of :data:`concertino.units.ureg`.

    Raises
    ------
    ParameterError
        If a key is missing or one too many, or the unit is unknown.

    Examples
    --------
    >>> from concertino.units import from_json
    >>> print(from_json({"value": 90, "unit": "deg"}))
    90 degree
    """
    if set(value) != {"value", "unit"}:
        raise ParameterError(
            f"{dict(value)!r} is no quantity. Give exactly the keys 'value' and 'unit'."
        )
    return quantity(value["value"], value["unit"])


def _name(value: "Quantity[Any]") -> str:
    """Return the short name if it is read back as the same unit, else the long one."""
    ureg = registry()
    short = f"{value.units:~}".replace(" ", "").replace("µ", "u")
    if short.isascii():
        try:
            if ureg.parse_units(short) == ureg.parse_units(str(value.units)):
                return short
        except Exception:  # the short name means nothing: pint raises many kinds
            return str(value.units)
    return str(value.units)
