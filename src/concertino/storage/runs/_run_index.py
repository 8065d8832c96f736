"""What a run's documents say about its streams, gathered in one pass."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from concertino._errors import StorageError
from concertino.storage.formats._image_formats import open_resource
from concertino.storage.images._frame_files import FrameFiles
from concertino.storage.images._stored_frames import Segment, StoredFrames
from concertino.storage.record._document_shapes import check_document

MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What documents of an unexpected form make Python raise."""

_MOST_PIXELS = 2**31  # along an axis


@dataclass
class StreamIndex:
    """The documents of one stream."""

    name: str
    descriptors: list[Mapping[str, Any]] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    datums: list[Mapping[str, Any]] = field(default_factory=list)  # stream_datum

    @property
    def data_keys(self) -> dict[str, Mapping[str, Any]]:
        """The data keys of all descriptors."""
        return {key: what for doc in self.descriptors for key, what in doc["data_keys"].items()}


@dataclass
class RunIndex:
    """All documents of a run, sorted by what they belong to."""

    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None = None
    streams: dict[str, StreamIndex] = field(default_factory=dict)
    resources: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # stream_resource
    owners: dict[str, StreamIndex] = field(default_factory=dict)  # by uid of descriptor, resource
    damage: str = ""


def index_documents(documents: Iterable[tuple[str, Mapping[str, Any]]], origin: Path) -> RunIndex:
    """Sort the documents of a run.

    Raises
    ------
    StorageError
        When they do not begin with a start document, or one is not as it must be.
    """
    index: RunIndex | None = None
    for number, (name, document) in enumerate(documents, 1):
        if index is None:
            if name != "start":
                raise StorageError(
                    f"{origin} begins with a {name} document instead of a start document, and is "
                    "not the record of a whole run; restore it from a copy."
                )
            check_document(name, document, number, origin)
            index = RunIndex(document)
            continue
        check_document(name, document, number, origin)
        try:
            _put(index, name, document)
        except MALFORMED as error:
            missing = f"{error} is unknown" if isinstance(error, KeyError) else str(error)
            raise StorageError(
                f"The {name} document in line {number} of {origin} cannot be read: {missing}; the "
                "file was damaged or edited: restore it from a copy."
            ) from error
    if index is None:
        raise StorageError(
            f"{origin} has no document: the process that recorded this run died when it started. "
            "There is nothing to read; remove its directory."
        )
    return index


def _put(index: RunIndex, name: str, document: Mapping[str, Any]) -> None:
    owners = index.owners
    if name == "descriptor":
        stream = document.get("name", "primary")
        owner = index.streams.setdefault(stream, StreamIndex(stream))
        owner.descriptors.append(document)
        owners[document["uid"]] = owner
    elif name == "event":
        owners[document["descriptor"]].events.append(document)
    elif name == "event_page":
        owners[document["descriptor"]].events.extend(_events_of_page(document))
    elif name == "stream_resource":
        index.resources[document["uid"]] = document
    elif name == "stream_datum":
        index.resources[document["stream_resource"]]
        owner = owners[document["stream_resource"]] = owners[document["descriptor"]]
        owner.datums.append(document)
    elif name == "stop":
        index.stop = document


def stop_of_unfinished(run: str, reason: str, exit_status: str = "abort") -> dict[str, Any]:
    """Return a stop document for a run that nobody stopped."""
    return {
        "uid": str(uuid4()),
        "time": time.time(),
        "run_start": run,
        "exit_status": exit_status,
        "reason": reason,
        "num_events": {},
    }


def _events_of_page(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        {
            "descriptor": page["descriptor"],
            "uid": page["uid"][i],
            "time": page["time"][i],
            "seq_num": page["seq_num"][i],
            "data": {key: values[i] for key, values in page["data"].items()},
            "timestamps": {key: values[i] for key, values in page["timestamps"].items()},
        }
        for i in range(len(page["uid"]))
    ]


def is_image(data_key: Mapping[str, Any]) -> bool:
    """Tell whether a data key describes images that are stored beside the record."""
    shape, dtype = data_key.get("shape"), data_key.get("dtype_numpy")
    if data_key.get("external") != "STREAM:" or not isinstance(shape, list | tuple):
        return False
    try:
        known = isinstance(dtype, str) and np.dtype(dtype).kind in "uif"
    except TypeError:
        return False
    sizes = all(type(size) is int and 0 < size < _MOST_PIXELS for size in shape)
    return known and len(shape) in (2, 3) and sizes


def frames_of(index: RunIndex, stream: str, key: str, directory: Path) -> StoredFrames:
    """Return the frames of one data key as far as documents describe them.

    A resource that describes frames which an earlier one has described is an export: left out.

    Parameters
    ----------
    index
        The run.
    stream, key
        Names of the stream and of its data key.
    directory
        The run's directory now.

    Raises
    ------
    StorageError
        When the data key does not describe images, or its documents are not as they must be.
    """
    try:
        return _described_frames(index, stream, key, directory)
    except MALFORMED as error:
        raise StorageError(
            f"The frames of {key!r} in {stream} of {directory} cannot be found: its documents are "
            f"not as they must be ({type(error).__name__}: {error}). If they were damaged, restore "
            "them from a copy; frames of a program that has no reader here cannot be read."
        ) from error


def _described_frames(index: RunIndex, stream: str, key: str, directory: Path) -> StoredFrames:
    data_key = index.streams[stream].data_keys[key]
    name = f"{stream} of {index.start.get('scan_name') or index.start['uid']}"
    shape, dtype = data_key["shape"], np.dtype(data_key["dtype_numpy"])
    per_index = shape[0] if len(shape) == 3 else 1
    resources: dict[str, FrameFiles] = {}
    segments: list[Segment] = []
    described = 0
    for datum in index.streams[stream].datums:
        document = index.resources[datum["stream_resource"]]
        first, last = datum["indices"]["start"], datum["indices"]["stop"]
        if document["data_key"] != key or last <= first:
            continue
        uid = document["uid"]
        if uid not in resources:
            if datum["seq_nums"]["stop"] - 1 <= described and datum["seq_nums"]["stop"] > 1:
                continue
            recorded = str(index.start.get("run_directory", ""))
            resources[uid] = open_resource(document, recorded, directory)
        described = max(described, datum["seq_nums"]["stop"] - 1)
        segment = Segment(resources[uid], first * per_index, (last - first) * per_index)
        previous = segments[-1] if segments else None
        if (
            previous
            and previous.files is segment.files
            and previous.start + previous.count == segment.start
        ):
            joined = previous.count + segment.count
            segments[-1] = Segment(previous.files, previous.start, joined)
        else:
            segments.append(segment)
    return StoredFrames(name, segments, (shape[-2], shape[-1]), dtype.newbyteorder("="))
