"""The values of a stream's events as columns, for the catalogue. Imports no tiled."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.storage.runs._run_index import StreamIndex

INTEGERS = range(-(2**63), 2**63)
"""What SQLite and Arrow hold as integers."""

_RESERVED = ("time", "seq_num")


def internal_keys(stream: StreamIndex) -> tuple[str, ...]:
    """Return the data keys whose values stand in the events."""
    return tuple(
        key
        for key, what in stream.data_keys.items()
        if "external" not in what and key not in _RESERVED
    )


def event_columns(stream: StreamIndex) -> dict[str, list[Any]]:
    """Return what a table can hold, by name of the column: scalars, and text for the rest.

    ``seq_num``, ``time``, each data key that has a value a row, and its time as ``ts_…``. A list that is
    no array of numbers, or an integer of more than 64 bits, is given as its JSON text.
    """
    events = stream.events
    columns: dict[str, list[Any]] = {
        "seq_num": [event["seq_num"] for event in events],
        "time": [event["time"] for event in events],
    }
    for key in internal_keys(stream):
        if event_array(stream, key) is None:
            columns[key] = _alike([event["data"].get(key) for event in events])
        columns[f"ts_{key}"] = _alike([event["timestamps"].get(key) for event in events])
    return columns


def event_array(stream: StreamIndex, key: str) -> NDArray[Any] | None:
    """Return the values of a data key, (events, ...), when they are arrays of one shape, or else None."""
    values = [event["data"].get(key) for event in stream.events]
    # tiled keeps columns that begin with an underscore for itself.
    if not values or not (key.startswith("_") or all(isinstance(v, list) for v in values)):
        return None
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return None
    return array if array.dtype.kind in "iufbU" and array.size else None


def _alike(values: Sequence[Any]) -> list[Any]:
    """Return values that one column can hold."""
    kinds = {_kind(value) for value in values if value is not None}
    if kinds <= {"bool"} or kinds <= {"str"} or kinds <= {"int"}:
        return list(values)
    if kinds <= {"int", "float"}:
        return [None if value is None else float(value) for value in values]
    return [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]


def _kind(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if value in INTEGERS else "text"
    return type(value).__name__
