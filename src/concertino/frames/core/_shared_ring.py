"""A ring in memory that processes of this computer share."""

from __future__ import annotations

import mmap
import os
import stat
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import DTypeLike, NDArray

from concertino._errors import FrameStreamError

from ._messages import Memory
from ._ring import Ring

_PAGE = 4096
_GENERATION = 0
_PUBLISHED = 64
_OFFSET = 128
_RESERVED = 192
#: A page that is new costs about 2 µs: with frames of this size that would be felt on the first lap of the ring.
_LARGE_FRAME_BYTES = 2**14


def this_computer() -> str:
    """Return what tells this computer from others, and a container or namespace from its host."""
    found = []
    with suppress(OSError):
        found.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        found += [str(os.stat(f"/proc/self/ns/{kind}").st_ino) for kind in ("pid", "net")]
    return "/".join(found)


def ring_for(
    shape: tuple[int, int], dtype: DTypeLike, max_bytes: int, old: Ring | None = None
) -> Ring:
    """Return a ring for the frames of a stream: `old` if it serves, else a new one.

    Raises
    ------
    FrameStreamError
        If there cannot be one.
    """
    if old is not None and old.fits(shape, dtype, max_bytes):
        return old
    return SharedRing(shape, dtype, max_bytes)


class SharedRing(Ring):
    """A ring that other processes of the same user can map, to read only.

    It lies in an anonymous file in memory (``memfd``), which other processes open by way of this
    process (``/proc/<pid>/fd/<n>``). So there is no name that could be left behind: the memory is
    gone when the last process that maps it is, however it ends.
    """

    def _allocate(self) -> None:
        headers = _PAGE, _PAGE + _pages(8 * self.capacity), _PAGE + 2 * _pages(8 * self.capacity)
        frames = _PAGE + 3 * _pages(8 * self.capacity)
        size = frames + self.capacity * self.frame_bytes
        try:
            self._descriptor = os.memfd_create("concertino-frames", os.MFD_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor)
        except (AttributeError, OSError):
            self._descriptor = -1  # This system gives no such memory: pixels will have to travel.
        self._is_whole = self.frame_bytes >= _LARGE_FRAME_BYTES
        try:
            if self._descriptor >= 0 and self._is_whole:
                os.posix_fallocate(self._descriptor, 0, size)
            elif self._descriptor >= 0:
                os.ftruncate(self._descriptor, size)
            memory = mmap.mmap(self._descriptor, size)
        except OSError as error:
            raise FrameStreamError(
                f"{size / 2**20:.0f} MiB of shared memory for a ring of {self.capacity} frames "
                f"cannot be had: {error.strerror}. Give a smaller ring_bytes."
            ) from error
        if (
            self._is_whole
        ):  # Pages that are looked up now cost no frame; other threads go on meanwhile.
            np.frombuffer(memory, np.uint8)[::_PAGE] = 0
        self._generation = np.frombuffer(memory, np.int64, 1, _GENERATION)
        self._published = np.frombuffer(memory, np.int64, 1, _PUBLISHED)
        self._first_slot = np.frombuffer(memory, np.int64, 1, _OFFSET)
        self._reserved = np.frombuffer(memory, np.int64, 1, _RESERVED)
        self.timestamps = np.frombuffer(memory, np.int64, self.capacity, headers[0])
        self.numbers = np.frombuffer(memory, np.int64, self.capacity, headers[1])
        self.checksums = np.frombuffer(memory, np.uint64, self.capacity, headers[2])
        count = self.capacity * self.shape[0] * self.shape[1]
        pixels: NDArray[Any] = np.frombuffer(memory, self.dtype, count, frames)
        self.frames = pixels.reshape(self.capacity, *self.shape)
        self._places = Memory(
            path=f"/proc/{os.getpid()}/fd/{self._descriptor}",
            bytes=size,
            generation=0,
            published=_PUBLISHED,
            offset=_OFFSET,
            reserved=_RESERVED,
            timestamps=headers[0],
            numbers=headers[1],
            checksums=headers[2],
            frames=frames,
        )

    def lend(self) -> Memory | None:
        """Return what lies where, for other processes to map; None if nothing can be lent.

        The memory of small frames is taken as they come, and all of it when it is first lent: what is missing
        later would kill the processes that read it.
        """
        if self._descriptor < 0:
            return None
        if not self._is_whole:
            try:
                os.posix_fallocate(self._descriptor, 0, self._places.bytes)
            except OSError:
                return None
            self._is_whole = True
        return replace(self._places, generation=int(self._generation[0]))

    def begin(self) -> None:
        """Serve another stream from now on: readers of the last one see that it is over."""
        self._generation += 1
        self._published[0] = self._reserved[0] = 0
        super().begin()

    def place_first(self, slot: int) -> None:
        """Have the frames of the stream lie from a slot on, for those who map the ring, too."""
        super().place_first(slot)
        self._first_slot[0] = self._offset

    def warn(self, stop: int) -> None:
        """Let those who map the ring see what is written to, before it is."""
        self._reserved[0] = stop

    def announce(self, published: int) -> None:
        """Let those who map the ring see how many frames are published."""
        self._published[0] = published


class MappedRing:
    """The ring of another process, to read only.

    Parameters
    ----------
    places : Memory
        What lies where: from `SharedRing.lend`.
    capacity : int
        Frames that the ring holds.
    shape : tuple of int
        Frame shape (height, width) in pixels.
    dtype : dtype
        Type of a pixel.

    Raises
    ------
    FrameStreamError
        If this process cannot reach that memory.
    """

    def __init__(
        self,
        places: Memory,
        capacity: int,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
    ) -> None:
        path, size = places.path, places.bytes
        memory = _mapped(path, size)
        self.path = path
        self.capacity = capacity
        self._stream = places.generation

        def lies(kind: DTypeLike, count: int, place: int) -> NDArray[Any]:
            try:
                return np.frombuffer(memory, kind, count, place)
            except (ValueError, OverflowError) as error:
                raise FrameStreamError(
                    f"The shared memory of the ring at {path} has {size} bytes, not what was "
                    f"announced to lie at byte {place}: {error}. Update the publisher or this side, "
                    "whichever is the older."
                ) from error

        self._generation = lies(np.int64, 1, _GENERATION)
        self._published = lies(np.int64, 1, places.published)
        # Publishers of other make may have nothing to tell: their frames begin with slot 0.
        self._first_slot = (
            np.zeros(1, np.int64) if places.offset is None else lies(np.int64, 1, places.offset)
        )
        self._reserved = (
            np.zeros(1, np.int64) if places.reserved is None else lies(np.int64, 1, places.reserved)
        )
        self._timestamps = lies(np.int64, capacity, places.timestamps)
        self._numbers = lies(np.int64, capacity, places.numbers)
        self._checksums = lies(np.uint64, capacity, places.checksums)
        pixels = lies(dtype, capacity * shape[0] * shape[1], places.frames)
        self.frames = pixels.reshape(capacity, *shape)

    @property
    def published(self) -> int:
        """How many frames are published; -1 when the ring serves another stream."""
        published = int(self._published[0])
        return published if int(self._generation[0]) == self._stream else -1

    def intact(self, index: int) -> bool:
        """Tell whether nothing has been written into the slot of a frame since it was published."""
        over = int(self._reserved[0]) > index + self.capacity
        return not over and int(self._generation[0]) == self._stream

    def readable(
        self, start: int, stop: int
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
        """Return frames ``start`` on, up to `stop` or the seam, and copies of what belongs to them."""
        first = (start + int(self._first_slot[0])) % self.capacity
        slots = slice(first, min(first + stop - start, self.capacity))
        return (
            self.frames[slots],
            self._timestamps[slots].copy(),
            self._numbers[slots].copy(),
            self._checksums[slots].copy(),
        )


def _mapped(path: str, size: int) -> mmap.mmap:
    """Map the memory of another process, to read only.

    Raises
    ------
    FrameStreamError
        If this process cannot reach it, or it is not as large.
    """
    try:
        # What is no plain file might have this wait for ever, or the process killed.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FrameStreamError(
                    f"The shared memory of a ring at {path} is no file that can be mapped. Use "
                    "the address in the descriptor of a run that goes on."
                )
            if status.st_size < size:
                raise FrameStreamError(
                    f"The shared memory of a ring at {path} has {status.st_size} bytes; {size} were "
                    "announced. Use the address in the descriptor of a run that goes on."
                )
            return mmap.mmap(
                descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ
            )
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise FrameStreamError(
            f"The shared memory of the ring at {path} cannot be opened: "
            f"{(isinstance(error, OSError) and error.strerror) or error}. Check that its publisher still runs, "
            "on this computer and as a user who lets you read it."
        ) from error


def _pages(size: int) -> int:
    """Return a size rounded up to whole pages."""
    return -(-size // _PAGE) * _PAGE
