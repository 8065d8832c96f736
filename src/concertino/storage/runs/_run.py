"""A stored run: its documents and its frames."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import StorageError
from concertino.documents import is_ledger
from concertino.guard import report_of_run
from concertino.storage.disk._uris import current_uri
from concertino.storage.images._stored_frames import StoredFrames
from concertino.storage.record._document_file import DOCUMENTS, DocumentFile
from concertino.storage.record._document_shapes import check_document
from concertino.storage.record._record import is_recorded

from ._run_index import (
    RunIndex,
    StreamIndex,
    frames_of,
    index_documents,
    is_image,
)


class StoredStream:
    """One stream of a stored run.

    Made by `Run`.
    """

    def __init__(self, run: "Run", index: StreamIndex) -> None:
        self._run = run
        self._index = index
        self._frames: dict[str, StoredFrames] = {}

    @property
    def name(self) -> str:
        """Name of the stream."""
        return self._index.name

    @property
    def descriptors(self) -> tuple[Mapping[str, Any], ...]:
        """The stream's descriptor documents."""
        return tuple(self._index.descriptors)

    @property
    def events(self) -> tuple[Mapping[str, Any], ...]:
        """The stream's event documents."""
        return tuple(self._index.events)

    @property
    def configuration(self) -> dict[str, Any]:
        """Configuration of the devices, as first described: values by name."""
        first = self._index.descriptors[0].get("configuration") or {}
        return {key: value for device in first.values() for key, value in device["data"].items()}

    @property
    def frame_keys(self) -> tuple[str, ...]:
        """Names of the data keys that are frames: images, whoever stored them."""
        return tuple(key for key, what in self._index.data_keys.items() if is_image(what))

    @property
    def foreign_keys(self) -> tuple[str, ...]:
        """Names of the data keys that are stored beside the record and are no images."""
        return tuple(
            key
            for key, what in self._index.data_keys.items()
            if "external" in what and not is_image(what)
        )

    def frames(self, key: str | None = None) -> StoredFrames:
        """Return the frames.

        Parameters
        ----------
        key
            Name of the data key, which is the camera; needed when there are several.

        Raises
        ------
        StorageError
            When the stream has no frames of that name, or they are stored in a way that has no reader.
        """
        keys = self.frame_keys
        if key is None and len(keys) == 1:
            key = keys[0]
        if key not in keys:
            known = f"it has frames of {', '.join(keys)}" if keys else "it has no frames"
            asked = "frames were asked for" if key is None else f"frames of {key!r} were asked for"
            raise StorageError(f"Stream {self.name!r} of {self._run.name}: {asked}; {known}.")
        if key not in self._frames:
            self._frames[key] = frames_of(self._run.index, self.name, key, self._run.directory)
        return self._frames[key]

    def read(self, key: str) -> NDArray[Any]:
        """Return all values of a data key: of the events, (n, ...), or frames (n, height, width).

        Raises
        ------
        StorageError
            When the stream has no such data key.
        """
        if key in self.frame_keys:
            return self.frames(key).read()
        if key not in self._index.data_keys:
            raise StorageError(
                f"Stream {self.name!r} of {self._run.name} has no data key {key!r}; it has "
                f"{', '.join(self._index.data_keys)}."
            )
        try:
            return np.array([event["data"][key] for event in self.events if key in event["data"]])
        except (ValueError, OverflowError) as error:
            raise StorageError(
                f"The values of {key!r} in {self.name} of {self._run.name} make no array: {error}; "
                "they are of different lengths or damaged: see .events."
            ) from error

    def __repr__(self) -> str:
        counts = [f"{len(self.frames(key))} frames of {key}" for key in self.frame_keys]
        if self.events:
            counts.append(f"{len(self.events)} events")
        return f"<StoredStream {self.name}: {', '.join(counts) or 'empty'}>"


class Run:
    """A stored run, whole or not. Made by `open_run`.

    Parameters
    ----------
    directory
        The run's directory.

    Raises
    ------
    StorageError
        When there is no record in it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = DocumentFile(directory / DOCUMENTS)
        self.start: Mapping[str, Any] = self._first()

    @cached_property
    def index(self) -> RunIndex:
        """The documents, sorted."""
        index = index_documents(self._file, self._file.path)
        index.damage = self._file.damage
        return index

    @property
    def uid(self) -> str:
        """Uid of the run."""
        return str(self.start["uid"])

    @property
    def scan_id(self) -> int | None:
        """Number of the scan, when it has one."""
        number = self.start.get("scan_id")
        return number if type(number) is int else None

    @property
    def is_processing(self) -> bool:
        """Whether it was computed from another run, and is no experiment."""
        return "derived_from" in self.start

    @property
    def name(self) -> str:
        """Name of the scan, or the directory's."""
        return str(self.start.get("scan_name") or self.directory.name)

    @property
    def metadata(self) -> dict[str, Any]:
        """The start document without its uid and time."""
        return {key: value for key, value in self.start.items() if key not in ("uid", "time")}

    @property
    def stop(self) -> Mapping[str, Any] | None:
        """The stop document; None when the run was never stopped."""
        return self.index.stop

    @property
    def exit_status(self) -> str:
        """How it ended: ``success``, ``fail``, ``abort``.

        Without a stop document ``running``, or ``incomplete`` when nobody records it any more; ``damaged``
        when its record cannot be read.
        """
        if self._unreadable:
            return "damaged"
        if self.stop:
            return str(self.stop["exit_status"])
        return "running" if self.is_recording else "incomplete"

    @property
    def is_recording(self) -> bool:
        """Whether a living process, on this machine, is recording this run."""
        return is_recorded(self._file.path)

    @property
    def reason(self) -> str:
        """Why it ended otherwise than with success, or cannot be read."""
        if self._unreadable:
            return self._unreadable
        if self.stop:
            return str(self.stop.get("reason", ""))
        if self.is_recording:
            return "it is being recorded"
        died = self.damage or "there is no stop document: the process that recorded this run died"
        guarded = report_of_run(self.directory)
        return died if guarded is None else f"{died}; its guard: {guarded.outcome}"

    @property
    def damage(self) -> str:
        """What is wrong with the record; empty when nothing is."""
        return self._unreadable or self.index.damage

    @cached_property
    def _unreadable(self) -> str:
        """Why the documents cannot be read; empty when they can."""
        try:
            self.index  # noqa: B018  it is read here
        except StorageError as error:
            return str(error)
        return ""

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams, in the order in which they were described."""
        return tuple(self.index.streams)

    @property
    def derived(self) -> tuple["Run", ...]:
        """The runs beside this one that were computed from it."""
        return tuple(
            run for run in runs_beside(self.directory) if run.start.get("derived_from") == self.uid
        )

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (name, document) of all documents, as they were emitted."""
        yield from DocumentFile(self._file.path)

    def frames(self, stream: str, key: str | None = None) -> StoredFrames:
        """Return the frames of a stream: see `StoredStream.frames`."""
        return self[stream].frames(key)

    def ledger(self) -> list[dict[str, Any]]:
        """Return the account of the frame streams: a dictionary for each party of each stream.

        With keys ``stream``, ``party``, ``frames``, ``acknowledged``, ``dropped``, ``digest``, ``state``,
        ``reason`` and more (``recorded`` not in runs of old); empty when the run has none.
        """
        streams = [stream for stream in self.streams if is_ledger(stream)]
        return [
            {str(key).rpartition("-")[2]: value for key, value in event["data"].items()}
            for stream in streams
            for event in self[stream].events
        ]

    def current_uri(self, resource: Mapping[str, Any]) -> str:
        """Return where the file or directory of a stream_resource document is now, as a URI."""
        recorded = str(self.start.get("run_directory", ""))
        return current_uri(str(resource.get("uri", "")), recorded, self.directory)

    def __getitem__(self, stream: str) -> StoredStream:
        if stream not in self._streams:
            known = ", ".join(self.streams) or "none"
            raise StorageError(f"{self.name} has no stream {stream!r}; its streams are: {known}")
        return self._streams[stream]

    def __contains__(self, stream: object) -> bool:
        return stream in self._streams

    @cached_property
    def _streams(self) -> dict[str, StoredStream]:
        return {name: StoredStream(self, index) for name, index in self.index.streams.items()}

    def _first(self) -> Mapping[str, Any]:
        for name, document in self._file:
            if name == "start":
                check_document(name, document, 1, self._file.path)
                return document
            break
        index_documents(self._file, self._file.path)  # says what is wrong
        raise StorageError(
            f"{self._file.path} has no start document: the process that recorded this run died when "
            "it started. There is nothing to read; remove its directory."
        )

    def close(self) -> None:
        """Close the frames' files."""
        if self._unreadable:
            return
        for stream in self._streams.values():
            for frames in stream._frames.values():
                frames.close()

    def __repr__(self) -> str:
        when = datetime.fromtimestamp(self.start["time"]).strftime("%Y-%m-%d %H:%M:%S")
        streams = "damaged" if self._unreadable else ", ".join(self.streams) or "no streams"
        return (
            f"<Run {self.name} {self.uid[:8]} {self.start.get('plan_name', '')} {when} "
            f"{self.exit_status}: {streams}>"
        )


def runs_beside(directory: Path) -> Iterator[Run]:
    """Yield the runs in a run's directory's parent, itself among them."""
    for path in sorted(directory.parent.glob(f"*/{DOCUMENTS}")):
        try:
            yield Run(path.parent)
        except StorageError:  # a broken neighbour is not this run's fault
            continue


class DamagedRun(Run):
    """A run whose record cannot be read from its beginning on; listings show it.

    It has no uid and no documents; its time is when the record was last written.

    Parameters
    ----------
    directory
        The run's directory.
    why
        What is wrong with the record.
    """

    def __init__(self, directory: Path, why: str) -> None:
        self.directory = directory
        self._file = DocumentFile(directory / DOCUMENTS)
        self._why = why
        try:
            written = self._file.path.stat().st_mtime
        except OSError:
            written = 0.0
        self.start = {"uid": "", "time": written}

    @cached_property
    def index(self) -> RunIndex:
        """Nothing.

        Raises
        ------
        StorageError
            Always: what is wrong with the record.
        """
        raise StorageError(self._why)
