"""Frames behind a stream_resource document: by its mimetype, wherever its run's directory is now."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from concertino._errors import StorageError

from ._hdf5_images import open_dataset, open_hdf5
from ._raw_frames import FrameReader
from ._tiff_images import open_tiffs
from ._uris import file_uri, is_file_uri, path_of_uri
from ._zarr_images import open_zarr

_OPEN_FILES = 4


class Resource(Protocol):
    """Frames of one stream_resource, numbered as its stream_datum documents number them."""

    @property
    def directory(self) -> Path:
        """Where the files are."""

    def path(self, index: int) -> Path:
        """Return the file that holds a frame."""

    def read(self, start: int, out: NDArray[Any], row: int = 0, height: int | None = None) -> None:
        """Read ``len(out)`` frames from `start` on into `out` (n, rows, width).

        Parameters
        ----------
        start
            Number of the first one.
        out
            Where they go.
        row
            Row of a frame that is the first one in `out`.
        height
            Rows of a whole frame in its file; as in `out` by default.

        Raises
        ------
        StorageError
            When a file is missing or damaged, or its frames are not like `out`.
        """

    def close(self) -> None:
        """Close the files."""


class TiffResource:
    """Frames in TIFF files, the same number in each but the last.

    Parameters
    ----------
    directory
        Where the files are.
    template
        Name of a file, with a field for its number.
    frames_per_file
        Images in a file.
    """

    def __init__(self, directory: Path, template: str, frames_per_file: int = 1) -> None:
        self.directory = directory
        self._template = template
        self._frames_per_file = frames_per_file
        self._readers: OrderedDict[int, FrameReader] = OrderedDict()

    def path(self, index: int) -> Path:
        """Return the file that holds a frame."""
        return self._file(index // self._frames_per_file)

    def read(self, start: int, out: NDArray[Any], row: int = 0, height: int | None = None) -> None:
        """Read rows of ``len(out)`` frames from `start` on into `out`; see `Resource`."""
        done = 0
        while done < len(out):
            number, page = divmod(start + done, self._frames_per_file)
            reader = self._reader(number)
            check_alike(reader, out, height, self._file(number))
            count = min(len(out) - done, self._frames_per_file - page)
            if page + count > reader.shape[0]:
                raise StorageError(
                    f"{self._file(number)} has {reader.shape[0]} images and should have "
                    f"{page + count}; it was cut short: restore it from a copy"
                )
            reader.read(page, (row, 0, *out.shape[1:]), out[done : done + count])
            done += count

    def close(self) -> None:
        """Close the files."""
        while self._readers:
            self._readers.popitem()[1].close()

    def _file(self, number: int) -> Path:
        return self.directory / self._template.format(number)

    def _reader(self, number: int) -> FrameReader:
        reader = self._readers.pop(number, None) or open_tiffs([self._file(number)])
        self._readers[number] = reader
        while len(self._readers) > _OPEN_FILES:
            self._readers.popitem(last=False)[1].close()
        return reader


class ArrayResource:
    """Frames in one array (n, height, width).

    Parameters
    ----------
    place
        The file or directory of the array.
    directory
        Where it is, and what is known of each frame.
    open_reader
        Opens it.
    """

    def __init__(
        self, place: Path, directory: Path, open_reader: Callable[[], FrameReader]
    ) -> None:
        self.directory = directory
        self._place = place
        self._open_reader = open_reader
        self._reader: FrameReader | None = None

    def path(self, index: int) -> Path:
        """Return the file or directory that holds a frame."""
        return self._place

    def read(self, start: int, out: NDArray[Any], row: int = 0, height: int | None = None) -> None:
        """Read rows of ``len(out)`` frames from `start` on into `out`; see `Resource`."""
        if self._reader is None:
            self._reader = self._open_reader()
        check_alike(self._reader, out, height, self._place)
        if start + len(out) > self._reader.shape[0]:
            raise StorageError(
                f"{self._place} has {self._reader.shape[0]} frames and should have "
                f"{start + len(out)}; it was cut short: restore it from a copy"
            )
        self._reader.read(start, (row, 0, *out.shape[1:]), out)

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def check_alike(reader: FrameReader, out: NDArray[Any], height: int | None, path: Path) -> None:
    """Refuse frames of another shape or dtype than the run's documents say."""
    shape = (height or out.shape[1], out.shape[2])
    if reader.shape[1:] != shape or reader.dtype != out.dtype.newbyteorder("="):
        raise StorageError(
            f"{path} has frames of shape {reader.shape[1:]} and dtype {reader.dtype}; the run's "
            f"documents say {shape} and {out.dtype.newbyteorder('=')}: it is another file"
        )


def tiff_sequence_resource(place: Path, parameters: Mapping[str, Any]) -> Resource:
    """Open a folder of TIFF files with one image each."""
    return TiffResource(place, parameters["template"])


def tiff_pages_resource(place: Path, parameters: Mapping[str, Any]) -> Resource:
    """Open a folder of TIFF files with several images each."""
    return TiffResource(place, parameters["template"], int(parameters["chunk_shape"][0]))


def hdf5_resource(place: Path, parameters: Mapping[str, Any]) -> Resource:
    """Open a data set of an HDF5 file."""
    dataset = parameters["dataset"]
    return ArrayResource(place, place.parent, lambda: open_dataset(open_hdf5(place), dataset))


def zarr_resource(place: Path, parameters: Mapping[str, Any]) -> Resource:
    """Open a Zarr array; what is known of its frames lies beside the group that holds it."""
    return ArrayResource(place, place.parent.parent, lambda: open_zarr(place))


def place_of(uri: str, recorded: str, directory: Path) -> Path:
    """Return where the file or directory of a URI is now.

    Parameters
    ----------
    uri
        As recorded.
    recorded
        The run's directory as recorded; may be empty.
    directory
        The run's directory now: what moved with it is found relative to it.

    Raises
    ------
    StorageError
        When it is not a file's URI.
    """
    original = path_of_uri(uri)
    if recorded:
        moved = Path(os.path.normpath(directory / os.path.relpath(original, recorded)))
        if os.path.exists(moved):
            return moved
    return original


def current_uri(uri: str, recorded: str, directory: Path) -> str:
    """Return the URI of the place where the file or directory of a URI is now: see `place_of`."""
    if not is_file_uri(uri):
        return uri
    return file_uri(place_of(uri, recorded, directory), directory=uri.endswith("/"))


def native(dtype: Any) -> np.dtype[Any]:
    """Return a dtype in this machine's byte order."""
    result: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    return result
