"""The callbacks of a session."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bluesky.preprocessors import SupplementalData
from event_model import DocumentNames

from concertino import MissingExtraError, ParameterError, ParameterTypeError
from concertino._extras import extra
from concertino.callbacks import (
    Consumer,
    DocumentConsumer,
    EmitsDocuments,
    PausesScans,
    Reconstructs,
    WantsMonitors,
    WorksOn,
    is_necessary,
)
from concertino.documents import DocumentCallback
from concertino.plans import PauseRequest
from concertino.reconstruction import ReconstructionSettings

from ._borrowed_run_engine import BorrowedRunEngine

if TYPE_CHECKING:
    from concertino.storage import Catalog, CatalogWriter

LOG = logging.getLogger(__name__)

_KINDS = ("all", *(kind.name for kind in DocumentNames))


class Subscriptions:
    """Who gets the documents of runs, by the token of the subscription.

    Parameters
    ----------
    borrowed : BorrowedRunEngine
        The session's.
    baseline : SupplementalData
        Where the signals go that callbacks want monitored.
    hold : PauseRequest
        What callbacks have scans pause with.

    Attributes
    ----------
    catalog_writer : CatalogWriter or None
        Told of the runs that callbacks make.
    """

    def __init__(
        self, borrowed: BorrowedRunEngine, baseline: SupplementalData, hold: PauseRequest
    ) -> None:
        self._borrowed = borrowed
        self._baseline = baseline
        self._hold = hold
        self._callbacks: dict[int, DocumentCallback] = {}
        self.catalog_writer: CatalogWriter | None = None

    def add(self, callback: DocumentCallback, name: str, necessary: bool | None) -> int:
        """Give a callback documents from now on; returns the token."""
        if not callable(callback):
            raise ParameterTypeError(
                f"callback: {callback!r} cannot be called. Give a callback such as ImageWriter(), or a function "
                "of a name and a document."
            )
        if name not in _KINDS:
            raise ParameterError(f"name: {name!r} was given; give one of {', '.join(_KINDS)}.")
        if isinstance(callback, Consumer):
            if necessary is not None:
                callback.necessary = necessary
            token = self._borrowed.subscribe(callback, name)
        else:
            told = is_necessary(callback) if necessary is None else necessary
            consumer = DocumentConsumer(callback, name, necessary=told)
            token = self._borrowed.subscribe(consumer, name)
        self._callbacks[token] = callback
        if isinstance(callback, WantsMonitors):
            self._baseline.monitors.extend(callback.monitors)
        if isinstance(callback, PausesScans) and callback.hold is None:
            callback.hold = self._hold
        if isinstance(callback, EmitsDocuments) and self.catalog_writer is not None:
            callback.add_callback(self.catalog_writer)
        return token

    def remove(self, token: int) -> None:
        """Give no more documents to a callback."""
        self._borrowed.unsubscribe(token)
        callback = self._callbacks.pop(token, None)
        if callback is not None:
            self._take_back_switch(callback)
        if isinstance(callback, WantsMonitors):
            for signal in callback.monitors:
                self._baseline.monitors.remove(signal)

    @property
    def callbacks(self) -> list[DocumentCallback]:
        """All callbacks."""
        return list(self._callbacks.values())

    @property
    def settings(self) -> ReconstructionSettings | None:
        """Settings of the first live reconstruction, if there is one."""
        for callback in self.callbacks:
            settings = callback.settings if isinstance(callback, Reconstructs) else None
            if isinstance(
                settings, ReconstructionSettings
            ):  # Others may mean something else by it.
                return settings
        return None

    def wait(self, timeout_s: float | None) -> None:
        """Wait until those have finished that still work."""
        for callback in self.callbacks:
            if isinstance(callback, WorksOn) and callback.busy:
                callback.wait(timeout_s)

    def clear(self) -> None:
        """Forget all; the RunEngine is given back by others."""
        for callback in self._callbacks.values():
            self._take_back_switch(callback)
        self._callbacks.clear()

    def _take_back_switch(self, callback: DocumentCallback) -> None:
        """Leave a callback without this session's switch: it may watch the scans of another one next."""
        if isinstance(callback, PausesScans) and callback.hold is self._hold:
            callback.hold = None


def open_catalog(
    directory: Path, borrowed: BorrowedRunEngine
) -> tuple["Catalog", "CatalogWriter | None"]:
    """Open the catalogue of a data directory, and have runs written into it when it can be."""
    from concertino.storage import Catalog, CatalogWriter

    catalog = Catalog.open(directory)
    try:
        with extra("catalog", f"The catalogue of {directory}"):
            version("tiled")  # Its import takes seconds.
    except MissingExtraError as error:
        LOG.warning(
            "%s Runs are recorded, and not indexed: 'concertino runs' lists them, and a catalogue takes "
            "them in later. open_session(…, catalog=False) says nothing.", error,
        )  # fmt: skip
        return catalog, None
    writer = CatalogWriter(catalog)
    borrowed.subscribe(DocumentConsumer(writer, name="catalogue"))
    return catalog, writer
