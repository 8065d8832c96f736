"""A run as rows of tiled's database, written in one transaction. Imported only with tiled."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
import pyarrow
from bluesky_tiled_plugins.writing.consolidators import consolidator_factory
from sqlalchemy import Connection, StaticPool, create_engine, delete, event, func, select
from sqlalchemy.dialects.sqlite import insert
from tiled.catalog import orm
from tiled.catalog.utils import compute_structure_id
from tiled.structures.array import ArrayStructure, BuiltinDtype
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import Management
from tiled.structures.table import TableStructure

from concertino.storage.disk._uris import file_uri
from concertino.storage.record._document_file import DOCUMENTS
from concertino.storage.runs._run import Run
from concertino.storage.runs._run_index import StreamIndex, stop_of_unfinished

from ._catalog_files import CatalogFiles, Known, known_runs
from ._event_columns import INTEGERS, event_array, event_columns, internal_keys
from ._tiled_adapters import EVENTS, OURS, RECORDED

_BLOCK_BYTES = 16 * 2**20  # what one request reads
_ROOT = 0


class _Source(NamedTuple):
    mimetype: str
    structure: Any
    parameters: dict[str, Any]
    assets: tuple[tuple[str, bool, str, int | None], ...]  # uri, is_directory, parameter, number


class _Entry(NamedTuple):
    path: tuple[str, ...]
    family: StructureFamily
    metadata: dict[str, Any]
    specs: list[dict[str, str | None]]
    source: _Source | None = None


class RunRows:
    """Writes runs into a catalogue whose database is there, each in one transaction.

    Not for two threads at once.

    Parameters
    ----------
    files
        The catalogue.
    """

    def __init__(self, files: CatalogFiles) -> None:
        self.identity = files.identity
        # One connection: closing the last one has SQLite copy its log and wait for the disk.
        self._engine = create_engine(
            "sqlite://",
            creator=files.connect,
            poolclass=StaticPool,
            json_serializer=lambda value: orjson.dumps(value).decode(),
        )

        @event.listens_for(self._engine, "connect")
        def keep_whole(connection: Any, record: Any) -> None:
            connection.execute("pragma foreign_keys = on")
            # An index: after a power failure what it lacks is taken in again.
            connection.execute("pragma synchronous = normal")

        @event.listens_for(self._engine, "begin")
        def begin_to_write(connection: Any) -> None:
            connection.exec_driver_sql("begin immediate")

    def write(self, run: Run, known: Known, *, instead_of: Known | None) -> bool:
        """Write a run, unless another program has written it meanwhile.

        Parameters
        ----------
        run
            The run.
        known
            Where it is, and how large its record was before it was read.
        instead_of
            What the catalogue knows of it, and is to be replaced; None when it has not got it.

        Returns
        -------
        bool
            Whether it was written; not when the catalogue knows something else by now.
        """
        entries = _entries(run, known)
        with self._engine.begin() as database:
            there = known_runs(
                lambda question, values: database.exec_driver_sql(question, values), run.uid
            )
            if there.get(run.uid) != instead_of:
                return False
            if instead_of is not None:
                _remove(database, run.uid)
            _write(database, entries)
        return True

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()


def _remove(database: Connection, uid: str) -> None:
    nodes, closure = orm.Node.__table__, orm.NodesClosure.__table__
    found = select(nodes.c.id).where(nodes.c.parent == _ROOT, nodes.c.key == uid).scalar_subquery()
    below = select(closure.c.descendant).where(closure.c.ancestor == found)
    database.execute(delete(nodes).where(nodes.c.id.in_(below)))


def _write(database: Connection, entries: list[_Entry]) -> None:
    nodes, sources = orm.Node.__table__, orm.DataSource.__table__
    node = database.scalar(select(func.max(nodes.c.id))) or _ROOT
    source = database.scalar(select(func.max(sources.c.id))) or 0
    ids: dict[tuple[str, ...], int] = {(): _ROOT}
    rows: list[dict[str, Any]] = []
    described: list[dict[str, Any]] = []
    used: list[dict[str, Any]] = []
    for entry in entries:
        node += 1
        ids[entry.path] = node
        rows.append({
            "id": node, "parent": ids[entry.path[:-1]], "key": entry.path[-1],
            "structure_family": entry.family, "metadata": entry.metadata, "specs": entry.specs,
        })  # fmt: skip
        if entry.source is None:
            continue
        source += 1
        described.append({
            "id": source, "node_id": node, "structure_id": _structure(database, entry.source),
            "mimetype": entry.source.mimetype, "parameters": entry.source.parameters,
            "properties": {}, "management": Management.external, "structure_family": entry.family,
        })  # fmt: skip
        used += [
            {"data_source_id": source, "asset_id": _asset(database, uri, is_directory),
             "parameter": parameter, "num": number}
            for uri, is_directory, parameter, number in entry.source.assets
        ]  # fmt: skip
    database.execute(insert(nodes), rows)
    if described:
        database.execute(insert(sources), described)
    if used:
        database.execute(insert(orm.DataSourceAssetAssociation.__table__), used)


def _structure(database: Connection, source: _Source) -> str:
    structure = dataclasses.asdict(source.structure)
    number: str = compute_structure_id(structure)
    row = {"id": number, "structure": structure}
    database.execute(insert(orm.Structure.__table__).values(row).on_conflict_do_nothing())
    return number


def _asset(database: Connection, uri: str, is_directory: bool) -> int:
    assets = orm.Asset.__table__
    row = {"data_uri": uri, "is_directory": is_directory}
    database.execute(insert(assets).values(row).on_conflict_do_nothing())
    return int(database.scalar(select(assets.c.id).where(assets.c.data_uri == uri)) or 0)


def _entries(run: Run, known: Known) -> list[_Entry]:
    stop = run.stop or stop_of_unfinished(run.uid, run.reason)
    metadata = {
        "start": _as_json(run.start),
        "stop": _as_json(stop),
        "concertino": {"directory": known.place, "record_bytes": known.record_bytes},
    }
    notes: list[str] = []
    below: list[_Entry] = []
    for name, stream in run.index.streams.items():
        below += _stream_entries(run, known.place, name, stream, notes)
    if notes:
        metadata["notes"] = notes
    specs: list[dict[str, str | None]] = [{"name": "BlueskyRun", "version": "3.0"}]
    return [_Entry((run.uid,), StructureFamily.container, metadata, specs), *below]


def _stream_entries(
    run: Run, place: str, name: str, stream: StreamIndex, notes: list[str]
) -> list[_Entry]:
    path = (run.uid, _key(name))
    ours = {"run": run.uid, "directory": place, "stream": name}
    data_keys = stream.data_keys
    record = ((file_uri(run.directory / DOCUMENTS), False, "data_uri", None),)
    specs: list[dict[str, str | None]] = [
        {"name": "BlueskyEventStream", "version": "3.0"},
        {"name": "composite", "version": None},
    ]
    entries = [_Entry(path, StructureFamily.container, _stream_metadata(stream), specs)]
    if stream.events:
        table = TableStructure.from_arrow_table(_arrow(event_columns(stream)))
        about = {key: _as_json(what) for key, what in data_keys.items() if key in table.columns}
        source = _Source(EVENTS, table, {OURS: ours}, record)
        entries.append(_Entry((*path, "internal"), StructureFamily.table, about, [], source))
    for key in internal_keys(stream):
        array = event_array(stream, key)
        if array is not None:
            structure = _array_structure(
                array.shape, array.dtype, ("time", *_dims(array.shape[1:]))
            )
            source = _Source(EVENTS, structure, {OURS: {**ours, "key": key}}, record)
            about = _as_json(data_keys[key])
            entries.append(_Entry((*path, _key(key)), StructureFamily.array, about, [], source))
    for key, what in data_keys.items():
        if "external" in what:
            try:
                found = _external_source(run, ours, name, key)
            except Exception as error:  # of another program, which we need not understand
                notes.append(f"{key} of {name} is not readable here: {error}")
            else:
                entries.append(_Entry((*path, _key(key)), StructureFamily.array, {}, [], found))
    return entries


def _external_source(run: Run, ours: dict[str, Any], stream: str, key: str) -> _Source:
    index = run.index
    datums = [
        datum
        for datum in index.streams[stream].datums
        if index.resources[datum["stream_resource"]]["data_key"] == key
    ]
    if not datums:
        raise LookupError("nothing says where it is stored")
    first = index.resources[datums[0]["stream_resource"]]
    if key in run[stream].frame_keys:
        frames = run.frames(stream, key)
        structure = _array_structure(frames.shape, frames.dtype, None)
        parameters = {**first["parameters"], OURS: {**ours, "key": key}}
        uri = run.current_uri(first)
        asset = (uri, uri.endswith("/"), "data_uri", None)
        return _Source(first["mimetype"], structure, _as_json(parameters), (asset,))
    document = {**first, "uri": run.current_uri(first), "parameters": dict(first["parameters"])}
    reader = consolidator_factory(document, index.streams[stream].descriptors[0])
    for datum in datums:
        reader.consume_stream_datum(datum)
    made = reader.get_data_source()
    assets = tuple((a.data_uri, a.is_directory, a.parameter, a.num) for a in made.assets)
    parameters = {**made.parameters, OURS: {**ours, RECORDED: os.fspath(run.directory)}}
    return _Source(made.mimetype, made.structure, _as_json(parameters), assets)


def _stream_metadata(stream: StreamIndex) -> dict[str, Any]:
    first, *later = stream.descriptors
    left_out = ("name", "object_keys", "run_start")
    metadata = _as_json({key: value for key, value in first.items() if key not in left_out})
    keys = {key: what for document in later for key, what in document["data_keys"].items()}
    # In a description JSON's schema wants numbers: a limit that is infinite is none.
    metadata["data_keys"] = _as_json({**keys, **first["data_keys"]}, lambda value: None)
    updates = [
        {key: document[key] for key in ("uid", "time", "configuration") if key in document}
        for document in later
    ]
    if updates:
        metadata["_config_updates"] = _as_json(updates)
    return dict(metadata)


def _arrow(columns: Mapping[str, list[Any]]) -> pyarrow.Table:
    arrays = {}
    for name, values in columns.items():
        if name.startswith("_"):
            continue  # an array of its own, or nothing that tiled can hold
        array = pyarrow.array(values)
        arrays[name] = array.cast(pyarrow.string()) if pyarrow.types.is_null(array.type) else array
    return pyarrow.table(arrays)


def _array_structure(shape: tuple[int, ...], dtype: Any, dims: Any) -> ArrayStructure:
    row_bytes = max(1, math.prod(shape[1:]) * dtype.itemsize)
    at_once = max(1, _BLOCK_BYTES // row_bytes)
    rows = tuple(min(at_once, shape[0] - start) for start in range(0, shape[0], at_once)) or (0,)
    chunks = (rows, *((size,) for size in shape[1:]))
    return ArrayStructure(BuiltinDtype.from_numpy_dtype(dtype), chunks, shape, dims)


def _dims(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names for axes: the same for the same size, as they are of one set of data."""
    return tuple(f"axis_{number}_of_{size}" for number, size in enumerate(shape, 1))


def _key(name: str) -> str:
    return name.replace("/", "_") or "_"


def _as_json(value: Any, told: Callable[[float], str | None] = str) -> Any:
    """Return a value that SQLite and JSON keep: integers of more than 64 bits as text, infinities and NaN as `told`."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(item, told) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item, told) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in INTEGERS else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return told(value)
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # halves of surrogate pairs
    return value
