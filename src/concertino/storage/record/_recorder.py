"""The recorder: every document of every run, stored before anybody else gets it."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from concertino._errors import DocumentError
from concertino.documents import OpenRuns, link_of

from ._document_file import encode_document
from ._record import Record


def directory_of_start(start: Mapping[str, Any]) -> Path:
    """Return the directory that a start document names as its ``run_directory``.

    Raises
    ------
    DocumentError
        When it names none.
    """
    named = start.get("run_directory")
    if not named:
        raise DocumentError(
            f"Run {start.get('uid')} cannot be recorded: its start document has no 'run_directory'; "
            "use the RunEngine of open_session(), or give the Recorder a RunDirectories."
        )
    return Path(named)


class Recorder:
    """Write all documents of each run to ``documents.jsonl`` in its directory.

    Subscribe it before any other callback, so that the record has what they were given. Each line is with
    the operating system before the call returns: it survives the death of this process. After start,
    descriptors and stop the file is synced to disk in the background, where a slow disk cannot hold up
    the RunEngine; `flush` waits for it. Runs may be interleaved.

    Parameters
    ----------
    directory
        Takes the start document and returns the run's directory: a `RunDirectories` or a function. By
        default the directory that the start document names as ``run_directory``.

    Raises
    ------
    StorageError
        From a call, when the document cannot be written, or an earlier sync failed.
    DocumentError
        From a call, when a document belongs to no open run, or has no JSON form.
    """

    def __init__(self, directory: Callable[[Mapping[str, Any]], Path] = directory_of_start) -> None:
        self._directory = directory
        self._records: dict[str, Record] = {}  # by the uid of the start document
        self._runs = OpenRuns()
        self._closing: list[Future[None]] = []
        self._prepared: Record | None = None
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="recorder")

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Record one document."""
        if name == "start":
            self._begin(document)
            return
        run = self.run_of(name, document)
        self._runs.note(name, document)
        record = self._records[run]
        record.check()
        record.append(self._encode(name, document, record))
        if name == "stop":
            self._forget(run)
            self._closing.append(self._syncer.submit(record.close, sync=True))
        elif name == "descriptor":
            record.sync_soon(self._syncer)

    def _begin(self, start: Mapping[str, Any]) -> None:
        """Make the record of a run; a start document that cannot be kept leaves none, which nobody could read."""
        self._check_closed()
        record = self._open(Path(self._directory(start)))
        try:
            record.append(self._encode("start", start, record))
        except BaseException:
            _discard(record)
            raise
        self._records[start["uid"]] = record
        self._runs.note("start", start)
        record.sync_soon(self._syncer)

    def prepare(self, directory: Path) -> None:
        """Make the file of the run that starts next, in any thread.

        Making a file can take a busy disk a tenth of a second. Who knows the directory of the next run may
        have it made before the RunEngine emits the run's start document.

        Raises
        ------
        StorageError
            When the file exists or cannot be made.
        """
        self.discard_prepared()
        self._prepared = Record(directory)

    def discard_prepared(self) -> None:
        """Delete what was prepared for a run that does not start, and its directory if nothing else is in it."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            _discard(prepared)

    def run_of(self, name: str, document: Mapping[str, Any]) -> str:
        """Return the uid of the open run that a document belongs to.

        Raises
        ------
        DocumentError
            When it belongs to none.
        """
        run = self._runs.run_of(document)
        if not run:
            link = link_of(document)
            named = document.get(link, "")
            raise DocumentError(
                f"The {name} document cannot be recorded: its {link} {named!r} belongs to no open "
                "run; subscribe the Recorder before the run starts."
            )
        return run

    def flush(self) -> None:
        """Return when the records of all stopped runs are on disk.

        Raises
        ------
        StorageError
            When the disk reports an error.
        """
        wait(self._closing)
        self._check_closed()

    def close(self) -> None:
        """Wait as `flush` does, close the files of runs that were never stopped, and end the thread."""
        self.discard_prepared()
        for run, record in list(self._records.items()):
            self._forget(run)
            self._closing.append(self._syncer.submit(record.close))
        try:
            self.flush()
        finally:
            self._syncer.shutdown()

    def _open(self, directory: Path) -> Record:
        prepared = self._prepared
        if prepared is not None and prepared.path.parent == directory:
            self._prepared = None
            return prepared
        self.discard_prepared()
        return Record(directory)

    def _check_closed(self) -> None:
        """Raise what the last syncs in the background met."""
        done = [future for future in self._closing if future.done()]
        self._closing = [future for future in self._closing if not future.done()]
        for future in done:
            future.result()

    @staticmethod
    def _encode(name: str, document: Mapping[str, Any], record: Record) -> bytes:
        try:
            return encode_document(name, document)
        except TypeError as error:
            raise DocumentError(
                f"A {name} document cannot be recorded in {record.path}: {error}; give the plan and "
                "the devices values that JSON has."
            ) from error

    def _forget(self, run: str) -> None:
        del self._records[run]
        self._runs.forget(run)


def _discard(record: Record) -> None:
    """Delete a record, and its directory if nothing else is in it."""
    record.discard()
    with suppress(OSError):
        record.path.parent.rmdir()
