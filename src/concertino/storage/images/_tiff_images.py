"""Frames in TIFF files: one image a file or many, plain or compressed."""

import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from concertino import StorageError

from ._raw_frames import FrameReader, RawFrames, Region

if TYPE_CHECKING:
    import tifffile


# What differs between files of one sequence in their description: a number, filled up with spaces or not.
_COUNTED = bytes.maketrans(b" 123456789", b"0000000000")

# Tags whose values are each page's own: texts, times, resolution, where the pixels are.
_OF_A_PAGE = (270, 273, 282, 283, 305, 306, 315, 316)


@dataclass(frozen=True)
class _Images:
    """The images in one file; without offsets they have to be decoded."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    count: int
    offsets: tuple[int, ...] | None


class TiffOpener:
    """Opens TIFF files of a sequence; looks closer only at one that does not begin as the one before.

    tifffile takes a tenth of a millisecond to tell where the pixels of a file lie. Of thousands that are
    alike in their size, and in all bytes before the pixels but for a number in the description, it is asked
    for one.
    """

    def __init__(self) -> None:
        self._known: tuple[int, bytes, slice, _Images] | None = None  # size, beginning, description

    def open(self, paths: Sequence[Path]) -> FrameReader:
        """Open files, in this order, as one sequence of frames.

        Raises
        ------
        StorageError
            A file is no TIFF, is damaged, is compressed in a way that cannot be read here, has colours,
            or has images of another shape or dtype than the first one.
        """
        files = [self._inspect(path) for path in paths]
        first = files[0]
        for path, file in zip(paths, files, strict=True):
            if (file.shape, file.dtype.newbyteorder("=")) != (
                first.shape,
                first.dtype.newbyteorder("="),
            ):
                raise StorageError(
                    f"Images of one sequence must be alike: {paths[0]} has {_describe(first)}, "
                    f"{path} has {_describe(file)}; move the odd ones out, or give a narrower "
                    "pattern."
                )
        numbers = np.repeat(np.arange(len(files)), [file.count for file in files])
        if all(file.offsets is not None and file.dtype == first.dtype for file in files):
            offsets = np.array([o for file in files for o in file.offsets or ()], np.int64)
            return RawFrames(paths, numbers, offsets, first.shape, first.dtype)
        inner = np.concatenate([np.arange(file.count) for file in files])
        return _DecodedTiffs(paths, numbers, inner, first.shape, first.dtype.newbyteorder("="))

    def _inspect(self, path: Path) -> _Images:
        size, beginning, text, images = self._known or (-1, b"", slice(0), None)
        try:
            with path.open("rb", buffering=0) as file:
                found = file.read(len(beginning))
                alike = os.fstat(file.fileno()).st_size == size
        except OSError as error:
            raise StorageError(
                f"{path} cannot be opened: {error.strerror or error}. Check its permissions, and "
                "that its disk is there."
            ) from error
        if images is not None and alike and _counted(found, text) == beginning:
            return images
        import tifffile

        try:
            with tifffile.TiffFile(path) as tiff:
                images = _images_in(tiff, path)
                self._known = _known_by(tiff, images)
                return images
        except StorageError:
            raise
        except Exception as error:
            raise _unreadable(path, error) from error


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


def _images_in(file: "tifffile.TiffFile", path: Path) -> _Images:
    """Return what is in a file; of what is not plain the first image is decoded."""
    first = file.pages.first
    offsets = _offsets_alike(file)
    pages = [
        (page.shape, np.dtype(page.dtype), page.dataoffsets[0] if _is_plain(page) else None)
        for page in (file.pages if offsets is None else [first])
    ]
    shape, dtype, axes = first.shape, np.dtype(first.dtype), first.axes
    stack = len(file.pages) == 1 and (first.is_shaped or first.is_imagej or pages[0][2] is None)
    if stack:  # only its description tells of what
        series = file.series[0]
        shape, dtype, axes = series.shape, np.dtype(series.dtype), series.axes
    if not axes.endswith("YX"):
        raise StorageError(
            f"{path} has images with axes {axes} and shape {shape}, and only grey ones of (height, "
            "width) can be read; convert it."
        )
    frame_shape = int(shape[-2]), int(shape[-1])
    stored = dtype.newbyteorder(file.byteorder)
    if stack and series.dataoffset is not None:
        count = int(np.prod(shape[:-2], dtype=int))
        step = frame_shape[0] * frame_shape[1] * dtype.itemsize
        within = tuple(series.dataoffset + i * step for i in range(count))
        return _Images(frame_shape, stored, count, within)
    for number, (page_shape, page_dtype, _) in enumerate(pages):
        if page_shape != frame_shape or page_dtype != dtype:
            raise StorageError(
                f"{path} has images that are not alike: the first is {shape[-2]}x{shape[-1]} px of "
                f"{dtype}, page {number} has shape {page_shape} and dtype {page_dtype}. Write each "
                "kind to a file of its own."
            )
    offsets = offsets or [offset for *_, offset in pages if offset is not None]
    if len(offsets) >= len(pages):
        return _Images(frame_shape, stored, len(offsets), tuple(offsets))
    file.asarray(key=0)  # whether it can be decoded here at all
    return _Images(frame_shape, dtype, len(pages), None)


def _offsets_alike(file: "tifffile.TiffFile") -> list[int] | None:
    """Return where the pixels of each page are, if all pages are plain and as the first one.

    With its first page as key frame tifffile is five times as fast, and takes another height or dtype for the same:
    the entries of each page are compared.
    """
    first = file.pages.first
    if len(file.pages) == 1 or not _is_plain(first) or len(first.dataoffsets) != 1:
        return None
    wanted = _entries(file, first)
    tags = np.ascontiguousarray(wanted[:, :2]).view(f"{file.byteorder}u2")[:, 0]
    same = ~np.isin(tags, _OF_A_PAGE)
    file.pages.useframes = True
    file.pages.set_keyframe(0)
    try:
        offsets = []
        for page in file.pages:
            found = _entries(file, page)
            if found.shape != wanted.shape or not np.array_equal(found[same], wanted[same]):
                return None
            offsets.append(page.dataoffsets[0])
        return offsets
    except RuntimeError:  # of a page that is not like its key frame
        return None
    finally:
        file.pages.useframes = False


def _entries(file: "tifffile.TiffFile", page: Any) -> NDArray[np.uint8]:
    """Return the entries of a page as they are in the file, uint8 (n, bytes of one)."""
    file.filehandle.seek(page.offset)
    (count,) = struct.unpack(file.tiff.tagnoformat, file.filehandle.read(file.tiff.tagnosize))
    entries = file.filehandle.read(count * file.tiff.tagsize)
    return np.frombuffer(entries, np.uint8).reshape(count, file.tiff.tagsize)


def _is_plain(page: Any) -> bool:
    """Whether the pixels lie in the file as they are in memory."""
    return bool(page.axes == "YX" and page.is_final and sum(page.databytecounts) == page.nbytes)


def _known_by(
    file: "tifffile.TiffFile", images: _Images
) -> tuple[int, bytes, slice, _Images] | None:
    """Return by what another file with such an image is known; None if it stands behind the pixels."""
    page = file.pages.first
    if images.count != 1 or images.offsets is None:
        return None
    end = images.offsets[0]
    if any(tag.valueoffset + tag.valuebytecount > end for tag in page.tags):
        return None
    described = page.tags.get(270)
    text = slice(0, 0)
    if described is not None:
        text = slice(described.valueoffset, described.valueoffset + described.valuebytecount)
    beginning = os.pread(file.filehandle.fileno(), end, 0)
    return file.filehandle.size, _counted(beginning, text), text, images


def _counted(beginning: bytes, text: slice) -> bytes:
    """Return the beginning of a file without the numbers in its description."""
    return beginning[: text.start] + beginning[text].translate(_COUNTED) + beginning[text.stop :]


def _unreadable(path: Path, error: Exception) -> StorageError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return StorageError(
        f"{path} cannot be read as TIFF: {reason}. If it is still being written, wait; if it is "
        "damaged, restore it from a copy."
    )


def _describe(file: _Images) -> str:
    return f"{file.shape[0]}x{file.shape[1]} px of {file.dtype.newbyteorder('=')}"
