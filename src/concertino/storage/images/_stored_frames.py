"""Stored frames, of a run or in any files, as an array that is read when asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from concertino._errors import ParameterError, StorageError
from concertino.frames import frame_checksum

from ._frame_files import FrameFiles
from ._frame_index import INDEX_DTYPE, UNKNOWN, read_frame_index
from ._raw_frames import Region

_BATCH_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Segment:
    """Frames that follow one another in their files.

    Attributes
    ----------
    files
        Where they are.
    start
        Number in the files of the first one.
    count
        How many.
    """

    files: FrameFiles
    start: int
    count: int


class StoredFrames:
    """Stored frames (n, height, width); nothing is read before it is asked for.

    `Run.frames`, `open_images` and `open_scan` make them. Indexing works as on an array of three dimensions
    (integers, slices, ``...``); whole frames are read and then cut. Every frame is verified by its checksum
    when there is one. Any number of threads may read.

    Parameters
    ----------
    name
        What messages call them.
    segments
        Where they are, in order.
    shape
        Of a frame in its file, (height, width) in pixels.
    dtype
        Of the pixels.
    region
        Row, column, height and width of the part of each frame that is kept; all by default.
    """

    def __init__(
        self,
        name: str,
        segments: Sequence[Segment],
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        region: Region | None = None,
    ) -> None:
        self.name = name
        self.dtype = dtype
        self._stored_shape = shape
        self._region = region or (0, 0, *shape)
        self._segments = list(segments)
        self._stops = np.cumsum([segment.count for segment in segments], dtype=int)
        self.shape = (int(self._stops[-1]) if segments else 0, *self._region[2:])
        self._index: NDArray[Any] | None = None

    @property
    def ndim(self) -> int:
        """Always 3."""
        return 3

    @property
    def size(self) -> int:
        """Number of pixels of all frames."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return self.size * self.dtype.itemsize

    @property
    def index(self) -> NDArray[Any]:
        """What is known of each frame besides its pixels.

        (n,) structured: ``timestamp_ns`` (int64, ns since the epoch, -1: unknown), ``number`` (int64,
        the camera's, -1: unknown), ``checksum`` (uint64, xxh3_64; 0 when ``number`` is unknown: none).
        """
        if self._index is None:
            self._index = np.concatenate(
                [np.empty(0, INDEX_DTYPE), *(self._index_of(s) for s in self._segments)]
            )
        return self._index

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        out: NDArray[Any] | None = None,
        *,
        rows: slice | None = None,
        verify: bool = True,
    ) -> NDArray[Any]:
        """Read consecutive frames.

        Parameters
        ----------
        start, stop
            First frame, and the one after the last; all to the end by default.
        out
            (stop - start, height, width), to write them to. Another dtype than the frames' is converted to,
            if nothing is lost.
        rows
            Read consecutive rows of each frame and leave the others where they are; all by default. A
            checksum is that of a whole frame: with less of it nothing is verified.
        verify
            Compare each frame with its checksum, when one is stored.

        Returns
        -------
        NDArray
            `out`, or a new array.

        Raises
        ------
        ParameterError
            When there are no such frames or rows, or `out` does not fit them.
        StorageError
            When a file is missing or damaged; it is named, and the frame.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise ParameterError(
                f"Frames {start} to {stop} of {self.name} were asked for; it has {len(self)}."
            )
        height, width = self.shape[1:]
        first, last, step = (rows or slice(None)).indices(height)
        if step != 1 or first >= last:
            raise ParameterError(
                f"{rows} of {self.name} were asked for; give consecutive ones of its {height} rows."
            )
        shape = (stop - start, last - first, width)
        if out is None:
            out = self._room(shape)
        elif out.shape != shape or not np.can_cast(self.dtype, out.dtype, "safe"):
            raise ParameterError(
                f"Frames {start} to {stop} of {self.name} have shape {shape} and dtype "
                f"{self.dtype}; the array to read them to has {out.shape} and {out.dtype}. Give one of theirs."
            )
        elif out.dtype != self.dtype:
            out[...] = self.read(start, stop, rows=rows, verify=verify)
            return out
        region = (self._region[0] + first, self._region[1], *shape[1:])
        done = start
        while done < stop:
            number, place = self._place(done)
            until = min(stop, int(self._stops[number]))
            self._read_segment(number, place, region, out[done - start : until - start])
            done = until
        if verify and region[2:] == self._stored_shape:
            self._verify(start, out)
        return out

    def close(self) -> None:
        """Close the files; garbage collection does it, too."""
        for segment in self._segments:
            segment.files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        at_once = self._at_once
        for start in range(0, len(self), at_once):
            yield from self.read(start, min(start + at_once, len(self)))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        first, rest = _split_key(key)
        if isinstance(first, slice):
            start, stop, step = first.indices(len(self))
            if step == 1:
                return self.read(start, max(start, stop))[:, *rest]
            wanted = np.arange(start, stop, step)
        elif np.ndim(first) == 0:
            index = int(first)
            if not -len(self) <= index < len(self):
                raise IndexError(f"frame {index} of {self.name}, which has {len(self)}")
            frame: NDArray[Any] = self.read(index % len(self), index % len(self) + 1)[0, *rest]
            return frame
        else:
            wanted = np.arange(len(self))[first]
        frames = [self.read(int(i), int(i) + 1)[0] for i in wanted]
        stacked = np.stack(frames) if frames else np.empty((0, *self.shape[1:]), self.dtype)
        return stacked[:, *rest]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self.name} is on disk: an array of it is always a copy")
        return self.read().astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        return f"<StoredFrames {self.name}: {' × '.join(map(str, self.shape))} {self.dtype}>"

    def unreadable(self, start: int = 0, stop: int | None = None) -> tuple[int, ...]:
        """Read frames and verify their checksums; return the indices of those that are damaged or gone.

        Parameters
        ----------
        start, stop
            First frame, and the one after the last; all to the end by default.
        """
        stop = len(self) if stop is None else stop
        found: list[int] = []
        for first in range(start, stop, self._at_once):
            last = min(first + self._at_once, stop)
            try:
                self.read(first, last)
            except StorageError:
                found += [index for index in range(first, last) if not self._is_readable(index)]
        return tuple(found)

    def _room(self, shape: tuple[int, ...]) -> NDArray[Any]:
        try:
            return np.empty(shape, self.dtype)
        except (MemoryError, ValueError) as error:  # also of what a damaged record describes
            raise StorageError(
                f"Frames of shape {shape} and dtype {self.dtype} of {self.name} find no memory "
                f"({error}); read fewer at once."
            ) from error

    def _is_readable(self, index: int) -> bool:
        try:
            self.read(index, index + 1)
        except StorageError:
            return False
        return True

    @property
    def _at_once(self) -> int:
        return max(1, _BATCH_BYTES * len(self) // max(1, self.nbytes))

    def _place(self, index: int) -> tuple[int, int]:
        """Return the segment of a frame, and the frame's number in its files."""
        number = int(np.searchsorted(self._stops, index, side="right"))
        segment = self._segments[number]
        return number, segment.start + index - int(self._stops[number] - segment.count)

    def _read_segment(self, number: int, place: int, region: Region, out: NDArray[Any]) -> None:
        files = self._segments[number].files
        try:
            self._read_files(files, place, region, out)
        except StorageError as error:
            index = int(self._stops[number]) - self._segments[number].count
            index += place - self._segments[number].start
            for i in range(len(out)):  # which one is it?
                try:
                    self._read_files(files, place + i, region, out[i : i + 1])
                except StorageError as single:
                    raise StorageError(f"Frame {index + i} of {self.name}: {single}") from error
            raise

    def _read_files(self, files: FrameFiles, place: int, region: Region, out: NDArray[Any]) -> None:
        done = 0
        while done < len(out):
            reader, first, room = files.open(place + done)
            count = min(len(out) - done, room)
            if reader.shape[1:] != self._stored_shape or reader.dtype != self.dtype:
                raise StorageError(
                    f"{files.path(place + done)} has frames of shape {reader.shape[1:]} and dtype "
                    f"{reader.dtype}, and the run's documents say {self._stored_shape} and "
                    f"{self.dtype}: it is another file. Put the right one there."
                )
            if first + count > reader.shape[0]:
                raise StorageError(
                    f"{files.path(place + done)} has {reader.shape[0]} images and should have "
                    f"{first + count}; it was cut short: restore it from a copy."
                )
            reader.read(first, region, out[done : done + count])
            done += count

    def _verify(self, start: int, frames: NDArray[Any]) -> None:
        known = self.index[start : start + len(frames)]
        summed = (known["number"] != UNKNOWN) | (known["checksum"] != 0)
        for i in np.flatnonzero(summed):
            if not _has_sum(frames[i], known["checksum"][i]):
                number, place = self._place(start + int(i))
                raise StorageError(
                    f"Frame {start + i} of {self.name}: {self._segments[number].files.path(place)} "
                    "differs from the checksum that was taken when the frame was exposed; it was "
                    "damaged or changed: restore it from a copy, or read with verify=False."
                )

    def _index_of(self, segment: Segment) -> NDArray[Any]:
        entries = np.zeros(segment.count, INDEX_DTYPE)
        entries["timestamp_ns"] = entries["number"] = UNKNOWN
        if segment.files.directory is not None:
            stored = read_frame_index(segment.files.directory)[segment.start :][: segment.count]
            entries[: len(stored)] = stored
        return entries


def _has_sum(frame: NDArray[Any], checksum: int) -> bool:
    pixels = np.ascontiguousarray(frame)
    if frame_checksum(pixels) == checksum:
        return True
    # Runs of old of a big-endian camera have the sums of its bytes, and little-endian ones stored.
    return pixels.itemsize > 1 and xxhash.xxh3_64_intdigest(pixels.byteswap().data) == checksum


def _split_key(key: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the index of frames, and that within a frame, of an index of the array."""
    parts = key if isinstance(key, tuple) else (key,)
    if Ellipsis in [part for part in parts if not isinstance(part, np.ndarray)]:
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        fill = (slice(None),) * (3 - (len(parts) - 1))
        parts = parts[:at] + fill + parts[at + 1 :]
    if len(parts) > 3:
        raise IndexError(f"{len(parts)} indices for frames (frame, row, column)")
    return (parts[0], parts[1:]) if parts else (slice(None), ())
