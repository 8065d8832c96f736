"""What metadata a user may give to runs: the one place that judges it."""

from collections.abc import Callable, Mapping
from typing import Any

from concertino import ParameterError

CONTROL_FIELDS = frozenset({
    "derived_from", "detectors", "frame_bytes", "frame_shape", "frames", "hints", "more_frame_bytes",
    "motors", "plan_args", "preflight", "resumes", "time", "tomo", "transient", "uid",
})  # fmt: skip
"""Fields of a start document that Concertino itself sets and obeys."""


def check_user_metadata(
    md: Mapping[str, Any] | None, encode: Callable[[Any], object], asked: str = "md"
) -> None:
    """Refuse metadata that a run could not keep as it is given, or that would change what the run means.

    Parameters
    ----------
    md
        The metadata.
    encode
        Raises TypeError or ValueError for a value that the record cannot hold.
    asked
        What messages call it.

    Raises
    ------
    ParameterError
        Naming the key, and what to do.
    """
    if md is None:
        return
    if not isinstance(md, Mapping):
        raise ParameterError(
            f"{asked}: {md!r:.60} was given; give names and values, such as {{'sample': 'tooth'}}"
        )
    for key in sorted(CONTROL_FIELDS & set(md)):
        raise ParameterError(
            f"{asked}: {key!r} is a field that runs have of their own, and which says how their frames "
            f"are taken and found; give the value another name, such as 'my_{key}'"
        )
    check_metadata_values(md, encode, asked)


def check_metadata_values(
    md: Mapping[str, Any], encode: Callable[[Any], object], asked: str = "md"
) -> None:
    """Refuse keys and values that the documents of a run cannot hold: see `check_user_metadata`.

    Raises
    ------
    ParameterError
        Naming the key, and what to do.
    """
    for key, value in md.items():
        _check_keys(md, asked)
        try:
            _check_value(value, f"{asked}[{key!r}]")
            encode(value)
        except ParameterError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterError(
                f"{asked}: the value of {key!r} cannot be recorded: {error}; give texts, numbers, lists of "
                "them, or values by name"
            ) from error


def _check_value(value: Any, asked: str) -> None:
    if isinstance(value, Mapping):
        _check_keys(value, asked)
        for key, item in value.items():
            _check_value(item, f"{asked}[{key!r}]")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_value(item, asked)


def _check_keys(md: Mapping[Any, Any], asked: str) -> None:
    for key in md:
        if not isinstance(key, str) or not key or "." in key or "/" in key:
            raise ParameterError(
                f"{asked}: the key {key!r} was given; keys are texts without '.' and '/', which separate "
                "names where runs are searched: use '_' instead"
            )
