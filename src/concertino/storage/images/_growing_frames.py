"""Frames that another program is writing: how many are there, and their pixels, while the file grows."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from concertino import StorageError
from concertino._extras import extra
from concertino.storage.disk._uris import path_of_uri

from ._frame_files import FrameFiles, jpeg_sequence, tiff_sequence
from ._raw_frames import RawFrames

if TYPE_CHECKING:
    import h5py

_TIFF = "multipart/related;type=image/tiff"
_JPEG = "multipart/related;type=image/jpeg"
_HDF5 = "application/x-hdf5"
#: Where areaDetector's writer keeps the numbers and times of its frames.
_ATTRIBUTES = "/entry/instrument/NDAttributes"
_NUMBERS = "NDArrayUniqueId"
_SECONDS, _NANOSECONDS = "NDArrayEpicsTSSec", "NDArrayEpicsTSnSec"
#: EPICS counts its seconds from 1990 on.
_EPICS_EPOCH_S = 631_152_000

Stretches: TypeAlias = tuple[tuple[int, int], ...] | None


class GrowingFrames(Protocol):
    """Frames of one stream that somebody else stores, in the order of their indices; used by one thread.

    Attributes
    ----------
    place : str
        The file, or the directory, for messages.
    """

    place: str

    def count(self, most: int) -> int:
        """Return how many are there to be read, looking for at most `most`."""

    def read(self, start: int, out: NDArray[Any], rows: Stretches = None) -> None:
        """Read ``len(out)`` frames from `start` on, or some rows of them.

        Parameters
        ----------
        start : int
            Index of the first.
        out : ndarray, shape (n, height, width)
            Where they go.
        rows : tuple of (int, int), or None
            Begin and end of the stretches of rows that are read, the others are left as they are; None for all.

        Raises
        ------
        StorageError
            If they cannot be read.
        """

    def numbers(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return the detector's own numbers of some frames, (n,); None when the file does not tell them."""

    def stamps_ns(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return the times that the detector gave some frames, (n,) in ns since the epoch; None when the file does not tell them."""

    def close(self) -> None:
        """Close the file."""


def open_growing(resource: Mapping[str, Any]) -> GrowingFrames:
    """Return the frames that a stream_resource document tells of, while they are written.

    Parameters
    ----------
    resource : mapping
        The document. The file need not be there yet.

    Returns
    -------
    GrowingFrames
        Nothing is read before it is asked for.

    Raises
    ------
    StorageError
        If there is no reader for its mimetype, or its parameters are not what that needs.
    """
    mimetype, parameters = resource["mimetype"], resource["parameters"]
    place = path_of_uri(resource["uri"])
    try:
        if mimetype == _HDF5:
            return _GrowingHdf5(place, parameters["dataset"])
        if mimetype in (_TIFF, _JPEG):
            maker = tiff_sequence if mimetype == _TIFF else jpeg_sequence
            return _GrowingFiles(place, maker(place, parameters))
    except KeyError as error:
        raise StorageError(
            f"The frames at {resource['uri']} are said to be {mimetype!r}, and the parameter {error} that this "
            "needs is missing from their stream_resource document. Have the program that writes it add it."
        ) from error
    raise StorageError(
        f"Frames of mimetype {mimetype!r} at {resource['uri']} cannot be read while they are written; "
        f"{_HDF5}, {_TIFF} and {_JPEG} can. Have the detector write one of these."
    )


class _GrowingHdf5:
    """Frames in a data set that a writer extends, open for readers (SWMR)."""

    def __init__(self, path: Path, dataset: str) -> None:
        self.place = str(path)
        self._path, self._name = path, dataset
        self._file: h5py.File | None = None
        self._dataset: h5py.Dataset | None = None
        self._columns: dict[str, h5py.Dataset] = {}
        self._raw = False
        self._whole = 0
        self._told: dict[str, NDArray[np.int64]] = {}

    def count(self, most: int) -> int:
        """Return how many are there; 0 as long as the file is not, or is not open for readers."""
        try:
            dataset = self._dataset or self._open()
            dataset.refresh()
            self._whole = min(most, int(dataset.shape[0]))
            return self._whole
        except (KeyError, OSError, RuntimeError) as error:
            self.place = f"{self._path} ({' '.join(str(error).split())})"
            return 0

    def read(self, start: int, out: NDArray[Any], rows: Stretches = None) -> None:
        """Read frames; plain ones past the HDF5 library, straight into their slots."""
        dataset = self._dataset or self._open()
        stretches = ((0, out.shape[1]),) if rows is None else rows
        try:
            offsets = self._offsets(dataset, start, len(out))
            if offsets is None:
                for begin, end in stretches:
                    out[:, begin:end] = dataset[start : start + len(out), begin:end]
                return
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise StorageError(
                f"Frames {start} to {start + len(out) - 1} cannot be read from {self._path}:{self._name} while it "
                f"is written: {error}. Check the detector's writer and its disk."
            ) from error
        frames = RawFrames(
            [self._path], np.zeros(len(out), np.int64), offsets, out.shape[1:], dataset.dtype
        )
        for begin, end in stretches:
            frames.read(0, (begin, 0, end - begin, out.shape[2]), out[:, begin:end])
        frames.close()

    def numbers(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return the numbers that areaDetector's writer keeps of its frames."""
        return self._column(_NUMBERS, start, stop)

    def stamps_ns(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return the times that areaDetector's writer keeps of its frames."""
        seconds = self._column(_SECONDS, start, stop)
        nanoseconds = self._column(_NANOSECONDS, start, stop)
        if seconds is None or nanoseconds is None:
            return None
        return (seconds + _EPICS_EPOCH_S) * 10**9 + nanoseconds

    def _column(self, name: str, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return what is kept of some frames beside them; None while it is not all there."""
        column = self._columns.get(name)
        if column is None:
            return None
        told = self._told.get(name, np.empty(0, np.int64))
        if stop > len(told):
            try:
                column.refresh()
                new = np.asarray(column[len(told) : self._whole], np.int64)
            except (OSError, RuntimeError, ValueError):
                return None
            told = self._told[name] = np.concatenate((told, new))
        part = told[start:stop]
        return part if len(part) == stop - start else None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = self._dataset = None
        self._columns = {}

    def _open(self) -> "h5py.Dataset":
        import h5py

        file = h5py.File(self._path, "r", swmr=True, libver="latest")
        try:
            dataset = file[self._name]
            height, width = dataset.shape[-2:]
            beside = file.get(_ATTRIBUTES) or {}
            names = (_NUMBERS, _SECONDS, _NANOSECONDS)
            self._columns = {name: beside[name] for name in names if name in beside}
        except BaseException:
            file.close()
            raise
        plain = dataset.chunks == (1, height, width)
        layout = dataset.id.get_create_plist()
        filters = [layout.get_filter(place)[0] for place in range(layout.get_nfilters())]
        if not all(map(h5py.h5z.filter_avail, filters)):
            with extra("filters", f"Frames of {self._path}, which are compressed"):
                import hdf5plugin  # noqa: F401
        self._raw = plain and not filters
        self._file, self._dataset, self.place = file, dataset, str(self._path)
        return dataset

    def _offsets(self, dataset: "h5py.Dataset", start: int, count: int) -> NDArray[np.int64] | None:
        """Return where frames lie in the file; None where the library has to look or to unpack."""
        if not self._raw:
            return None
        indices = range(start, start + count)
        places = [dataset.id.get_chunk_info_by_coord((i, 0, 0)).byte_offset for i in indices]
        return None if None in places else np.array(places, np.int64)


class _GrowingFiles:
    """Frames in files with one image each, which are there when their writer has counted them."""

    def __init__(self, folder: Path, files: FrameFiles) -> None:
        self.place = str(folder)
        self._files = files
        self._count = 0

    def count(self, most: int) -> int:
        """Return how many files follow one another from the first."""
        while self._count < most and self._files.path(self._count).exists():
            self._count += 1
        if self._count < most:
            self.place = f"{self._files.path(self._count).parent}, where {self._files.path(self._count).name} is missing,"
        return self._count

    def read(self, start: int, out: NDArray[Any], rows: Stretches = None) -> None:
        """Read frames, each from its file."""
        for i in range(len(out)):
            reader, first, _ = self._files.open(start + i)
            if reader.shape[1:] != out.shape[1:] or reader.dtype != out.dtype:
                raise StorageError(
                    f"{self._files.path(start + i)} has an image of {reader.shape[1:]} px of {reader.dtype}, and "
                    f"the detector said {out.shape[1:]} of {out.dtype}. Check its writer's settings."
                )
            for begin, end in ((0, out.shape[1]),) if rows is None else rows:
                region = (begin, 0, end - begin, out.shape[2])
                reader.read(first, region, out[i : i + 1, begin:end])

    def numbers(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return None: the files do not tell."""
        return None

    def stamps_ns(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return None: the files do not tell."""
        return None

    def close(self) -> None:
        """Close the files."""
        self._files.close()
