"""What `open_session` takes: looked at before anything is made, opened or started."""

import math
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bluesky import RunEngine
from bluesky.protocols import HasName, Readable

from concertino import ParameterError, ParameterTypeError, SessionError
from concertino.documents import check_user_metadata
from concertino.storage import encode_document

from ._beam_guard import check_guard
from ._optional_device import HasSettingsReadout

_KINDS: Mapping[str, tuple[Any, str]] = {
    "directory": ((str, os.PathLike), "give the path of the data directory"),
    "pattern": (str, "give a name with one field for the scan id, such as 'scan_{:04d}'"),
    "guard_at": (str, "give tcp://HOST:PORT, where concertino guard listens"),
    "progress": (bool, "give True or False"),
    "catalog": (bool, "give True or False"),
    "separate_scans": (bool, "give True or False"),
    "run_engine": (
        (RunEngine, type(None)),
        "give a RunEngine of bluesky, or leave it out for a new one",
    ),
}


def check_arguments(**given: Any) -> None:
    """Refuse arguments of `open_session` that cannot work.

    Raises
    ------
    ParameterError
        With the argument, what was given, and what is wanted; a `ParameterTypeError` if it is of another kind.
    SessionError
        If the RunEngine is not idle.
    """
    for name, (kinds, advice) in _KINDS.items():
        if not isinstance(given[name], kinds):
            raise ParameterTypeError(f"{name}: {given[name]!r} was given; {advice}.")
    for name in ("guard_silence_s", "guard_loop_silence_s"):
        check_seconds(name, given[name])
    _check_baseline(given["baseline"])
    check_user_metadata(given["md"], partial(encode_document, "start"))
    check_guard(given["guard"])
    run_engine = given["run_engine"]
    if run_engine is not None and str(run_engine.state) != "idle":
        raise SessionError(
            f"run_engine: it is {run_engine.state}. A session is opened when no plan runs: wait for its end, or "
            "end it with RE.abort()."
        )


def check_seconds(name: str, value: object) -> None:
    """Refuse what is no time.

    Raises
    ------
    ParameterError
        If it is no positive, finite number.
    """
    said = f"{name}: {value!r} was given; give seconds, more than 0."
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterTypeError(said)
    if not (math.isfinite(value) and value > 0):
        raise ParameterError(said)


def _check_baseline(devices: Any) -> None:
    if isinstance(devices, str) or not isinstance(devices, Iterable):
        raise ParameterTypeError(f"baseline: {devices!r} was given; give a list of devices.")
    if not isinstance(devices, list | tuple | set | frozenset | Mapping):
        return  # It could be gone through only once.
    for device in devices:
        check_readable(device)


def check_readable(device: object) -> None:
    """Refuse what a baseline cannot read.

    Raises
    ------
    ParameterTypeError
        If it is no device with a name.
    """
    named = isinstance(device, HasName) and isinstance(device.name, str)
    if not named or not isinstance(device, Readable | HasSettingsReadout):
        raise ParameterTypeError(
            f"baseline: {device!r} cannot be read; give devices with a name, read() and describe()."
        )


def check_open(is_open: bool, what: str, directory: Path) -> None:
    """Refuse what a closed session cannot do any more.

    Raises
    ------
    SessionError
        If it is closed.
    """
    if not is_open:
        raise SessionError(
            f"The session in {directory} was closed before session.{what}() was called. Open "
            "another one with open_session()."
        )
