"""Angle schemes as values: what a parameter means, and as JSON and back."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import core_schema

from concertino import ParameterError
from concertino.plans.geometry._angle_schemes import (
    AngleList,
    AngleScheme,
    Equidistant,
    GoldenRatio,
    MultiTurn,
    Timbir,
)
from concertino.units import QuantityLike, convert

_NAMED: dict[str, AngleScheme] = {
    scheme.name: scheme for scheme in (Equidistant(), MultiTurn(), GoldenRatio(), Timbir())
}


def scheme_names() -> tuple[str, ...]:
    """Return the names that mean a scheme."""
    return tuple(_NAMED)


def angle_scheme(value: Any) -> AngleScheme:
    """Return the scheme that a parameter means: a scheme, the name of one, angles, or what `scheme_json` gives.

    Raises
    ------
    ParameterError
        If it is none of them.
    """
    if isinstance(value, AngleScheme):
        return value
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return AngleList(tuple(convert(angle, "deg", parameter="scheme") for angle in value))
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        kind: Any = type(_NAMED[value["name"]]) if value["name"] in _NAMED else RecordedAngles
        if value["name"] == "list":
            return angle_scheme(value.get("listed"))
        with suppress(TypeError):  # Of a field that it has not: refused below.
            made: AngleScheme = kind(**value)
            return made
    raise ParameterError(
        f"scheme: {value!r} was given; give {', '.join(map(repr, _NAMED))}, a scheme such as "
        "Timbir(rounds=4), or a list of angles in deg."
    )


@dataclass(frozen=True)
class RecordedAngles:
    """The angles of a rule of somebody's own, under the name that it has.

    Parameters
    ----------
    name : str
        Of the scheme.
    listed : tuple of float
        Of all projections, in deg.
    """

    name: str
    listed: tuple[float, ...]

    def __post_init__(self) -> None:
        """Keep the angles as plain numbers, as they come from JSON too."""
        angles = tuple(convert(angle, "deg", parameter="scheme") for angle in self.listed)
        object.__setattr__(self, "listed", angles)

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the first of them, in deg; start and range are not looked at."""
        return list(self.listed[:number])

    passed = angles


def recorded(scheme: AngleScheme, angles_deg: Sequence[float]) -> AngleScheme:
    """Return a scheme that goes through JSON: one of somebody's own as the angles that it gave.

    Parameters
    ----------
    scheme : AngleScheme
        The scheme.
    angles_deg : sequence of float
        The angles of all projections.
    """
    if isinstance(scheme, _OURS):
        return scheme
    return RecordedAngles(scheme.name, tuple(angles_deg))


def scheme_json(scheme: AngleScheme) -> dict[str, Any]:
    """Return a scheme as JSON has it: its name and its parameters.

    Raises
    ------
    ParameterError
        If it is a rule of somebody's own, of which only the angles go through JSON.

    Examples
    --------
    >>> from concertino.plans import MultiTurn
    >>> from concertino.plans.imaging._scheme_values import scheme_json
    >>> scheme_json(MultiTurn(turns=3))
    {'turns': 3, 'name': 'multi_turn'}
    """
    if not isinstance(scheme, _OURS):
        raise ParameterError(
            f"scheme: {scheme!r} is a rule that Concertino does not know, and JSON cannot have it. Give its "
            "angles as a list."
        )
    return asdict(scheme)


def scheme_record(scheme: AngleScheme) -> dict[str, Any]:
    """Return a scheme as ``plan_args`` has it: its name, and its parameters if that is not all.

    Examples
    --------
    >>> from concertino.plans import MultiTurn
    >>> from concertino.plans.imaging._scheme_values import scheme_record
    >>> scheme_record(MultiTurn(turns=3))
    {'scheme': 'multi_turn', 'scheme_parameters': {'turns': 3}}
    """
    parameters = scheme_json(scheme) if scheme.name in _NAMED else {}
    parameters.pop("name", None)
    return {"scheme": scheme.name, **({"scheme_parameters": parameters} if parameters else {})}


class _AScheme:
    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(
            angle_scheme,
            serialization=core_schema.plain_serializer_function_ser_schema(scheme_json),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        kinds = [TypeAdapter(kind).json_schema() for kind in _OURS]
        return {
            "anyOf": [
                {"type": "string", "enum": list(_NAMED)},
                {"type": "array", "items": {"type": "number"}, "minItems": 1},
                *kinds,
            ]
        }


_OURS = (Equidistant, MultiTurn, GoldenRatio, Timbir, AngleList, RecordedAngles)

#: A scheme as a field of a value, or whatever `angle_scheme` takes.
AnyScheme = Annotated[AngleScheme, _AScheme()]
#: What plans take as their ``scheme``.
SchemeLike: TypeAlias = Annotated[str | Sequence[QuantityLike] | AngleScheme, _AScheme()]
