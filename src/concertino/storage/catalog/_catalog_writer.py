"""Put runs into the catalogue in the background."""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from concertino._errors import CatalogError
from concertino.storage.record._document_file import DOCUMENTS

from ._catalog import Catalog
from ._catalog_missing import named

LOG = logging.getLogger(__name__)

_CLOSE_S = 1.5  # of the two seconds in which a session closes its catalogue
_JOIN_S = 0.2
_PATIENCE_S = 60.0  # for a moment without a run


class CatalogWriter:
    """Callback that has every run taken into the catalogue after its end, by a thread of its own.

    The thread reads what the run's directory holds. It works when no run is open; when there is no such
    moment for a minute, it works nevertheless. At first it takes in the runs that the catalogue
    lacks, of processes that ended before they could. What cannot be taken in is told in the log and by
    `Catalog.missing`; no run fails for it.

    Parameters
    ----------
    catalog
        Where the runs go.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._open: dict[str, Path] = {}  # by the uid of the run
        self._waiting: dict[Path, float] = {}  # since when
        self._looked = False  # for what other processes left
        self._hurry = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="catalogue writer", daemon=True)
        self._thread.start()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; from any thread. Only notes which runs begin and end."""
        if name == "start" and not document.get("transient") and document.get("run_directory"):
            with self._changed:
                self._open[str(document["uid"])] = Path(str(document["run_directory"]))
        elif name == "stop":
            with self._changed:
                directory = self._open.pop(str(document["run_start"]), None)
                if directory is not None:
                    self._waiting[directory] = time.monotonic()
                self._changed.notify_all()

    def flush(self, timeout_s: float | None = None) -> None:
        """Return when all runs that were stopped are in the catalogue, or cannot be taken in.

        Parameters
        ----------
        timeout_s
            How long to wait, in s; as long as it takes by default.

        Raises
        ------
        CatalogError
            When it takes longer.
        """
        if not self._finish(timeout_s):
            raise CatalogError(
                f"The catalogue of {self.catalog.root} still lacks {len(self._waiting)} runs after "
                f"{timeout_s:g} s; wait longer, or call catalog.catch_up() later."
            )

    def close(self) -> None:
        """Take in what can be taken in at once, tell what is left for the next session, and end: within 2 s."""
        if not self._ended and not self._finish(_CLOSE_S):
            with self._changed:
                left = list(self._waiting)
            lacks = (
                f"lacks {len(left)} runs yet: {named(left)}"
                if left
                else "was not looked through yet for runs of earlier sessions"
            )
            LOG.warning(
                "The catalogue of %s %s; its next use, or the next session there, takes them in.",
                self.catalog.root, lacks,
            )  # fmt: skip
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if not self._waiting:  # or it waits for a database, and for nobody to be done
            self._thread.join(_JOIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _finish(self, timeout_s: float | None) -> bool:
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(self._is_done, timeout_s)
            finally:
                self._hurry -= 1

    def _is_done(self) -> bool:
        return self._looked and not self._waiting

    def _work(self) -> None:
        try:
            left = [each.directory for each in self.catalog.missing()]
        except Exception as error:  # a damaged catalogue costs nobody a scan
            LOG.warning("%s", error)
            left = []
        now = time.monotonic()
        with self._changed:
            self._waiting |= {path: now for path in left if path not in self._open.values()}
            self._looked = True
            self._changed.notify_all()
        while (directory := self._next()) is not None:
            again: list[Path] = []
            if (directory / DOCUMENTS).is_file():  # of a server elsewhere there is no record here
                again = self.catalog.postponed() if self.catalog.take_in(directory) else []
            with self._changed:
                self._waiting.pop(directory, None)
                self._waiting |= dict.fromkeys(again, time.monotonic())
                self._changed.notify_all()

    def _next(self) -> Path | None:
        """Wait until a run may be taken in; return its directory, or None at the end."""
        with self._changed:
            while not self._ended:
                directory = next(iter(self._waiting), None)
                if directory is None:
                    self._changed.wait()
                    continue
                waited_s = time.monotonic() - self._waiting[directory]
                if not self._open or self._hurry or waited_s >= _PATIENCE_S:
                    return directory
                self._changed.wait(_PATIENCE_S - waited_s)
            return None
