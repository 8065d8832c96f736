"""Frames in TIFF files: one image a file or many, plain or compressed."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from concertino import StorageError

from ._raw_frames import FrameReader, RawFrames, Region
from ._tiff_index import index_plain_tiff

if TYPE_CHECKING:
    import tifffile


@dataclass(frozen=True)
class _Images:
    """The images in one file; without offsets they have to be decoded."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    count: int
    offsets: tuple[int, ...] | None


def open_tiffs(paths: Sequence[Path]) -> FrameReader:
    """Open TIFF files, in this order, as one sequence of frames.

    Raises
    ------
    StorageError
        A file is no TIFF, is damaged, is compressed in a way that cannot be read here, has colours,
        or has images of another shape or dtype than the first one.
    """
    files = [_inspect(path) for path in paths]
    first = files[0]
    for path, file in zip(paths, files, strict=True):
        if (file.shape, file.dtype.newbyteorder("=")) != (
            first.shape,
            first.dtype.newbyteorder("="),
        ):
            raise StorageError(
                f"images of one sequence must be alike: {paths[0]} has {_describe(first)}, "
                f"{path} has {_describe(file)}; move the odd ones out, or give a narrower pattern"
            )
    numbers = np.repeat(np.arange(len(files)), [file.count for file in files])
    if all(file.offsets is not None and file.dtype == first.dtype for file in files):
        offsets = np.array([o for file in files for o in file.offsets or ()], np.int64)
        return RawFrames(paths, numbers, offsets, first.shape, first.dtype)
    inner = np.concatenate([np.arange(file.count) for file in files])
    return _DecodedTiffs(paths, numbers, inner, first.shape, first.dtype.newbyteorder("="))


class _DecodedTiffs:
    """Frames that tifffile has to decode, page by page."""

    def __init__(
        self,
        paths: Sequence[Path],
        file_numbers: NDArray[np.int64],
        pages: NDArray[np.int64],
        frame_shape: tuple[int, int],
        dtype: np.dtype[Any],
    ) -> None:
        self._paths = list(paths)
        self._file_numbers, self._pages = file_numbers, pages
        self.shape = (len(pages), *frame_shape)
        self.dtype = dtype
        self._lock = threading.Lock()

    def read(self, start: int, region: Region, out: NDArray[Any]) -> None:
        """Read ``len(out)`` frames from `start` on, cut to `region`, into `out` (n, h, w)."""
        import tifffile

        row, column, height, width = region
        wanted = self._file_numbers[start : start + len(out)]
        with self._lock:
            for number in np.unique(wanted):
                path = self._paths[number]
                try:
                    with tifffile.TiffFile(path) as file:
                        for i in np.flatnonzero(wanted == number):
                            image = file.asarray(key=int(self._pages[start + i]))
                            out[i] = image[row : row + height, column : column + width]
                except Exception as error:
                    raise _unreadable(path, error) from error

    def close(self) -> None:
        """Nothing stays open."""


def _inspect(path: Path) -> _Images:
    try:
        plain = index_plain_tiff(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be opened: {error.strerror or error}") from error
    if plain is not None:
        return _Images(plain.shape, plain.dtype, len(plain.offsets), plain.offsets)
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return _decodable(file, path)
    except StorageError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _decodable(file: "tifffile.TiffFile", path: Path) -> _Images:
    """Return what is in a file that is not plain, after decoding its first image."""
    series = file.series[0]
    shape, dtype = series.shape, np.dtype(series.dtype)
    if not series.axes.endswith("YX"):
        raise StorageError(
            f"{path} has images with axes {series.axes} and shape {shape}; only grey ones of "
            "(height, width) can be read: convert it"
        )
    frame_shape = int(shape[-2]), int(shape[-1])
    count = int(np.prod(shape[:-2], dtype=int))
    if len(file.pages) == 1 and series.dataoffset is not None:
        stored = dtype.newbyteorder(file.byteorder)
        step = frame_shape[0] * frame_shape[1] * dtype.itemsize
        offsets = tuple(series.dataoffset + i * step for i in range(count))
        return _Images(frame_shape, stored, count, offsets)
    for number, page in enumerate(file.pages):
        if page.shape != frame_shape or page.dtype != dtype:
            raise StorageError(
                f"{path} has images that are not alike: the first is {shape[-2]}x{shape[-1]} px of "
                f"{dtype}, page {number} has shape {page.shape} and dtype {page.dtype}"
            )
    file.asarray(key=0)  # whether it can be decoded here at all
    return _Images(frame_shape, dtype, len(file.pages), None)


def _unreadable(path: Path, error: Exception) -> StorageError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return StorageError(
        f"{path} cannot be read as TIFF: {reason}; is it damaged, or still being written?"
    )


def _describe(file: _Images) -> str:
    return f"{file.shape[0]}x{file.shape[1]} px of {file.dtype.newbyteorder('=')}"
