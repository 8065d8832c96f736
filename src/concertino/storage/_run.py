"""A stored run: its documents and its frames."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import StorageError
from concertino.guard import report_of_run

from ._document_file import DOCUMENTS, DocumentFile
from ._record import is_recorded
from ._run_index import RunIndex, StreamIndex, frames_of, index_documents
from ._stored_frames import StoredFrames

_LEDGER = "ledger"


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
        first = self._index.descriptors[0].get("configuration", {})
        return {key: value for device in first.values() for key, value in device["data"].items()}

    @property
    def frame_keys(self) -> tuple[str, ...]:
        """Names of the data keys that are frames."""
        keys = self._index.data_keys.items()
        return tuple(key for key, what in keys if what.get("external") == "STREAM:")

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
            raise StorageError(f"stream {self.name!r} of {self._run.name}: {asked}; {known}")
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
                f"stream {self.name!r} of {self._run.name} has no data key {key!r}; "
                f"it has {', '.join(self._index.data_keys)}"
            )
        return np.array([event["data"][key] for event in self.events if key in event["data"]])

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
        self.start: Mapping[str, Any] = _first(self._file)

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
        return self.start.get("scan_id")

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

        Without a stop document ``running``, or ``incomplete`` when nobody records it any more.
        """
        if self.stop:
            return str(self.stop["exit_status"])
        return "running" if self.is_recording else "incomplete"

    @property
    def is_recording(self) -> bool:
        """Whether a living process, on this machine, is recording this run."""
        return is_recorded(self._file.path)

    @property
    def reason(self) -> str:
        """Why it ended otherwise than with success."""
        if self.stop:
            return str(self.stop.get("reason", ""))
        if self.is_recording:
            return "it is being recorded"
        died = self.damage or "there is no stop document: the process that recorded this run died"
        guarded = report_of_run(self.directory)
        return died if guarded is None else f"{died}; its guard: {guarded.outcome}"

    @property
    def damage(self) -> str:
        """What is wrong with the record's end; empty when nothing is."""
        return self.index.damage

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams, in the order in which they were described."""
        return tuple(self.index.streams)

    @property
    def derived(self) -> tuple["Run", ...]:
        """The runs beside this one that were computed from it."""
        found = []
        for path in sorted(self.directory.parent.glob(f"*/{DOCUMENTS}")):
            try:
                run = Run(path.parent)
            except StorageError:  # a broken neighbour is not this run's fault
                continue
            if run.start.get("derived_from") == self.uid:
                found.append(run)
        return tuple(found)

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
        # One stream for each camera: the first one's, and those with the names of the others.
        streams = [s for s in self.streams if s == _LEDGER or s.startswith(f"{_LEDGER}-")]
        return [
            {key.rpartition("-")[2]: value for key, value in event["data"].items()}
            for stream in streams
            for event in self[stream].events
        ]

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

    def close(self) -> None:
        """Close the frames' files."""
        for stream in self._streams.values():
            for frames in stream._frames.values():
                frames.close()

    def __repr__(self) -> str:
        when = datetime.fromtimestamp(self.start["time"]).strftime("%Y-%m-%d %H:%M:%S")
        streams = ", ".join(self.streams) or "no streams"
        return (
            f"<Run {self.name} {self.uid[:8]} {self.start.get('plan_name', '')} {when} "
            f"{self.exit_status}: {streams}>"
        )


def _first(file: DocumentFile) -> Mapping[str, Any]:
    for name, document in file:
        if name == "start":
            return document
        break
    index_documents(file, file.path)  # says what is wrong
    raise StorageError(f"{file.path} has no start document")
