"""What a document must have so that a run can be read: the one place that judges records."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from concertino._errors import StorageError

_MOST_FRAMES = 10**8  # more in one stream_datum is damage, and asks for memory that there is not


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _time(value: Any) -> bool:
    # Of the epoch, and such as the calendar has: the years until 9999.
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 2.5e11


def _integer(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63


def _mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _span(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and _integer(value.get("start"))
        and _integer(value.get("stop"))
        and 0 <= value["start"] <= value["stop"] <= _MOST_FRAMES
    )


def _data_keys(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(what, Mapping) and _list(what.get("shape", [])) for what in value.values()
    )


def _configuration(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(device, Mapping) and _mapping(device.get("data")) for device in value.values()
    )


_NEEDED: Mapping[str, Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "start": {"uid": (_text, "a text"), "time": (_time, "a time in s")},
    "descriptor": {"uid": (_text, "a text"), "data_keys": (_data_keys, "descriptions of values")},
    "event": {
        "descriptor": (_text, "a text"),
        "seq_num": (_integer, "an integer"),
        "time": (_time, "a time in s"),
        "data": (_mapping, "values by name"),
        "timestamps": (_mapping, "times by name"),
    },
    "event_page": {
        "descriptor": (_text, "a text"),
        "uid": (_list, "a list"),
        "seq_num": (_list, "a list"),
        "time": (_list, "a list"),
        "data": (_mapping, "lists by name"),
        "timestamps": (_mapping, "lists by name"),
    },
    "stream_resource": {"uid": (_text, "a text"), "data_key": (_text, "a text")},
    "stream_datum": {
        "stream_resource": (_text, "a text"),
        "descriptor": (_text, "a text"),
        "indices": (_span, "a range of indices"),
        "seq_nums": (_span, "a range of numbers"),
    },
    "stop": {"exit_status": (_text, "a text")},
}
_OPTIONAL: Mapping[str, Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "descriptor": {
        "name": (_text, "a text"),
        "configuration": (_configuration, "values by device"),
    },
    "stream_resource": {
        "mimetype": (_text, "a text"),
        "uri": (_text, "a text"),
        "parameters": (_mapping, "values by name"),
    },
}


def check_document(name: str, document: Mapping[str, Any], line: int, origin: Path) -> None:
    """Refuse a document that cannot be one.

    Parameters
    ----------
    name, document
        As they stand in a record.
    line, origin
        Where: the line, from 1, and the file.

    Raises
    ------
    StorageError
        Naming the field, what it is, and what it must be.
    """
    for key, (fits, wanted) in _NEEDED.get(name, {}).items():
        if key not in document:
            raise _damaged(name, line, origin, f"has no {key!r}")
        if not fits(document[key]):
            raise _damaged(name, line, origin, f"has {key!r} = {document[key]!r:.60}, not {wanted}")
    for key, (fits, wanted) in _OPTIONAL.get(name, {}).items():
        if key in document and not fits(document[key]):
            raise _damaged(name, line, origin, f"has {key!r} = {document[key]!r:.60}, not {wanted}")


def _damaged(name: str, line: int, origin: Path, what: str) -> StorageError:
    return StorageError(
        f"The {name} document in line {line} of {origin} {what}; the file was damaged or edited: "
        "restore it from a copy."
    )
