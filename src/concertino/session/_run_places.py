"""A directory for each run of a session, if its metadata can be kept in it."""

from collections import ChainMap
from collections.abc import Mapping
from functools import partial
from typing import Any

from bluesky import Msg, RunEngine
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino._bluesky_private import metadata_of_call
from concertino.documents import check_control_fields, check_metadata
from concertino.plans import outcome_of, passed_on
from concertino.storage import Recorder, RunDirectories, encode_document

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

    def __init__(
        self, run_engine: RunEngine, directories: RunDirectories, recorder: Recorder
    ) -> None:
        self._run_engine = run_engine
        self._directories = directories
        self._recorder = recorder
        self._validated = run_engine.md_validator
        self._next: Mapping[str, Any] = {}
        run_engine.scan_id_source = self._scan_id
        run_engine.md_validator = self._check

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Make a directory for each run that a plan opens."""

        def give_directory(message: Msg) -> MsgGenerator[Any] | None:
            if message.command != "open_run" or "run_directory" in message.kwargs:
                return None
            return self._open_in_new_directory(message)

        return passed_on(plan, give_directory)

    def _open_in_new_directory(self, message: Msg) -> MsgGenerator[Any]:
        # What cannot be recorded leaves no directory behind.
        per_call = metadata_of_call(self._run_engine)
        given = ChainMap(dict(per_call), message.kwargs, dict(self._run_engine.md))
        check_metadata(given, _encoded)
        check_control_fields({**self._run_engine.md, **per_call}, "RE")
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
            self._validated(metadata)  # type: ignore[no-untyped-call]
            check_metadata(metadata, _encoded)
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
