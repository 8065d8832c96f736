"""Large arrays whose memory the next ones of a job take over, instead of new memory of the system."""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LARGE_BYTES = 2**22


def large_array(
    shape: tuple[int, ...], dtype: DTypeLike = np.float32, *, zeros: bool = False
) -> NDArray[Any]:
    """Return a new array, of zeros or of anything.

    A large one comes from the system and goes back to it, or to `kept_memory` while somebody asks for that. The C
    library would keep those of some threads for these threads, which are others with the next reconstruction. They are
    private: Linux has huge pages for these, and seldom for shared ones; with small pages, a large
    grid's columns cost a look into the page table for every row.

    Parameters
    ----------
    shape, dtype
        Of the array, which begins on a page if it is large.
    zeros
        Whether it is to be empty.
    """
    count = math.prod(shape)
    size = count * np.dtype(dtype).itemsize
    if size < LARGE_BYTES:
        return np.zeros(shape, dtype) if zeros else np.empty(shape, dtype)
    memory, is_new = _KEEPER.take(size)
    whole = np.frombuffer(memory, dtype, count)  # as long as there is any view of it
    _KEEPER.await_end(whole, memory)
    array = whole.reshape(shape)
    if zeros and not is_new:
        array.fill(0)
    return array


@contextlib.contextmanager
def kept_memory(rest_s: float = 0.0) -> Iterator[None]:
    """Keep the memory of large arrays for others of about their size, as long as the block lasts.

    The system clears each page that it gives away, which took a third of the time of a part of a
    reconstruction. There is never more than was in use at one time before.

    Parameters
    ----------
    rest_s
        How long it is kept for the next block, in s.
    """
    _KEEPER.begin()
    try:
        yield
    finally:
        _KEEPER.end(rest_s)


def kept_bytes() -> int:
    """Return the size of the memory that is kept and that no array has, in bytes."""
    return sum(map(len, list(_KEEPER.idle)))


class _Keeper:
    """The memory that this process keeps.

    Arrays end wherever the last reference goes, also within a call of these methods: what happens then takes no lock.
    """

    def __init__(self) -> None:
        self.idle: list[mmap.mmap] = []
        self._lock = threading.Lock()
        self._users = 0
        self._keeps = False
        self._timer: threading.Timer | None = None
        self._lent: dict[int, int] = {}  # bytes in use, by number
        self._numbers = 0
        self._most = 0  # bytes in use at one time

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            self._keeps = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def end(self, rest_s: float) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            if rest_s:
                self._timer = threading.Timer(rest_s, self._end_if_idle)
                self._timer.daemon = True
                self._timer.start()
                return
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        with self._lock:
            if not self._users:
                self._keeps = False
                self._most = 0
                self.idle.clear()

    def take(self, size: int) -> tuple[mmap.mmap, bool]:
        """Return memory of a size or some more, and whether it comes, empty, from the system."""
        for memory in sorted(self.idle, key=len):
            if size <= len(memory) <= 2 * size:
                with contextlib.suppress(ValueError):  # another thread was quicker
                    self.idle.remove(memory)
                    return memory, False
        # What is of no use makes room for what is new.
        while kept_bytes() + sum(list(self._lent.values())) + size > self._most and self.idle:
            with contextlib.suppress(IndexError):
                self.idle.pop(0)
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        return memory, True

    def await_end(self, array: NDArray[Any], memory: mmap.mmap) -> None:
        """Have the memory again when no view of an array is left."""
        if not self._keeps:
            return
        with self._lock:
            self._numbers += 1
            number = self._numbers
        self._lent[number] = len(memory)
        self._most = max(self._most, sum(list(self._lent.values())))
        weakref.finalize(array, self._take_back, memory, number).atexit = False

    def _take_back(self, memory: mmap.mmap, number: int) -> None:
        self._lent.pop(number, None)
        if self._keeps:
            self.idle.append(memory)
        if not self._keeps:  # the block ended meanwhile
            self.idle.clear()


_KEEPER = _Keeper()
