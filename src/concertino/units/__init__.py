"""One pint registry, and quantities as plan parameters."""

from typing import TYPE_CHECKING, Any

from . import _registry
from ._checks import (
    ChecksMembers,
    ChecksPosition,
    ChecksQuantity,
    ChecksScanArguments,
    MotorPlace,
    ParameterCheck,
)
from ._convert import QuantityLike, convert, convert_count, is_quantity, parse
from ._device import to_device_unit
from ._json import from_json, to_json
from ._names import is_unit, meant_unit

if TYPE_CHECKING:
    from pint import UnitRegistry

    q: UnitRegistry[Any]
    ureg: UnitRegistry[Any]

__all__ = [
    "ChecksMembers",
    "ChecksPosition",
    "ChecksQuantity",
    "ChecksScanArguments",
    "MotorPlace",
    "ParameterCheck",
    "QuantityLike",
    "convert",
    "convert_count",
    "from_json",
    "is_quantity",
    "is_unit",
    "meant_unit",
    "parse",
    "q",
    "to_device_unit",
    "to_json",
    "ureg",
]


for _class in (ChecksMembers, ChecksPosition, ChecksQuantity, ChecksScanArguments, ParameterCheck):
    _class.__module__ = __name__
del _class


def __getattr__(name: str) -> Any:
    if name in ("q", "ureg"):
        return _registry.registry()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
