"""The one pint registry, built at its first use, beside that of any other program in the process."""

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pint import UnitRegistry

# Pint's own definitions make an angle a pure number, so that ``float(90 * deg)`` is 1.57 without a
# word. With a dimension of its own it is an error there, and a length can never pass for an angle.
# Pint's pixel is a unit of print (``px`` even a length, 1/96 inch); a detector's is its own kind.
DEFINITIONS = (
    "radian = [angle] = rad",
    "pixel = [pixel] = px = _",
    "frame = count",
    "frames_per_second = frame / second = fps",
)

_lock = Lock()
_built: "list[UnitRegistry[Any]]" = []


def registry() -> "UnitRegistry[Any]":
    """Return the registry; the first call builds it.

    Returns
    -------
    pint.UnitRegistry
        The same object at each call. Importing pint and reading its definitions takes about
        0.7 s, which is why it waits for the first quantity. Pint's application registry, which other
        packages use, stays what it is.
    """
    if _built:
        return _built[0]
    with _lock:
        if not _built:
            _built.append(_build())
    return _built[0]


def _build() -> "UnitRegistry[Any]":
    import pint

    ureg: UnitRegistry[Any] = pint.UnitRegistry(
        None, autoconvert_offset_to_baseunit=True, on_redefinition="ignore"
    )
    # Loaded before anything is looked up, so that no value computed from a replaced definition
    # stays in pint's cache.
    ureg.load_definitions(Path(pint.__file__).parent / "default_en.txt")
    ureg.load_definitions(DEFINITIONS)
    ureg.default_system = "mks"
    # Pint reads what was pickled into the application registry, where a pixel is 1/96 inch. These two
    # classes are this registry's alone.
    kinds: Any = (ureg.Quantity, ureg.Unit)
    for kind, reduce in zip(kinds, (_reduced_quantity, _reduced_unit), strict=True):
        kind.__reduce__ = reduce
    return ureg


def _reduced_quantity(value: Any) -> tuple[Any, ...]:
    return _quantity, (value.magnitude, str(value.units))


def _reduced_unit(value: Any) -> tuple[Any, ...]:
    return _unit, (str(value),)


def _quantity(magnitude: Any, unit: str) -> Any:
    return registry().Quantity(magnitude, unit)


def _unit(unit: str) -> Any:
    return registry().Unit(unit)
