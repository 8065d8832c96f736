"""How a beam is switched off over a connection of its own: values that can be written down as JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concertino._errors import ParameterError

_KINDS = (
    '{"pv": "ca://BL:SHUTTER", "off": 0}',
    '{"tango": "tango://HOST:10000/a/b/c", "attribute": "open", "off": false}',
    '{"tango": "tango://HOST:10000/a/b/c", "command": "Close"}',
    '{"command": ["caput", "BL:SHUTTER", "0"]}',
    '{"function": "package.module:function", "arguments": {}}',
)
_FUNCTION = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class EpicsSwitch:
    """A PV of EPICS that gets a value.

    Attributes
    ----------
    pv : str
        Its name, with ``ca://`` (when nothing is said) or ``pva://`` before it.
    off
        The value for no beam.
    """

    pv: str
    off: Any = 0

    def to_json(self) -> dict[str, Any]:
        """Return what `switch_from_json` reads."""
        return {"pv": self.pv, "off": self.off}

    def __str__(self) -> str:
        return self.pv if "://" in self.pv else f"ca://{self.pv}"


@dataclass(frozen=True)
class TangoSwitch:
    """An attribute of a Tango device that gets a value, or a command that is called.

    Attributes
    ----------
    device : str
        Its whole address, such as ``tango://host:10000/a/b/c``.
    attribute, command : str
        One of both.
    off
        The attribute's value for no beam, or the command's argument, if it takes one.
    """

    device: str
    attribute: str = ""
    command: str = ""
    off: Any = None

    def to_json(self) -> dict[str, Any]:
        """Return what `switch_from_json` reads."""
        kind = "attribute" if self.attribute else "command"
        return {"tango": self.device, kind: self.attribute or self.command, "off": self.off}

    def __str__(self) -> str:
        address, mark, rest = self.device.partition("#")
        return f"{address}/{self.attribute or self.command}{mark}{rest}"


@dataclass(frozen=True)
class CommandSwitch:
    """A program that switches the beam off; it ends with 0 when it has.

    Attributes
    ----------
    command : tuple of str
        Program and arguments.
    """

    command: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `switch_from_json` reads."""
        return {"command": list(self.command)}

    def __str__(self) -> str:
        return " ".join(self.command)


@dataclass(frozen=True)
class FunctionSwitch:
    """A function that can be imported and switches the beam off; it raises when it cannot.

    Attributes
    ----------
    function : str
        ``package.module:function``.
    arguments : mapping
        Keyword arguments, of JSON's types.
    """

    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what `switch_from_json` reads."""
        return {"function": self.function, "arguments": dict(self.arguments)}

    def __str__(self) -> str:
        return self.function


SwitchOff = EpicsSwitch | TangoSwitch | CommandSwitch | FunctionSwitch


def switch_from_json(data: Mapping[str, Any]) -> SwitchOff:
    """Return the value that a mapping describes.

    Raises
    ------
    ParameterError
        If it describes none.

    Examples
    --------
    >>> from concertino.guard import switch_from_json
    >>> print(switch_from_json({"pv": "BL:SHUTTER", "off": 0}))
    ca://BL:SHUTTER
    """
    made = _made(dict(data))
    if made is None or not _is_json(made.to_json()):
        raise ParameterError(
            f"guard: {dict(data)!r} does not say how to switch a beam off. Give one of "
            f"{'; '.join(_KINDS)}."
        )
    return made


def read_switches(path: Path) -> dict[str, SwitchOff]:
    """Return what a JSON file describes: one switch, or a list of them, each with a ``name`` if it likes.

    Raises
    ------
    ParameterError
        If the file cannot be read, or describes something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"guard: {path} was given as the description of a beam and cannot be read: {error}. "
            "Give a JSON file with an object or a list of objects."
        ) from error
    several = found if isinstance(found, list) else [found]
    if not several or not all(isinstance(one, dict) for one in several):
        raise ParameterError(f"guard: {path} has {found!r}; give an object or a list of objects.")
    return dict(map(named_switch, several))


def named_switch(data: Mapping[str, Any]) -> tuple[str, SwitchOff]:
    """Return the name and the switch that a mapping describes; without a name, what is switched.

    Raises
    ------
    ParameterError
        If it describes no switch.
    """
    switch = switch_from_json({key: value for key, value in data.items() if key != "name"})
    return str(data.get("name", switch)), switch


def _made(given: dict[str, Any]) -> SwitchOff | None:
    keys = set(given)
    match given:
        case {"pv": str(pv)} if pv and keys == {"pv", "off"}:
            known = "://" not in pv or pv.startswith(("ca://", "pva://"))
            return EpicsSwitch(pv, given["off"]) if known else None
        case {"tango": str(device), "attribute": str(attribute)} if keys == {
            "tango",
            "attribute",
            "off",
        }:
            return TangoSwitch(device, attribute=attribute, off=given["off"])
        case {"tango": str(device), "command": str(command)} if keys <= {"tango", "command", "off"}:
            return TangoSwitch(device, command=command, off=given.get("off"))
        case {"command": [*words]} if words and keys == {"command"}:
            return CommandSwitch(tuple(map(str, words)))
        case {"function": str(name)} if _FUNCTION.fullmatch(name) and keys <= {
            "function",
            "arguments",
        }:
            arguments = given.get("arguments", {})
            return FunctionSwitch(name, dict(arguments)) if isinstance(arguments, Mapping) else None
    return None


def _is_json(value: Any) -> bool:
    """Whether another process can be told it."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
