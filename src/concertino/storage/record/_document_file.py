"""The record of a run: its documents, one JSON array ``[name, document]`` a line."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from concertino._errors import StorageError
from concertino.units import is_quantity

DOCUMENTS = "documents.jsonl"
"""Name of the file in the run's directory."""


_MANY_DIGITS = re.compile(rb"[0-9]{19}")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=lambda item: (type(item).__name__, item))
    if is_quantity(value):
        return {"value": _plain(value.magnitude), "unit": f"{value.units:~}"}
    if isinstance(value, (list, tuple, str, int, float)):
        return value
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}")


def _is_finite(value: Any) -> bool:
    if isinstance(value, (float, np.floating)):
        return math.isfinite(value)
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(_is_finite(item) for item in value.values())
    if is_quantity(value):
        return _is_finite(value.magnitude)
    return not isinstance(value, (list, tuple, set, frozenset)) or all(
        _is_finite(item) for item in value
    )


def encode_document(name: str, document: Mapping[str, Any]) -> bytes:
    """Return the line, with its line feed, that stands for `document`.

    NumPy arrays and numbers become JSON lists and numbers, a quantity ``{"value", "unit"}``. Numbers that
    are not finite are kept (as ``NaN`` and ``Infinity``, which Python's `json` reads).

    Raises
    ------
    TypeError
        When a value has no JSON form.
    """
    try:
        line = orjson.dumps(
            [name, document],
            default=_plain,
            option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE,
        )
    except orjson.JSONEncodeError:  # integers of more than 64 bits, or really nothing for JSON
        return json.dumps([name, document], default=_plain).encode() + b"\n"
    if b"null" in line and not _is_finite(document):
        return json.dumps([name, document], default=_plain).encode() + b"\n"
    return line


def _decode(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        # orjson makes floats of integers of more than 64 bits, without a word.
        pair = json.loads(line) if _MANY_DIGITS.search(line) else orjson.loads(line)
    except orjson.JSONDecodeError:
        pair = json.loads(line)  # knows NaN
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not (
        isinstance(pair, list)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], dict)
    ):
        raise ValueError("no [name, document] pair")
    return pair[0], pair[1]


def record_bytes(directory: Path) -> int:
    """Return the size of a run's record now, in bytes; -1 when there is none."""
    try:
        return (directory / DOCUMENTS).stat().st_size
    except OSError:
        return -1


class DocumentFile:
    """Read the documents of a run from its record.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    damage
        ``""``, or after an iteration what is wrong with the end of the file: a line that was being
        written when the recording process was killed. The documents before it are all there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.damage = ""

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (name, document) in the order in which they were emitted.

        Raises
        ------
        StorageError
            When the file cannot be read, or a line that is not the last one is damaged.
        """
        self.damage = ""
        try:
            with self.path.open("rb") as file:
                number = 0
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        self.damage = (
                            f"line {number} of {self.path} ends in the middle of a document: "
                            "the process that recorded this run was killed while it wrote; "
                            f"the {number - 1} documents before it are complete"
                        )
                        return
                    try:
                        yield _decode(line)
                    except ValueError as error:
                        raise StorageError(
                            f"Line {number} of {self.path} is no document ({error}); the file was "
                            "damaged or edited: restore it from a copy."
                        ) from error
        except FileNotFoundError as error:
            raise StorageError(
                f"{self.path.parent} is no run directory: it has no {self.path.name}. Give the "
                "directory of a run."
            ) from error
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be read: {error.strerror}. Check its permissions, and that its "
                "disk is there."
            ) from error
