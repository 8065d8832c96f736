"""Slices that worker processes of this computer put where this one sees them."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import stat
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TOKEN_BYTES = 16
_AT_ONCE = 2**26  # bytes

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class SlicesPlace:
    """Where a worker may put the slices of its part.

    Attributes
    ----------
    path
        Of the memory, on the computer that offers it.
    token
        What stands at its beginning: elsewhere the path may be that of something else.
    size
        Bytes of the whole memory.
    start
        Where in it the part begins, in bytes.
    shape
        Of the part, (slice, y, x).
    """

    path: str
    token: bytes
    size: int
    start: int
    shape: Shape

    def put(self, volume: NDArray[np.float32]) -> bool:
        """Write slices there; False if this process does not see the place, or memory is short."""
        if volume.shape != self.shape or volume.dtype != np.float32:
            return False
        try:
            found = os.stat(self.path)
            if not stat.S_ISREG(found.st_mode) or found.st_size != self.size:
                return False
            file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if os.pread(file, _TOKEN_BYTES, 0) != self.token:
                    return False
                content, done = np.ascontiguousarray(volume).reshape(-1).view(np.uint8).data, 0
                while done < len(content):
                    piece = content[done : done + _AT_ONCE]
                    done += os.pwrite(file, piece, self.start + done)
            finally:
                os.close(file)
        except OSError:
            return False
        return True


class SharedSlices:
    """Memory for the slices of all parts of a reconstruction, each of which a worker writes.

    It is an anonymous file in memory (``memfd``) that other processes of the user open by way of this
    one (``/proc/<pid>/fd/<n>``): no name is left behind, and the memory is gone with this process, however it
    ends. A part takes memory from when it is written until it is forgotten, and no place is used
    twice: a worker that was given up and writes late writes to nobody's slices but its own part's.

    Parameters
    ----------
    shapes
        Of each part, (slice, y, x).
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = [tuple(map(int, shape)) for shape in shapes]
        page = mmap.ALLOCATIONGRANULARITY
        bytes_of = [-(-self._bytes(number) // page) * page for number in range(len(shapes))]
        ends = np.cumsum([page, *bytes_of], dtype=np.int64)
        self._starts, self._size = ends[:-1].tolist(), int(ends[-1])
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._file: int | None = None
        with contextlib.suppress(AttributeError, OSError):  # slices come by way of dask then
            file = os.memfd_create("concertino-slices", os.MFD_CLOEXEC)
            weakref.finalize(self, os.close, file)
            os.ftruncate(file, self._size)
            os.pwrite(file, self._token, 0)
            self._file = file

    def place(self, number: int) -> SlicesPlace | None:
        """Return where a part's slices may be put; None where the system has no such memory to give."""
        if self._file is None:
            return None
        path = f"/proc/{os.getpid()}/fd/{self._file}"
        start, (slices, height, width) = self._starts[number], self._shapes[number]
        return SlicesPlace(path, self._token, self._size, start, (slices, height, width))

    def slices(self, number: int) -> NDArray[np.float32]:
        """Return the slices that a worker put there; they are there until the part is forgotten."""
        shape = self._shapes[number]
        return np.frombuffer(self._map(number), np.float32, int(np.prod(shape))).reshape(shape)

    def forget(self, number: int) -> None:
        """Give the memory of a part back."""
        if self._file is not None and sys.platform == "linux":
            with self._map(number) as memory:
                memory.madvise(mmap.MADV_REMOVE)

    def _map(self, number: int) -> mmap.mmap:
        assert self._file is not None
        return mmap.mmap(self._file, self._bytes(number), offset=self._starts[number])

    def _bytes(self, number: int) -> int:
        return 4 * int(np.prod(self._shapes[number], dtype=np.int64))
