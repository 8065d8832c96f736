"""Files of frames, opened when they are read: behind a stream_resource document, or a user's own."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ._hdf5_images import open_dataset, open_hdf5
from ._jpeg_images import open_jpeg
from ._raw_frames import FrameReader
from ._tiff_images import TiffOpener
from ._zarr_images import open_zarr

_OPEN_FILES = 4


class FrameFiles:
    """Frames in one file or several, numbered as stream_datum documents number them.

    Any number of threads may open them; those used last stay open.

    Parameters
    ----------
    path
        Returns the file, or directory, of a number, counted from 0.
    open_file
        Opens it.
    frames_per_file
        Frames in each but the last; by default all are in one.
    directory
        Where what is known of each frame lies; None: nothing is.
    """

    def __init__(
        self,
        path: Callable[[int], Path],
        open_file: Callable[[Path], FrameReader],
        *,
        frames_per_file: int = sys.maxsize,
        directory: Path | None = None,
    ) -> None:
        self.directory = directory
        self._path = path
        self._open_file = open_file
        self._frames_per_file = frames_per_file
        self._readers: OrderedDict[int, FrameReader] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, index: int) -> Path:
        """Return the file that holds a frame."""
        return self._path(index // self._frames_per_file)

    def open(self, index: int) -> tuple[FrameReader, int, int]:
        """Return what reads a frame's file, the frame's number in it, and how many may follow in it.

        Raises
        ------
        StorageError
            When the file is missing or damaged.
        """
        number, first = divmod(index, self._frames_per_file)
        with self._lock:
            reader = self._readers.pop(number, None) or self._open_file(self._path(number))
            self._readers[number] = reader
            while len(self._readers) > _OPEN_FILES:
                self._readers.popitem(last=False)[1].close()
        return reader, first, self._frames_per_file - first

    def close(self) -> None:
        """Close the files; what is read again is opened again."""
        with self._lock:
            while self._readers:
                self._readers.popitem()[1].close()


def tiff_sequence(place: Path, parameters: Mapping[str, Any]) -> FrameFiles:
    """Return the frames in a folder of TIFF files with one image each."""
    return _tiffs(place, parameters["template"], 1)


def tiff_pages(place: Path, parameters: Mapping[str, Any]) -> FrameFiles:
    """Return the frames in a folder of TIFF files with several images each."""
    return _tiffs(place, parameters["template"], int(parameters["chunk_shape"][0]))


def jpeg_sequence(place: Path, parameters: Mapping[str, Any]) -> FrameFiles:
    """Return the frames in a folder of JPEG files, as a detector may write them."""
    template = parameters["template"]
    return FrameFiles(
        lambda number: place / template.format(number),
        open_jpeg,
        frames_per_file=1,
        directory=place,
    )


def hdf5_dataset(place: Path, parameters: Mapping[str, Any]) -> FrameFiles:
    """Return the frames in a data set of an HDF5 file."""
    dataset = parameters["dataset"]
    return FrameFiles(
        lambda _: place,
        lambda path: open_dataset(open_hdf5(path), dataset),
        directory=place.parent,
    )


def zarr_array(place: Path, parameters: Mapping[str, Any]) -> FrameFiles:
    """Return the frames in a Zarr array; what is known of them lies beside the group that holds it."""
    return FrameFiles(lambda _: place, open_zarr, directory=place.parent.parent)


def _tiffs(folder: Path, template: str, frames_per_file: int) -> FrameFiles:
    opener = TiffOpener()
    return FrameFiles(
        lambda number: folder / template.format(number),
        lambda path: opener.open([path]),
        frames_per_file=frames_per_file,
        directory=folder,
    )
