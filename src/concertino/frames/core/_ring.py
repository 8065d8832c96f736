"""The preallocated ring that the frames of a stream live in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import ArrayLike, DTypeLike, NDArray

from concertino._errors import FrameStreamError
from concertino._memory import free_memory

from ._rows import Rows

if TYPE_CHECKING:
    from ._messages import Memory

#: A larger frame is copied and summed up in pieces of so many bytes, which the processor's cache still has.
_PIECE_BYTES = 2**20


def frame_checksum(frame: NDArray[Any]) -> int:
    """Return the XXH3-64 checksum of the pixels of a C-contiguous frame, as little-endian bytes.

    That is how they are stored: the sum is the same whatever byte order the camera gives.
    """
    return int(xxhash.xxh3_64_intdigest(_little(frame).data))


def _little(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels in little-endian byte order, the same array if they are."""
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)


def extend_digest(digest: int, checksums: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the digest of a stream after each of some more frames.

    The digest before the first frame is 0; with each frame it becomes the XXH3-64, seeded with
    the digest so far, of the frame's checksum as 8 bytes, little-endian.

    Parameters
    ----------
    digest : int
        After the frames before.
    checksums : ndarray of uint64, shape (n,)
        Of the frames.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    octets = checksums.astype("<u8", copy=False).tobytes()
    digests = np.empty(len(checksums), np.uint64)
    for index in range(len(checksums)):
        digest = xxhash.xxh3_64_intdigest(octets[8 * index : 8 * index + 8], digest)
        digests[index] = digest
    return digests


class Ring:
    """Slots for frames of one shape and dtype, used over and over.

    Parameters
    ----------
    shape : tuple of int
        Frame shape (height, width) in pixels.
    dtype : dtype
        Type of a pixel.
    max_bytes : int
        Memory that the frames may take; at least two frames are held.

    Raises
    ------
    FrameStreamError
        If the shape or dtype is not that of an image, or the memory is not there.
    """

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike, max_bytes: int) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        if len(shape) != 2 or min(shape) < 1 or self.dtype.kind not in "uif":
            raise FrameStreamError(
                f"A frame stream was asked for frames of shape {tuple(shape)} and type "
                f"{self.dtype}; it takes (height, width) of at least 1 × 1 and real numbers."
            )
        self.shape = (int(shape[0]), int(shape[1]))
        self.frame_bytes = self.shape[0] * self.shape[1] * self.dtype.itemsize
        self.capacity = max(2, int(max_bytes) // self.frame_bytes)
        needed = self.capacity * self.frame_bytes
        available = free_memory()
        if available is not None and needed > available:
            raise FrameStreamError(
                f"A ring of {self.capacity} frames of {self.shape[0]} × {self.shape[1]} pixels needs "
                f"{needed / 2**20:.0f} MiB; {available / 2**20:.0f} MiB of memory are free. "
                "Give a smaller ring_bytes."
            )
        self.frames: NDArray[Any]
        self.timestamps: NDArray[np.int64]
        self.numbers: NDArray[np.int64]
        self.checksums: NDArray[np.uint64]
        self.digests = np.zeros(self.capacity, np.uint64)
        self._offset = 0
        self._allocate()
        self._readable = self.frames.view()
        self._readable.flags.writeable = False

    def _allocate(self) -> None:
        """Make the arrays of what belongs to each slot."""
        self.frames = np.empty((self.capacity, *self.shape), self.dtype)
        self.timestamps = np.zeros(self.capacity, np.int64)
        self.numbers = np.zeros(self.capacity, np.int64)
        self.checksums = np.zeros(self.capacity, np.uint64)

    def begin(self) -> None:
        """Serve another stream from now on."""
        self.place_first(0)

    def place_first(self, slot: int) -> None:
        """Have the frames of the stream lie from a slot on; before the first is published."""
        self._offset = slot % self.capacity

    def place(self, index: int) -> int:
        """Return the slot of a frame."""
        return (index + self._offset) % self.capacity

    def announce(self, published: int) -> None:
        """Let those who look into the ring see how many frames are published."""

    def warn(self, stop: int) -> None:
        """Let those who look into the ring see, before it happens, that slots up to a frame's are written to."""

    def lend(self) -> Memory | None:
        """Return what lies where, for other processes to map; None if nothing can be lent."""
        return None

    def digest_after(self, stop: int) -> int:
        """Return the digest of frames ``[0, stop)``; frame ``stop - 1`` must be in the ring."""
        return int(self.digests[self.place(stop - 1)]) if stop else 0

    def fits(self, shape: tuple[int, int], dtype: DTypeLike, max_bytes: int) -> bool:
        """Tell whether the ring serves for such frames and memory."""
        dtype = np.dtype(dtype)
        frame_bytes = shape[0] * shape[1] * dtype.itemsize
        return (
            self.shape == tuple(shape)
            and self.dtype == dtype
            and self.capacity == max(2, int(max_bytes) // frame_bytes)
        )

    def writable(self, start: int, count: int) -> NDArray[Any]:
        """Return the slots of frames ``start`` on: at most `count`, up to the ring's seam."""
        first = self.place(start)
        slots = self.frames[first : first + min(count, self.capacity - first)]
        self.warn(start + len(slots))
        return slots

    def write(self, index: int, frame: NDArray[Any]) -> None:
        """Copy a frame, shape (height, width), into its slot and compute its checksum."""
        place = self.place(index)
        slot = self.frames[place]
        if self.frame_bytes <= _PIECE_BYTES:
            np.copyto(slot, frame)
            self.checksums[place] = frame_checksum(slot)
            return
        checksum = xxhash.xxh3_64()
        rows = max(1, _PIECE_BYTES * self.shape[0] // self.frame_bytes)
        for row in range(0, self.shape[0], rows):
            piece = slot[row : row + rows]
            np.copyto(piece, frame[row : row + rows])
            checksum.update(_little(piece).data)
        self.checksums[place] = checksum.intdigest()

    def sum_up(self, start: int, count: int, rows: Rows | None = None) -> None:
        """Compute the checksums of frames just written, or of the rows that were."""
        first = self.place(start)
        for slot in range(first, first + count):
            if rows is None:
                self.checksums[slot] = frame_checksum(self.frames[slot])
                continue
            checksum = xxhash.xxh3_64()
            for begin, end in rows:
                checksum.update(_little(self.frames[slot, begin:end]).data)
            self.checksums[slot] = checksum.intdigest()

    def seal(
        self, start: int, count: int, timestamps: ArrayLike, numbers: ArrayLike, digest: int
    ) -> int:
        """Note what belongs to frames that were summed up, and return the new digest."""
        first = self.place(start)
        stop = first + count
        self.timestamps[first:stop] = timestamps
        self.numbers[first:stop] = numbers
        self.digests[first:stop] = extend_digest(digest, self.checksums[first:stop])
        return int(self.digests[stop - 1])

    def readable(self, start: int, stop: int) -> tuple[NDArray[Any], slice]:
        """Return a read-only view of frames ``start`` on, up to `stop` or the seam, and its slots."""
        first = self.place(start)
        slots = slice(first, min(first + stop - start, self.capacity))
        return self._readable[slots], slots
