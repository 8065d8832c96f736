"""Classes and functions by name: dotted, of an entry point, or one of concertino's own."""

import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from concertino import MissingExtraError, ParameterError

#: Entry points of this group are devices' classes by a name of their own.
GROUP = "concertino.devices"
_LISTED = 16
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?")


def find_class(name: str, package: str = "concertino.devices") -> Callable[..., Any]:
    """Return a class or a function by its name.

    Parameters
    ----------
    name : str
        Such as ``"ophyd_async.epics.motor.Motor"``, ``"my_beamline:make_camera"`` or ``"TangoMotor"``.
    package : str
        Where a name without dots is looked for, after the entry points.

    Raises
    ------
    ParameterError
        If there is no such thing, or it cannot be imported; the message begins as a sentence after the name.
    """
    if not _DOTTED.fullmatch(name):
        raise ParameterError(
            f"{name!r} was given; give the dotted name of a class, such as 'ophyd_async.epics.motor.Motor'."
        )
    found: Any = _named(name, package) if not re.search("[.:]", name) else _dotted(name)
    if not callable(found):
        raise ParameterError(
            f"{name!r} was given, which is no class and no function. Give what makes a device."
        )
    maker: Callable[..., Any] = found
    return maker


def imported(name: str) -> ModuleType:
    """Return a module by its name.

    Raises
    ------
    ParameterError
        If it cannot be imported.
    """
    if not _DOTTED.fullmatch(name):
        raise ParameterError(f"{name!r} was given; give the dotted name of a module.")
    module: ModuleType = _loaded(name, lambda: import_module(name))
    return module


def _named(name: str, package: str) -> Any:
    points = {point.name: point for point in entry_points(group=GROUP)}
    own = import_module(package)
    known = _public(own)
    if name in points:
        return _loaded(name, points[name].load)
    if name in known:
        return vars(own)[name]
    near = get_close_matches(name, [*points, *known], 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise ParameterError(
        f"{name!r} was given, and {package} has none of this name, nor has an entry point.{meant} Give the dotted name "
        "of a class of others, such as 'ophyd_async.epics.motor.Motor'."
    )


def _public(module: ModuleType) -> list[str]:
    """Return the names that a module offers: those that it says, or those of its own classes."""
    said: list[str] = vars(module).get("__all__", [])
    return said or [
        name
        for name, one in vars(module).items()
        if inspect.isclass(one) and one.__module__ == module.__name__ and not name.startswith("_")
    ]


def _dotted(name: str) -> Any:
    if ":" in name:
        return _loaded(name, lambda: pkgutil.resolve_name(name))
    module, _, attribute = name.rpartition(".")
    return _loaded(name, lambda: _of_module(module, attribute))


def _of_module(module: str, attribute: str) -> Any:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        # A class inside a class: whatever is no module is looked for in what is one.
        if error.name and (module + ".").startswith(error.name + ".") and "." in module:
            return pkgutil.resolve_name(f"{module}.{attribute}")
        raise
    return pkgutil.resolve_name(f"{module}:{attribute}")


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except MissingExtraError as error:
        raise ParameterError(f"{name!r} cannot be had. {error}") from error
    except ModuleNotFoundError as error:
        raise ParameterError(
            f"{name!r} cannot be imported: there is no module {error.name!r}. Correct the name, or install what has it "
            "into this environment."
        ) from error
    except AttributeError as error:
        raise ParameterError(
            f"{name!r} was given: {error}. Change the last part of the name."
        ) from error
    except Exception as error:  # whatever a module of others does when it is imported
        raise ParameterError(
            f"{name!r} cannot be imported: {type(error).__name__}: {error}. See that 'import "
            f"{re.split('[:.]', name)[0]}' works in Python."
        ) from error


def parameters_of(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return what a class or function takes, by name; None when it does not tell."""
    try:
        return inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return None


def lacks_part(maker: Callable[..., Any], part: str) -> bool:
    """Return whether a class certainly has no attribute of a name: neither it nor its source mentions it."""
    if not inspect.isclass(maker):
        return False
    for each in maker.__mro__[:-1]:
        own = vars(each)
        if part in own or part in inspect.get_annotations(each) or "__getattr__" in own:
            return False
        try:
            sources = [inspect.getsource(one) for one in own.values() if inspect.isfunction(one)]
        except (OSError, TypeError):
            return False
        if any(re.search(rf"\bself\.{re.escape(part)}\b", source) for source in sources):
            return False
    return True


def among(known: Iterable[str], given: str) -> str:
    """Return a sentence's end that tells what there is instead of something unknown, and what may have been meant.

    Examples
    --------
    >>> among(["rotation", "shutter"], "shuter")
    "rotation, shutter. Did you mean 'shutter'?"
    """
    names = list(known)
    near = get_close_matches(given, names, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    shown = names[:_LISTED]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(shown) or 'none'}{more}.{meant}"
