"""A directory for each run of a session, and metadata that can be kept in it."""

import unicodedata
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import MsgGenerator
from event_model import DocumentNames, schema_validators
from jsonschema import ValidationError

from concertino import ParameterError, ParameterTypeError
from concertino.documents import CONTROL_FIELDS, check_metadata_values, check_user_metadata
from concertino.plans import outcome_of
from concertino.storage import Recorder, RunDirectories, encode_document

_OWN = ("uid", "time")
_LONGEST = 60
_encoded = partial(encode_document, "start")


class RunPlaces:
    """A preprocessor that makes the directory of each run, after it has looked at the run's metadata.

    Parameters
    ----------
    run_engine : RunEngine
        The session's.
    directories : RunDirectories
        Makes them.
    recorder : Recorder
        Records the runs.
    """

    def __init__(self, run_engine: Any, directories: RunDirectories, recorder: Recorder) -> None:
        self._run_engine = run_engine
        self._directories = directories
        self._recorder = recorder
        self._validated = run_engine.md_validator
        self._next: Mapping[str, Any] = {}
        run_engine.scan_id_source = self._scan_id
        run_engine.md_validator = self._check

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Make a directory for each run that a plan opens."""

        def give_directory(message: Msg) -> tuple[MsgGenerator[Any] | None, None]:
            if message.command != "open_run" or "run_directory" in message.kwargs:
                return None, None
            return self._open_in_new_directory(message), None

        return (yield from bpp.plan_mutator(plan, give_directory))

    def _open_in_new_directory(self, message: Msg) -> MsgGenerator[Any]:
        # What cannot be recorded leaves no directory behind.
        per_call = getattr(self._run_engine, "_metadata_per_call", {})
        check_metadata(ChainMap(dict(per_call), message.kwargs, dict(self._run_engine.md)))
        given = {**self._run_engine.md, **per_call}
        check_user_metadata({k: v for k, v in given.items() if k in CONTROL_FIELDS}, _encoded, "RE")
        # A disk that is busy with the last run's frames can take long: not on the RunEngine's loop.
        self._next = yield from outcome_of(self._new_directory)
        return (yield message._replace(kwargs={**message.kwargs, **self._next}))

    def _new_directory(self) -> Mapping[str, Any]:
        directory = self._directories.new()
        self._recorder.prepare(directory.path)
        return directory.metadata()

    def _scan_id(self, md: Mapping[str, Any]) -> int:
        return int(self._next.get("scan_id", 0))

    def _check(self, metadata: dict[str, Any]) -> None:
        """Refuse a run whose metadata cannot be kept, or that would go elsewhere than to its directory."""
        try:
            self._validated(metadata)
            check_metadata(metadata)
            for key in ("run_directory", "scan_name"):
                named, made = metadata.get(key), self._next.get(key)
                if named != made:
                    raise ParameterError(
                        f"{key}: {named!r} was given in the metadata of a run. The session makes the "
                        f"directory of each run in {self._directories.root}, this time {made}; leave it "
                        "out, and give another key, such as sample, to find the run by."
                    )
        except Exception:
            # Others may have changed the metadata after the directory was made for it.
            self._recorder.discard_prepared()
            raise


def check_metadata(metadata: Any, parameter: str = "metadata") -> None:
    """Refuse metadata that no start document can have, or no file can keep.

    Raises
    ------
    ParameterError
        With the key, and what is wrong with it.
    """
    if not isinstance(metadata, Mapping):
        raise ParameterTypeError(
            f"{parameter}: {_short(metadata)} was given; give a mapping, such as {{'sample': 'tooth'}}."
        )
    for key, value in metadata.items():
        _check_key(key, parameter)
        if wrong := next(_wrong_texts(value), None):
            raise ParameterError(
                f"{parameter}: {key} has the text {_short(wrong)}, with a character that "
                "files cannot keep. Leave it out."
            )
        try:
            _encoded({key: value})
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterTypeError(
                f"{parameter}: {key} is {_short(value)}, which cannot be written into the run's record ({_why(error)}). "
                "Give text, numbers, quantities, arrays, or lists and mappings of these."
            ) from error
    check_metadata_values(metadata, _encoded, parameter)
    sample = metadata.get("sample", "")
    if not isinstance(sample, str | Mapping):
        raise ParameterTypeError(
            f"{parameter}: sample is {_short(sample)}; give its name as text, or a mapping such as "
            "{'name': 'tooth', 'age': 40}."
        )
    try:
        with suppress(KeyError):
            schema_validators[DocumentNames.start].validate({**metadata, "uid": "", "time": 0.0})
    except ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "one of its keys"
        raise ParameterError(
            f"{parameter}: {where} does not fit into a start document: {error.message}. See bluesky's "
            "event-model for what its keys may be."
        ) from error


def _check_key(key: Any, parameter: str) -> None:
    if not isinstance(key, str):
        raise ParameterTypeError(
            f"{parameter}: the key {_short(key)} is no text; give text as keys."
        )
    if key in _OWN:
        raise ParameterError(
            f"{parameter}: {key} was given, which each run gets by itself. Choose another key."
        )
    if not key or set(key) & set("./") or next(_wrong_texts(key), None) is not None:
        raise ParameterError(
            f"{parameter}: the key {_short(key)} cannot be one of a document: it is empty, or has a dot, a "
            "slash or a control character. Choose another one."
        )


def _wrong_texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value that HDF5 files and file systems cannot keep."""
    if isinstance(value, str):
        if any(letter == "\0" or unicodedata.category(letter) == "Cs" for letter in value):
            yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _wrong_texts(key)
            yield from _wrong_texts(each)
    elif isinstance(value, Iterable) and isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _wrong_texts(each)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _why(error: Exception) -> str:
    return str(error).rstrip(".")[:200] or type(error).__name__
