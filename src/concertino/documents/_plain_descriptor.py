"""Whether a descriptor is plainly what event-model's schema says: the baseline has one of hundreds of devices."""

import re
from collections.abc import Callable, Mapping
from typing import Any

_DTYPES = frozenset({"string", "number", "array", "boolean", "integer"})
_NUMPY_DTYPE = re.compile("[|<>][tbiufcmMOSUV][0-9]+")
_EXTERNAL = re.compile("[A-Z]")
_RANGES = frozenset({"alarm", "control", "display", "warning"})

Check = Callable[[Any], bool]


def is_plain_descriptor(document: Any) -> bool:
    """Whether a descriptor is certainly what the schema says; False for what is wrong, or only unusual."""
    return (
        isinstance(document, dict)
        and document.keys() >= {"data_keys", "run_start", "time", "uid"}
        and all(
            (check := _FIELDS.get(field)) is not None and check(value)
            for field, value in document.items()
        )
        and _plain_names(document)
    )


def _plain_names(part: dict[Any, Any]) -> bool:
    """Whether no name in it, nor in any mapping within it, is empty or has a dot or a slash."""
    for name, value in part.items():
        if not isinstance(name, str) or not name or "." in name or "/" in name:
            return False
        if isinstance(value, dict) and not _plain_names(value):
            return False
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _each(check: Check) -> Check:
    """Whether something is a mapping whose values all pass."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _sequence(*kinds: type) -> Check:
    """Whether something is a list or tuple of values that have just these types."""
    wanted = frozenset(kinds)
    return lambda value: type(value) in (list, tuple) and wanted.issuperset(map(type, value))


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"low", "high"}
        and all(map(_or_none(_is_number), value.values()))
    )


def _is_limits(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name in _RANGES and (limit is None or _is_range(limit)) for name, limit in value.items()
    )


_KEY_FIELDS: Mapping[str, Check] = {
    "choices": _sequence(str),
    "dims": _sequence(str),
    "dtype": lambda value: isinstance(value, str) and value in _DTYPES,
    "dtype_numpy": lambda value: isinstance(value, str) and bool(_NUMPY_DTYPE.search(value)),
    "external": lambda value: isinstance(value, str) and bool(_EXTERNAL.match(value)),
    "limits": _is_limits,
    "object_name": _is_text,
    "precision": _or_none(lambda value: type(value) is int),
    "shape": _sequence(int, type(None)),
    "source": _is_text,
    "units": _or_none(_is_text),
}


def _is_data_key(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() >= {"dtype", "shape", "source"}
        and all(
            name not in _KEY_FIELDS or _KEY_FIELDS[name](inner) for name, inner in value.items()
        )
    )


_CONFIGURATION_FIELDS: Mapping[str, Check] = {
    "data": _is_mapping,
    "data_keys": _each(_is_data_key),
    "timestamps": _is_mapping,
}


def _is_configuration(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name not in _CONFIGURATION_FIELDS or _CONFIGURATION_FIELDS[name](inner)
        for name, inner in value.items()
    )


def _is_hints(value: Any) -> bool:
    # The schema takes these two for fields of a hint, where bluesky has the names of devices.
    return isinstance(value, dict) and not value.keys() & {"NX_class", "fields"}


_FIELDS: Mapping[str, Check] = {
    "configuration": _each(_is_configuration),
    "data_keys": _each(_is_data_key),
    "hints": _is_hints,
    "name": _is_text,
    "object_classes": _each(_is_text),
    "object_keys": _is_mapping,
    "run_start": _is_text,
    "time": _is_number,
    "uid": _is_text,
}
