"""Put runs into the catalogue without slowing the RunEngine."""

import atexit
import logging
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from concertino._errors import CatalogError, ConcertinoError

from ._catalog import Catalog, whole_run
from ._document_file import DOCUMENTS
from ._find_runs import open_run

LOG = logging.getLogger(__name__)

_PENDING = 256
_END = object()
_LINKS = ("run_start", "descriptor", "stream_resource", "resource")


class CatalogWriter:
    """Callback that takes every run into the catalogue, in a thread of its own, after the run.

    During a run a call only notes the document, or nothing at all when the run has its own record. The
    thread works when no run is open; when there is no such moment for `patience_s`, it works
    nevertheless. Runs that the catalogue lacks, of a process that was killed or did not close this, are
    taken in too.

    Parameters
    ----------
    catalog
        Where the runs go.
    patience_s
        How long to wait for a moment without a run, in s.

    Raises
    ------
    CatalogError
        From `flush` or `close`: what went wrong. No run fails because of the catalogue.
    """

    def __init__(self, catalog: Catalog, *, patience_s: float = 60.0) -> None:
        self.catalog = catalog
        self._patience_s = patience_s
        self._open: dict[str, list[tuple[str, Mapping[str, Any]]] | Path] = {}
        self._links: dict[str, str] = {}  # uid of a document -> uid of its start document
        self._jobs: queue.Queue[Any] = queue.Queue(_PENDING)
        self._errors: list[CatalogError] = []
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._hurry = threading.Event()
        self._caught_up = False
        self._leaving = False
        self._thread: threading.Thread | None = None
        atexit.register(self._leave)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; from any thread."""
        with self._lock:
            self._note(name, document)

    def flush(self, timeout_s: float | None = None) -> None:
        """Return when the catalogue has all runs that were stopped.

        Parameters
        ----------
        timeout_s
            How long to wait, in s; as long as it takes by default.

        Raises
        ------
        CatalogError
            What went wrong, or that it takes longer.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._hurry.set()
        self._idle.set()
        try:
            with self._jobs.all_tasks_done:
                while self._jobs.unfinished_tasks:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise CatalogError(
                            f"the catalogue of {self.catalog.root} still lacks "
                            f"{self._jobs.unfinished_tasks} runs after {timeout_s:g} s; wait longer, or "
                            "call catalog.catch_up() later"
                        )
                    self._jobs.all_tasks_done.wait(left)
        finally:
            self._hurry.clear()
            if self._open:
                self._idle.clear()
        self._raise_error()

    def close(self) -> None:
        """Take in what is waiting, and end the thread.

        Raises
        ------
        CatalogError
            What went wrong.
        """
        try:
            self.flush()
        finally:
            if self._thread is not None:
                self._jobs.put(_END)
                self._hurry.set()
                self._thread.join()
                self._thread = None
            atexit.unregister(self._leave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _note(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "start":
            if document.get("transient"):
                return  # previews, of which nothing is stored
            run = str(document["uid"])
            directory = Path(document.get("run_directory", "/nonexistent"))
            recorded = (directory / DOCUMENTS).is_file()
            self._open[run] = directory if recorded else [(name, document)]
            self._links[run] = run
            self._idle.clear()
            return
        link = next(
            (self._links[document[key]] for key in _LINKS if document.get(key) in self._links), None
        )
        if link is None:
            return  # of a run that was open already when this was subscribed
        if "uid" in document:
            self._links[str(document["uid"])] = link
        kept = self._open[link]
        if isinstance(kept, list):
            kept.append((name, document))
        if name == "stop":
            self._stop(link)

    def _stop(self, run: str) -> None:
        kept = self._open.pop(run)
        self._links = {uid: other for uid, other in self._links.items() if other != run}
        if not self._open:
            self._idle.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="catalogue writer", daemon=True)
            self._thread.start()
        try:
            self._jobs.put_nowait(kept)
        except queue.Full:
            self._fail(
                CatalogError(
                    f"the catalogue of {self.catalog.root} is {_PENDING} runs behind; run {run} is not "
                    "taken in: call catalog.catch_up() when there is time"
                )
            )

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                if job is _END:
                    return
                if not self._hurry.is_set():
                    self._idle.wait(self._patience_s)
                self._take_in(job)
            except CatalogError as error:
                self._fail(error)
            except Exception as error:
                self._fail(CatalogError(f"the catalogue writer failed: {error!r}"))
            finally:
                self._jobs.task_done()
            self._catch_up()

    def _catch_up(self) -> None:
        """Take in what a killed process left, as long as there is nothing else to do."""
        if self._caught_up or self._jobs.unfinished_tasks:
            return
        try:
            for run in self.catalog.missing():
                if self._jobs.unfinished_tasks:
                    return
                self.catalog.insert(whole_run(run))
        except ConcertinoError as error:  # nobody asked for it: not worth a failed run
            if not self._leaving:
                LOG.warning("%s", error)
        self._caught_up = True

    def _take_in(self, job: list[tuple[str, Mapping[str, Any]]] | Path) -> None:
        self.catalog.insert(job if isinstance(job, list) else whole_run(open_run(job)))

    def _fail(self, error: CatalogError) -> None:
        self._errors.append(error)
        if not self._leaving:
            LOG.warning("%s", error)

    def _raise_error(self) -> None:
        if self._errors:
            error = self._errors[0]
            self._errors.clear()
            raise error

    def _leave(self) -> None:
        """Give up at the end of a process that did not close this: the next one catches up."""
        self._leaving = True
