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
from tiled.mimetypes import DEFAULT_ADAPTERS_BY_MIMETYPE
from tiled.structures.core import StructureFamily

from concertino._errors import CatalogError, StorageError

from ._event_columns import event_array, event_columns
from ._find_runs import find_runs
from ._image_formats import resource_makers
from ._run import Run

EVENTS = "application/x-concertino-events"
"""Mimetype of values that stand in a record."""

OURS = "concertino"
"""Parameter of a data source: which run, stream and data key of ours it is."""

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
            size, run = self._open.pop(uid, (-1, None))
            if run is None or _size(run) != size:
                run = self._find(uid, str(what["directory"]))
            self._open[uid] = (_size(run), run)
            while len(self._open) > _OPEN_RUNS:
                self._open.popitem(last=False)  # Somebody may be reading: closed when let go of.
            return run

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
            f"the run {uid} was in {self._root / directory} when it was catalogued and is not in "
            f"{self._root} now; put its directory back, or have catalog.rebuild() forget it"
        )


def _size(run: Run) -> int:
    try:
        return run.record_bytes
    except OSError:
        return -1


class FramesAdapter(Adapter):  # type: ignore[misc]
    """The frames of a data key as one array (n, height, width)."""

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


class TableAdapter(Adapter):  # type: ignore[misc]
    """The events of a stream as a table, a row for each."""

    structure_family = StructureFamily.table

    def __init__(
        self, structure: Any, columns: Any, metadata: Any = None, specs: Any = None
    ) -> None:
        super().__init__(structure, metadata=metadata, specs=specs)
        self._columns = columns

    def read(self, fields: list[str] | None = None) -> pd.DataFrame:
        """Read all rows of some columns, by default of all."""
        names = self._structure.columns if fields is None else fields
        return pd.DataFrame({name: self._columns[name] for name in names})

    def read_partition(self, partition: int, fields: list[str] | None = None) -> pd.DataFrame:
        """Read the only partition."""
        return self.read(fields)

    def get(self, key: str) -> FramesAdapter | None:
        """Return a column as an array."""
        from tiled.adapters.array import ArrayAdapter

        if key not in self._structure.columns:
            return None
        column: FramesAdapter = ArrayAdapter.from_array(self.read([key])[key].values)
        return column

    def __getitem__(self, key: str) -> Any:
        return self.get(key)


class _Opener:
    """Opens a data source: ours from the run's record, another with tiled's adapter."""

    def __init__(self, runs: StoredRuns, mimetype: str) -> None:
        self._runs = runs
        self._others = DEFAULT_ADAPTERS_BY_MIMETYPE.get(mimetype)

    def from_catalog(self, data_source: Any, node: Any, /, **parameters: Any) -> Any:
        """Return the adapter of a data source in the catalogue."""
        if OURS not in parameters:
            if self._others is None:
                raise CatalogError(f"there is no reader for {data_source.mimetype}")
            return self._others.from_catalog(data_source, node, **parameters)
        what = parameters[OURS]
        run = self._runs.run(what)
        told = (node.metadata_, node.specs)
        if data_source.mimetype != EVENTS:
            frames = run.frames(what["stream"], what["key"])
            return FramesAdapter(data_source.structure, frames, *told)
        stream = run.index.streams[what["stream"]]
        if what.get("key") is None:
            return TableAdapter(data_source.structure, event_columns(stream), *told)
        return FramesAdapter(data_source.structure, event_array(stream, what["key"]), *told)


def adapters(root: Path) -> dict[str, Any]:
    """Return what opens the data sources of a catalogue, by mimetype.

    Parameters
    ----------
    root
        The data directory.
    """
    runs = StoredRuns(root)
    return {mimetype: _Opener(runs, mimetype) for mimetype in (EVENTS, *resource_makers())}
