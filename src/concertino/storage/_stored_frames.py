"""The frames of one stream of a stored run, as an array that is read when asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from concertino._errors import ParameterError, StorageError
from concertino.frames import frame_checksum

from ._frame_index import INDEX_DTYPE, UNKNOWN, read_frame_index
from ._resources import Resource

_BATCH_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of a stream, in one resource.

    Attributes
    ----------
    resource
        Where they are.
    start
        Number in the resource of the first one.
    count
        How many.
    """

    resource: Resource
    start: int
    count: int


class StoredFrames:
    """Frames (n, height, width) of a stored run; nothing is read before it is asked for.

    Indexing works as on an array of three dimensions (integers, slices, ``...``); whole frames are read
    and then cut. Every frame is verified by its checksum when there is one.

    Parameters
    ----------
    name
        What messages call them.
    segments
        Where they are, in order.
    shape
        Of a frame, (height, width) in pixels.
    dtype
        Of the pixels.
    """

    def __init__(
        self, name: str, segments: Sequence[Segment], shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> None:
        self.name = name
        self.dtype = dtype
        self._segments = list(segments)
        self._stops = np.cumsum([segment.count for segment in segments], dtype=int)
        self.shape = (int(self._stops[-1]) if segments else 0, *shape)
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
            (stop - start, height, width), of the frames' dtype, to write them to.
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
                f"frames {start} to {stop} of {self.name} were asked for; it has {len(self)}"
            )
        height, width = self.shape[1:]
        first, last, step = (rows or slice(None)).indices(height)
        if step != 1 or first >= last:
            raise ParameterError(
                f"{rows} of {self.name} were asked for; give consecutive ones of its {height} rows"
            )
        shape = (stop - start, last - first, width)
        if out is None:
            out = self._room(shape)
        elif out.shape != shape or out.dtype != self.dtype:
            raise ParameterError(
                f"frames {start} to {stop} of {self.name} have shape {shape} and dtype {self.dtype}; "
                f"the array to read them to has {out.shape} and {out.dtype}"
            )
        done = start
        while done < stop:
            number = int(np.searchsorted(self._stops, done, side="right"))
            until = min(stop, int(self._stops[number]))
            self._read_segment(number, done, out[done - start : until - start], first)
            done = until
        if verify and shape[1] == height:
            self._verify(start, out)
        return out

    def verify(self) -> list[int]:
        """Read everything and return the indices of the frames that differ from their checksums."""
        known = self._has_checksum()
        return [
            i
            for i, frame in enumerate(self._frames(verify=False))
            if known[i] and not _has_sum(frame, self.index["checksum"][i])
        ]

    def close(self) -> None:
        """Close the files."""
        for segment in self._segments:
            segment.resource.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return self._frames(verify=True)

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
        at_once = max(1, _BATCH_BYTES * len(self) // max(1, self.nbytes))
        found: list[int] = []
        for first in range(start, stop, at_once):
            last = min(first + at_once, stop)
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
                f"frames of shape {shape} and dtype {self.dtype} of {self.name} find no memory "
                f"({error}); read fewer at once"
            ) from error

    def _is_readable(self, index: int) -> bool:
        try:
            self.read(index, index + 1)
        except StorageError:
            return False
        return True

    def _frames(self, *, verify: bool) -> Iterator[NDArray[Any]]:
        at_once = max(1, _BATCH_BYTES * len(self) // max(1, self.nbytes))
        for start in range(0, len(self), at_once):
            yield from self.read(start, min(start + at_once, len(self)), verify=verify)

    def _read_segment(self, number: int, index: int, out: NDArray[Any], row: int) -> None:
        segment = self._segments[number]
        first = segment.start + index - int(self._stops[number] - segment.count)
        try:
            segment.resource.read(first, out, row, self.shape[1])
        except StorageError as error:
            for i in range(len(out)):  # which one is it?
                try:
                    segment.resource.read(first + i, out[i : i + 1], row, self.shape[1])
                except StorageError as single:
                    raise StorageError(f"frame {index + i} of {self.name}: {single}") from error
            raise

    def _verify(self, start: int, frames: NDArray[Any]) -> None:
        known = self._has_checksum()
        for i, frame in enumerate(frames, start):
            if known[i] and not _has_sum(frame, self.index["checksum"][i]):
                raise StorageError(
                    f"frame {i} of {self.name}: {self._path(i)} differs from the checksum that was "
                    "taken when the frame was exposed; it was damaged or changed: restore it from a "
                    "copy, or read with verify=False"
                )

    def _path(self, index: int) -> Any:
        number = int(np.searchsorted(self._stops, index, side="right"))
        segment = self._segments[number]
        return segment.resource.path(
            segment.start + index - int(self._stops[number] - segment.count)
        )

    def _has_checksum(self) -> NDArray[np.bool_]:
        known: NDArray[np.bool_] = (self.index["number"] != UNKNOWN) | (self.index["checksum"] != 0)
        return known

    def _index_of(self, segment: Segment) -> NDArray[Any]:
        entries = np.zeros(segment.count, INDEX_DTYPE)
        entries["timestamp_ns"] = entries["number"] = UNKNOWN
        stored = read_frame_index(segment.resource.directory)[
            segment.start : segment.start + segment.count
        ]
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
