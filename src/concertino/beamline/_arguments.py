"""What a file says as an argument becomes what a class takes: numbers in its unit, other devices, types, tuples."""

import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from concertino import ParameterError
from concertino.units import convert

from ._classes import parameters_of
from ._mistakes import Place

_SUFFIXES = {"s": "s", "ms": "ms", "hz": "Hz", "um": "um", "mm": "mm", "deg": "deg", "rad": "rad", "bytes": "byte", "px": "px",
             "kev": "keV", "mm_s": "mm/s"}  # fmt: skip
_SAID = re.compile(
    r"\bin (?:the )?(seconds?|s|ms|Hz|um|mm|m|deg|degrees|rad|keV|eV|bytes|px|pixels)\b"
)
_TYPES = {"bool": bool, "int": int, "float": float, "str": str}
#: Of a parameter of this name the value is a type: `ophyd_async` makes signals so.
_DATATYPE = "datatype"


def references(value: object, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yield the names of the devices that an argument refers to, and where."""
    if isinstance(value, Mapping):
        if set(value) == {"device"} and isinstance(value["device"], str):
            yield place, value["device"]
            return
        for key, inner in value.items():
            yield from references(inner, (*place, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from references(inner, (*place, index))


def resolved(value: object, device: Callable[[str], object]) -> Any:
    """Return an argument with devices for references, and values for environment variables.

    Parameters
    ----------
    value
        As the file has it.
    device : callable
        Returns the device of a name.

    Raises
    ------
    ParameterError
        If an environment variable is not set.
    """
    if isinstance(value, Mapping):
        if set(value) == {"device"}:
            return device(str(value["device"]))
        if set(value) == {"environment"}:
            name = str(value["environment"])
            if name not in os.environ:
                raise ParameterError(
                    f"The environment variable {name} is not set. Set it in the shell that starts this."
                )
            return os.environ[name]
        return {key: resolved(inner, device) for key, inner in value.items()}
    return [resolved(inner, device) for inner in value] if isinstance(value, list) else value


class Takes:
    """What a class or a function takes.

    Parameters
    ----------
    maker : callable
        The class or function.
    """

    def __init__(self, maker: Callable[..., Any]) -> None:
        self.parameters = parameters_of(maker)
        self._hints: Mapping[str, Any] = {}
        with suppress(Exception):  # names that are only known to a type checker
            self._hints = get_type_hints(maker.__init__ if inspect.isclass(maker) else maker)
        self._text = "\n".join(filter(None, (inspect.getdoc(maker), _init_text(maker))))

    @property
    def names(self) -> list[str]:
        """Names of the parameters that can be given by name."""
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return [name for name, one in (self.parameters or {}).items() if one.kind in by_name]

    def takes(self, name: str) -> bool:
        """Return whether an argument can be given by a name."""
        if self.parameters is None or name in self.names:
            return True
        return any(one.kind is one.VAR_KEYWORD for one in self.parameters.values())

    def missing(self, positional: int, given: Mapping[str, object]) -> list[str]:
        """Return the names of the parameters that must be given, and are not."""
        found: list[str] = []
        for index, (name, one) in enumerate((self.parameters or {}).items()):
            variable = one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
            by_place = index < positional and one.kind is not one.KEYWORD_ONLY
            if not (variable or by_place or one.default is not one.empty or name in given):
                found.append(name)
        return found

    def value(self, name: str, value: object) -> Any:
        """Return an argument as the parameter of this name takes it.

        Raises
        ------
        ParameterError
            If it cannot be converted.
        """
        if name == _DATATYPE:
            return _datatype(value)
        hint = self._hints.get(name)
        if isinstance(value, list) and _is_tuple(hint):
            return tuple(value)
        kinds = set(_members(hint))
        is_number = bool(kinds & {int, float}) and kinds <= {int, float, NoneType}
        if not is_number or value is None:
            return value
        if isinstance(value, bool) or not isinstance(value, int | float | str | Mapping):
            raise ParameterError(f"{name}: {value!r} was given; give a number.")
        if isinstance(value, int | float):
            return value
        unit = self.unit(name)
        if unit is None:
            raise ParameterError(
                f"{name}: {value!r} was given, and its class does not say in which unit it takes a number. Give a plain "
                "number, in the unit of its documentation."
            )
        number = convert(value, unit, parameter=name)
        return round(number) if float not in kinds else number

    def unit(self, name: str) -> str | None:
        """Return in which unit a parameter takes a plain number, by its name or its documentation."""
        for suffix, unit in _SUFFIXES.items():
            if name.endswith(f"_{suffix}"):
                return unit
        said = _SAID.search(_documented(self._text, name))
        if said is None:
            return None
        return {"bytes": "byte", "pixels": "px", "seconds": "s", "second": "s"}.get(
            said[1], said[1]
        )


def _init_text(maker: Callable[..., Any]) -> str | None:
    return inspect.getdoc(maker.__init__) if inspect.isclass(maker) else None


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_tuple(hint: Any) -> bool:
    members = [get_origin(one) or one for one in _members(hint)]
    return tuple in members and list not in members


def _documented(text: str, name: str) -> str:
    """Return what a numpydoc docstring says of a parameter."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            head = line.partition(" : ")[0]
            inside = " : " in line and name in [one.strip() for one in head.split(",")]
        elif inside:
            found.append(line.strip())
    return " ".join(found)


def _datatype(value: object) -> Any:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        from ophyd_async.core import StrictEnum

        kind: Any = StrictEnum
        return kind("Choices", {f"CHOICE_{index}": one for index, one in enumerate(value)})
    if not isinstance(value, str) or value not in _TYPES:
        raise ParameterError(
            f"{_DATATYPE}: {value!r} was given; give 'bool', 'int', 'float', 'str', or the list of an enumeration's "
            "choices in their order, such as ['Close', 'Open']."
        )
    return _TYPES[value]
