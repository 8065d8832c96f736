"""Frames in a data set of an HDF5 file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from concertino import StorageError

from ._hdf5_snapshot import Hdf5Snapshot, has_writer, is_cut_short
from ._raw_frames import FrameReader, RawFrames, Region

if TYPE_CHECKING:
    import h5py

HDF5_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf", ".nxs", ".nx5", ".he5"})

# chunks may span many frames: without room for them each frame would decompress all of them again
_CACHE_BYTES = 128 * 2**20
_CACHE_SLOTS = 10_007


def open_hdf5(path: Path) -> "h5py.File":
    """Open an HDF5 file for reading; one that is being written, or whose writer died or had no room, as it is now.

    Raises
    ------
    StorageError
        It does not exist, cannot be read, or is no HDF5 file.
    """
    import h5py

    try:
        source = Hdf5Snapshot(path) if has_writer(path) or is_cut_short(path) else path
        return h5py.File(source, "r", rdcc_nbytes=_CACHE_BYTES, rdcc_nslots=_CACHE_SLOTS)
    except FileNotFoundError as error:
        raise StorageError(f"There is no file {path}; check the path.") from error
    except (OSError, RuntimeError) as error:
        raise StorageError(
            f"{path} cannot be read as HDF5: {error}. If it was cut short or damaged, restore it "
            "from a copy."
        ) from error


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Have what HDF5 meets in a damaged file be told as a StorageError."""
    try:
        yield
    except StorageError:
        raise
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read: {error}. If it was cut short or damaged, restore it from a "
            "copy."
        ) from error


def open_dataset(file: "h5py.File", name: str) -> FrameReader:
    """Open a data set of an open file as frames; a 2-D one is a single frame.

    Raises
    ------
    StorageError
        There is no such data set (the message lists what there is), or it holds no images.
    """
    import h5py

    with readable(file.filename):
        dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        present = [f"{key} {tuple(shape)}" for key, shape in image_datasets(file).items()]
        raise StorageError(
            f"{file.filename} has no data set {name!r}; the images in it are: "
            f"{', '.join(present) or 'none'}. Name one of these."
        )
    if dataset.ndim not in (2, 3) or dataset.dtype.kind not in "uif":
        raise StorageError(
            f"{file.filename}:{name} has shape {dataset.shape} and dtype {dataset.dtype}; give a "
            "data set of numbers in (frame, height, width) or (height, width)."
        )
    if dataset.size == 0:
        raise StorageError(
            f"{file.filename}:{name} is empty: its shape is {dataset.shape}. Give another data set."
        )
    offsets = None
    if not file.userblock_size and file.driver != "fileobj":
        with readable(file.filename):
            offsets = _offsets(dataset)
    if offsets is None:
        return _DatasetFrames(dataset)
    return RawFrames(
        [Path(file.filename)],
        np.zeros(len(offsets), np.int64),
        offsets,
        dataset.shape[-2:],
        dataset.dtype,
    )


def _offsets(dataset: "h5py.Dataset") -> NDArray[np.int64] | None:
    """Return where in the file each frame is; None where the HDF5 library has to look or to unpack."""
    count, height, width = (1, *dataset.shape)[-3:]
    if dataset.chunks is None:
        first = dataset.id.get_offset()
        step = height * width * dataset.dtype.itemsize
        return None if first is None else first + np.arange(count, dtype=np.int64) * step
    # The library reads a chunk whole, however few rows of it are wanted.
    if dataset.chunks != (1, height, width) or dataset.id.get_create_plist().get_nfilters():
        return None
    places = [dataset.id.get_chunk_info_by_coord((i, 0, 0)).byte_offset for i in range(count)]
    return None if None in places else np.array(places, np.int64)


def image_datasets(file: "h5py.File") -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the data sets with three dimensions, each once."""
    import h5py

    found: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 3 and item.dtype.kind in "uif":
            found["/" + name] = item.shape

    file.visititems(visit)
    return found


class _DatasetFrames:
    """Frames that the HDF5 library has to read: chunked, compressed, virtual."""

    def __init__(self, dataset: "h5py.Dataset") -> None:
        self._dataset = dataset
        self._name = f"{dataset.file.filename}:{dataset.name}"
        count, height, width = (1, *dataset.shape)[-3:]
        self.shape = (int(count), int(height), int(width))
        self.dtype = np.dtype(dataset.dtype).newbyteorder("=")

    def read(self, start: int, region: Region, out: NDArray[Any]) -> None:
        """Read ``len(out)`` frames from `start` on, cut to `region`, into `out` (n, h, w)."""
        row, column, height, width = region
        part: tuple[slice, ...] = (slice(row, row + height), slice(column, column + width))
        direct = out.flags.c_contiguous and out.dtype == self.dtype
        target = out if direct else np.empty(out.shape, self.dtype)
        if self._dataset.ndim == 3:
            part = (slice(start, start + len(out)), *part)
        try:
            self._dataset.read_direct(target if self._dataset.ndim == 3 else target[0], part)
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            raise StorageError(
                f"Frames {start} to {start + len(out) - 1} cannot be read from {self._name}: "
                f"{error}. If the file is damaged, restore it from a copy."
            ) from error
        if not direct:
            out[:] = target

    def close(self) -> None:
        """Close the file."""
        if self._dataset:
            self._dataset.file.close()
