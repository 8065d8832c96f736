"""What an image format offers to a writer."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import DTypeLike, NDArray

from concertino._errors import ParameterError, StorageError
from concertino.storage.disk._disk import sync_file_system, sync_path
from concertino.storage.disk._space import storage_error
from concertino.storage.images._frame_index import FRAME_INDEX, FrameIndexFile

from ._image_axes import ImageAxes

_MANY_FILES = 16


class ClaimParameters(TypedDict):
    """Where and how frames can be read back: the fields of a stream_resource document."""

    uri: str
    mimetype: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class ImageStream:
    """What a sink is made for.

    Attributes
    ----------
    shape
        Of a frame: (height, width) in pixels.
    dtype
        Of its pixels.
    metadata
        JSON-safe: run, stream, camera, …
    axes
        What the axes mean.
    bytes_per_file
        Size of a file with several images; 0: the format's way.
    num_frames
        How many are announced, if it is known.
    """

    shape: tuple[int, int]
    dtype: DTypeLike
    metadata: Mapping[str, Any] = field(default_factory=dict)
    axes: ImageAxes = field(default_factory=ImageAxes)
    bytes_per_file: int = 0
    num_frames: int | None = None


def stored_dtype(stream: ImageStream, format: str) -> np.dtype[Any]:
    """Return the dtype of a stream's pixels as they are stored: little-endian.

    Raises
    ------
    ParameterError
        When it is no integer or real number of 1, 2, 4 or 8 bytes.
    """
    stored = np.dtype(stream.dtype).newbyteorder("<")
    if stored.kind not in "uif" or stored.itemsize > 8:
        raise ParameterError(
            f"Images of dtype {np.dtype(stream.dtype)} cannot be stored as {format}; give integers "
            "or floats of at most 64 bits."
        )
    return stored


class ImageSink(ABC):
    """Take the frames of one stream in order and store them in one directory.

    Not for several threads at once. Files are never overwritten.

    Attributes
    ----------
    directory
        Where the files are.
    shape, dtype
        Of a frame.
    stored
        How many frames can be read back, if nothing but this process dies.
    """

    def __init__(self, directory: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.directory = directory
        self.shape = shape
        self.dtype = dtype
        self.stored = 0
        self._unsynced: list[str] = []  # names of files
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise StorageError(
                    f"Cannot store frames in {directory}: it has files already, and files are never "
                    "overwritten; choose another directory."
                )
            self._folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._index = FrameIndexFile(self._folder)
        except StorageError:
            raise
        except OSError as error:
            raise storage_error(error, f"store frames in {directory}") from error

    def write(
        self,
        frames: NDArray[Any],
        start: int,
        checksums: NDArray[np.uint64] | None = None,
        timestamps: NDArray[np.int64] | None = None,
        numbers: NDArray[np.int64] | None = None,
    ) -> None:
        """Hand consecutive frames to the operating system.

        When it returns they survive the death of any process, though not a power failure: see `sync`.

        Parameters
        ----------
        frames
            (n, height, width), of the sink's dtype (in any byte order).
        start
            Index of the first one: always `stored`.
        checksums
            (n,) xxh3_64 of the bytes of each, so that a reader can verify them. Given always or
            never; without it the next two are not stored either.
        timestamps
            (n,) time of each exposure, in ns since the epoch.
        numbers
            (n,) the camera's own frame numbers.

        Raises
        ------
        StorageError
            When a frame has another shape, dtype or index than the next one must have, or it cannot be
            written. `stored` then says how many were.
        """
        if start != self.stored:
            raise StorageError(
                f"Frame {start} came to {self.directory} where frame {self.stored} must be next; a "
                "sink takes each frame once and in order."
            )
        if frames.shape[1:] != self.shape or frames.dtype.newbyteorder("<") != self.dtype:
            raise StorageError(
                f"Frames of shape {frames.shape[1:]} and dtype {frames.dtype} came to "
                f"{self.directory}, which stores {self.shape} and {self.dtype}; start a new stream "
                "for them."
            )
        stored = np.ascontiguousarray(frames, dtype=self.dtype)
        if checksums is not None:
            try:
                self._index.write(start, checksums, timestamps, numbers)
            except OSError as error:
                path = self.directory / FRAME_INDEX
                raise storage_error(error, f"write frames from {start} on to {path}") from error
        self._write(stored)

    def sync(self) -> None:
        """Return when all frames written are on disk.

        Raises
        ------
        StorageError
            When the disk reports an error.
        """
        try:
            self._sync_files()
            self._index.sync()
            os.fsync(self._folder)
            sync_path(self.directory.parent)
        except OSError as error:
            raise storage_error(error, f"sync the frames in {self.directory} to disk") from error
        self._unsynced = []

    def close(self) -> None:
        """Close the files. A second call does nothing."""
        if self._folder >= 0:
            self._index.close()
            os.close(self._folder)
            self._folder = -1

    @abstractmethod
    def claim_parameters(self) -> ClaimParameters:
        """Return what a claim on the stream says: uri, mimetype and parameters."""

    @abstractmethod
    def _write(self, frames: NDArray[Any]) -> None:
        """Write frames that are known to be the next ones, and count them in `stored`."""

    def _sync_files(self) -> None:
        if len(self._unsynced) > _MANY_FILES and sync_file_system(self._folder):
            return
        for name in self._unsynced:
            sync_path(name, self._folder)
