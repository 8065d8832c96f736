"""What metadata runs can have: the one place that judges it."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import event_model
from jsonschema import ValidationError

from concertino._errors import ParameterError, ParameterTypeError

CONTROL_FIELDS = frozenset({
    "derived_from", "detectors", "frame_bytes", "frame_shape", "frames", "hints", "imaging_scan",
    "more_frame_bytes", "motors", "own_files", "plan_args", "preflight", "resumes", "time", "tomo", "transient", "uid",
})  # fmt: skip
"""Fields of a start document that Concertino itself sets and obeys."""

_OWN = ("uid", "time")
_LONGEST = 60
_START = event_model.DocumentNames.start


def check_user_metadata(md: Mapping[str, Any] | None, encode: Callable[[Any], object]) -> None:
    """Refuse metadata of a user that a run could not keep, or that would change what the run means.

    Parameters
    ----------
    md
        The metadata.
    encode
        As `check_metadata` takes it.

    Raises
    ------
    ParameterError
        Naming the key, and what to do.
    """
    if md is None:
        return
    if isinstance(md, Mapping):
        check_control_fields(md, "md")
    check_metadata(md, encode, "md")


def check_control_fields(md: Mapping[str, Any], asked: str) -> None:
    """Refuse metadata under the names of what a run says of itself.

    Raises
    ------
    ParameterError
        Naming the key, and what to do.
    """
    for key in sorted(CONTROL_FIELDS & set(md)):
        raise ParameterError(
            f"{asked}: {key!r} is a field that runs have of their own, and which says how their "
            f"frames are taken and found; give the value another name, such as 'my_{key}'."
        )


def check_metadata(md: Any, encode: Callable[[Any], object], asked: str = "metadata") -> None:
    """Refuse metadata that no start document can have, or no file can keep.

    Parameters
    ----------
    md
        The metadata, of whomever.
    encode
        Raises TypeError or ValueError for a value that the record cannot hold.
    asked
        What messages call it.

    Raises
    ------
    ParameterError
        With the key, and what is wrong with it; a `ParameterTypeError` if it is of another kind.
    """
    if not isinstance(md, Mapping):
        raise ParameterTypeError(
            f"{asked}: {_short(md)} was given; give names and values, such as {{'sample': 'tooth'}}."
        )
    for key, value in md.items():
        _check_key(key, asked)
        if key in _OWN:
            raise ParameterError(
                f"{asked}: {key} was given, which each run gets by itself. Choose another key."
            )
        _check_value(key, value, encode, asked)
    sample = md.get("sample", "")
    if not isinstance(sample, str | Mapping):
        raise ParameterTypeError(
            f"{asked}: sample is {_short(sample)}; give its name as text, or a mapping such as "
            "{'name': 'tooth', 'age': 40}."
        )
    try:
        event_model.schema_validators[_START].validate({**md, "uid": "", "time": 0.0})
    except ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "one of its keys"
        raise ParameterError(
            f"{asked}: {where} does not fit into a start document: {error.message}. See bluesky's "
            "event-model for what its keys may be."
        ) from error


def _check_value(key: str, value: Any, encode: Callable[[Any], object], asked: str) -> None:
    try:
        wrong = next(_wrong_texts(value), "")
        if not wrong:
            encode({key: value})
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterTypeError(
            f"{asked}: {key} is {_short(value)}, which cannot be written into the run's record ({_why(error)}). "
            "Give text, numbers, quantities, arrays, or lists and mappings of these."
        ) from error
    if wrong:
        raise ParameterError(
            f"{asked}: {key} has the text {_short(wrong)}, with a character that "
            "files cannot keep. Leave it out."
        )
    _check_keys_within(value, f"{asked}[{key!r}]")


def _check_keys_within(value: Any, asked: str) -> None:
    if isinstance(value, Mapping):
        for key, each in value.items():
            _check_key(key, asked)
            _check_keys_within(each, f"{asked}[{key!r}]")
    elif isinstance(value, list | tuple):
        for each in value:
            _check_keys_within(each, asked)


def _check_key(key: Any, asked: str) -> None:
    said = (
        f"{asked}: the key {_short(key)} was given; keys are texts without '.' and '/', which separate "
        "names where runs are searched, and without characters that files cannot keep; none is empty. "
        "Use '_' instead."
    )
    if not isinstance(key, str):
        raise ParameterTypeError(said)
    if not key or set(key) & set("./") or next(_wrong_texts(key), ""):
        raise ParameterError(said)


def _wrong_texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value that HDF5 files and file systems cannot keep."""
    if isinstance(value, str):
        if any(letter == "\0" or unicodedata.category(letter) == "Cs" for letter in value):
            yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _wrong_texts(key)
            yield from _wrong_texts(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _wrong_texts(each)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _why(error: Exception) -> str:
    return str(error).rstrip(".")[:200] or type(error).__name__
