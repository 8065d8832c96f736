"""How much of the memory that a reconstruction may use is left for one part of it."""

import contextlib
import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from concertino.reconstruction import ReconstructionSettings, Reconstructor, reconstruct

# Of slices on their way to their files. Storing from a ring that the processor's cache holds takes half of the
# processor time that it takes from one of 256 MiB, and no longer: they are all there when the first is stored.
_RING_BYTES = 32 * 2**20
_LEAST_SLICES = 2  # the ring holds no fewer
GROUPS = (8, 4, 2)  # so many slices are computed as one
_LEAST_SHARE = 4  # a part has the n-th part of the limit, whatever the process holds already
# sums of darks and flats of both ends, what they are combined to, and what that takes meanwhile
_FLATS_BYTES_PER_PIXEL = 64
# `Reconstructor.memory_bytes` has them for all that is small; here they count once
_SMALL_BYTES = 2**24
_STATM = Path("/proc/self/statm")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGE_BYTES = 2**25  # the most that the library takes for its threshold


@dataclass(frozen=True)
class BatchMemory:
    """What the limit of a reconstruction is spent on.

    The limit is for the whole process. What it holds when the reconstruction begins counts, with all
    code that computes loaded; then come the slices that wait to be stored and the frames that are read,
    and a part has the rest. A process that is large already leaves a quarter of the limit.

    Attributes
    ----------
    limit : int
        Bytes in all.
    ring : int
        Bytes for slices that wait to be stored.
    part : int
        Bytes for one part at its peak.
    """

    limit: int
    ring: int
    part: int


def batch_memory(
    settings: ReconstructionSettings, reading: int, slice_bytes: int, dtype: DTypeLike | None
) -> BatchMemory:
    """Return what a reconstruction may spend.

    Parameters
    ----------
    settings
        With the limit; half of the machine's memory if it has none.
    reading
        Bytes of frames that are read at a time.
    slice_bytes
        Of a slice.
    dtype
        Of the frames: what computes is compiled for it, once on each computer. None: other processes
        compute, and the limit is that of a part there.
    """
    limit = settings.memory_limit_bytes
    ring = ring_bytes(settings, slice_bytes)
    if dtype is None:
        return BatchMemory(limit, ring, limit)
    load_what_computes(dtype)
    give_back()
    left = limit - resident_bytes() - ring - reading - _SMALL_BYTES
    return BatchMemory(limit, ring, max(left, limit // _LEAST_SHARE))


def ring_bytes(settings: ReconstructionSettings, slice_bytes: int) -> int:
    """Return the memory for slices that wait to be stored."""
    limit = settings.memory_limit_bytes
    return max(min(_RING_BYTES, limit // 16), _LEAST_SLICES * slice_bytes)


def with_memory(settings: ReconstructionSettings, part: int) -> ReconstructionSettings:
    """Return the settings for one part, with the memory that it may use."""
    return settings.updated(memory_gib=part / 2**30)


def bytes_of_part(reconstructor: Reconstructor, darks: int, flats: int) -> int:
    """Return the bytes that a part takes at its peak, beside what is small.

    Parameters
    ----------
    reconstructor
        Made for the part.
    darks, flats
        How many there are; a median needs all of them, twice.
    """
    settings = reconstructor.settings
    median = [
        count
        for count, how in ((darks, settings.darks), (flats, settings.flats))
        if how == "median"
    ]
    per_pixel = _FLATS_BYTES_PER_PIXEL + 8 * (sum(median) + max(median, default=0))
    pixels = len(reconstructor.rows) * reconstructor.frame_shape[1]
    return reconstructor.memory_bytes - _SMALL_BYTES + pixels * per_pixel


def give_back() -> None:
    """Have the C library give free memory back to the system, where it can.

    What threads of one part freed is not what those of the next one take: without this the process grew by
    a tenth of a part's memory with each.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no GNU system
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Return the memory that this process has, as far as the system tells; else 0."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def use_memory_again() -> None:
    """Have the C library keep freed memory for the next array in a worker that dask started.

    dask sets ``MALLOC_TRIM_THRESHOLD_``, with which the GNU library gets each array from the system and
    gives it back: a reconstruction took a fifth to a half more processor time, in page faults. These thresholds
    are those which the library comes to by itself where nobody sets one; `give_back` gives back after a part.
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        with contextlib.suppress(OSError, AttributeError, TypeError):  # no GNU system
            library = ctypes.CDLL(None)
            library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
            library.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE_BYTES)


def load_what_computes(dtype: DTypeLike) -> None:
    """Load compiled code, which is some hundred megabytes, before what is there is counted.

    Where it has to be compiled first, the compiler takes a hundred more and keeps them.
    """
    reconstruct(
        np.ones((4, GROUPS[0], 8), dtype),
        np.arange(4) * np.pi / 4,
        flats=np.ones((1, GROUPS[0], 8), dtype),
        settings=ReconstructionSettings(center=3.5, threads=1),
    )
