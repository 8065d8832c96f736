"""Memory that the compiled code works on."""

import contextlib
import mmap

import numpy as np
from numpy.typing import NDArray

_LARGE = 2**22  # bytes


def aligned_zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Zeros in float32 that begin on a cache line.

    Large ones come from the system and go back to it. The C library would keep those of some threads for these
    threads, which are others with the next reconstruction. They are private: Linux has huge pages for these, and seldom
    for shared ones; with small pages, a large grid's columns cost a look into the page table for every row.
    """
    size = int(np.prod(shape)) * 4
    if size >= _LARGE:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(memory, np.float32).reshape(shape)
    raw = np.zeros(size + 64, np.uint8)
    offset = -raw.ctypes.data % 64
    return raw[offset : offset + size].view(np.float32).reshape(shape)
