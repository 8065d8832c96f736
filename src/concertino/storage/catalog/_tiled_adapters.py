"""How tiled reads what the catalogue names: through our own readers. Imported only with tiled."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tiled.adapters.core import Adapter
from tiled.adapters.table import TableAdapter
from tiled.mimetypes import DEFAULT_ADAPTERS_BY_MIMETYPE
from tiled.structures.core import StructureFamily

from concertino._errors import CatalogError, StorageError
from concertino.storage.disk._uris import current_uri
from concertino.storage.formats._image_formats import resource_makers
from concertino.storage.record._document_file import record_bytes
from concertino.storage.runs._find_runs import find_runs
from concertino.storage.runs._run import Run

from ._event_columns import event_array, event_columns

EVENTS = "application/x-concertino-events"
"""Mimetype of values that stand in a record."""

OURS = "concertino"
"""Parameter of a data source: which run, stream and data key of ours it is."""

RECORDED = "recorded"
"""In it, of what another program stored: the run's directory when it was catalogued."""

_OPEN_RUNS = 4


class StoredRuns:
    """The runs below a data directory, found by uid wherever they are now; the last few stay open.

    Parameters
    ----------
    root
        The data directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, tuple[int, Run]] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, what: Mapping[str, Any]) -> Run:
        """Return a run that the catalogue names.

        Raises
        ------
        CatalogError
            When it is no more in the data directory.
        """
        with self._lock:
            uid = str(what["run"])
            opened = self._open.pop(uid, None)
            if opened is None or record_bytes(opened[1].directory) != opened[0]:
                run = self._find(uid, str(what["directory"]))
                opened = record_bytes(run.directory), run  # the size before its documents are read
            self._open[uid] = opened
            while len(self._open) > _OPEN_RUNS:
                self._open.popitem(last=False)  # Somebody may be reading: closed when let go of.
            return opened[1]

    def _find(self, uid: str, directory: str) -> Run:
        try:
            run = Run(self._root / directory)
            if run.uid == uid:
                return run
        except StorageError:
            pass  # It was moved or renamed, perhaps.
        for run in find_runs(self._root):
            if run.uid == uid:
                return run
        raise CatalogError(
            f"The run {uid} was in {self._root / directory} when it was catalogued and is not in "
            f"{self._root} now; put its directory back, or have catalog.rebuild() forget it."
        )


class FramesAdapter(Adapter):  # type: ignore[misc]
    """The values of a data key as one array, frames (n, height, width); only what is asked for is read.

    tiled's own reads all of an array that grew after it was catalogued.
    """

    structure_family = StructureFamily.array

    def __init__(
        self, structure: Any, frames: Any, metadata: Any = None, specs: Any = None
    ) -> None:
        super().__init__(structure, metadata=metadata, specs=specs)
        self._frames = frames

    def read(self, slice: Any = ...) -> NDArray[Any]:
        """Read a part of the array."""
        key = tuple(slice) if isinstance(slice, tuple) else slice
        return np.asarray(self._frames[key])

    def read_block(self, block: Any, slice: Any = ...) -> NDArray[Any]:
        """Read a block of the array, or a part of it."""
        key = block.slice_from_chunks(self._structure.chunks)
        whole = self.read(tuple(key))
        part = tuple(slice) if isinstance(slice, tuple) else slice
        return whole[part] if slice else whole


def _table(structure: Any, columns: Mapping[str, Any], metadata: Any, specs: Any) -> TableAdapter:
    """Return the events of a stream as a table, a row for each."""
    rows = pd.DataFrame({name: columns[name] for name in structure.columns})
    return TableAdapter([rows], structure, metadata=metadata, specs=specs)


class _Opener:
    """Opens a data source: frames and events with our readers, what another program stored with tiled's."""

    def __init__(self, runs: StoredRuns) -> None:
        self._runs = runs

    def from_catalog(self, data_source: Any, node: Any, /, **parameters: Any) -> Any:
        """Return the adapter of a data source in the catalogue."""
        what = parameters.pop(OURS)
        run = self._runs.run(what)
        if RECORDED in what:
            return _of_tiled(data_source, node, parameters, what[RECORDED], run)
        told = (node.metadata_, node.specs)
        if data_source.mimetype != EVENTS:
            frames = run.frames(what["stream"], what["key"])
            return FramesAdapter(data_source.structure, frames, *told)
        stream = run.index.streams[what["stream"]]
        if what.get("key") is None:
            return _table(data_source.structure, event_columns(stream), *told)
        return FramesAdapter(data_source.structure, event_array(stream, what["key"]), *told)


def _of_tiled(
    source: Any, node: Any, parameters: Mapping[str, Any], recorded: str, run: Run
) -> Any:
    """Return tiled's adapter of files that may have been moved with their run."""
    reader = DEFAULT_ADAPTERS_BY_MIMETYPE.get(source.mimetype)
    if reader is None:
        raise CatalogError(
            f"There is no reader for {source.mimetype}. Read the run from its record, with "
            "concertino.storage.open_run."
        )
    for asset in source.assets:  # of this one request
        asset.data_uri = current_uri(asset.data_uri, recorded, run.directory)
    return reader.from_catalog(source, node, **parameters)


def adapters(root: Path) -> dict[str, Any]:
    """Return what opens the data sources of a catalogue, by mimetype.

    Parameters
    ----------
    root
        The data directory.
    """
    opener = _Opener(StoredRuns(root))
    return dict.fromkeys((EVENTS, *resource_makers(), *DEFAULT_ADAPTERS_BY_MIMETYPE), opener)
