"""A ring in memory that processes of this computer share."""

from __future__ import annotations

import mmap
import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import FrameStreamError

from ._ring import Ring


class SharedRing(Ring):
    """A ring whose frames other processes of the same user can map, to read only.

    It lies in an anonymous file in memory (``memfd``), which other processes open by way of this
    process (``/proc/<pid>/fd/<n>``). So there is no name that could be left behind: the memory is
    gone when the last process that maps it is, however it ends.
    """

    def _allocate(self) -> NDArray[Any]:
        size = self.capacity * self.frame_bytes
        try:
            descriptor = os.memfd_create("concertino-frames", os.MFD_CLOEXEC)
        except (AttributeError, OSError) as error:
            raise FrameStreamError(
                f"This system gives no shared memory ({error}); use a tcp:// address."
            ) from error
        weakref.finalize(self, os.close, descriptor)
        try:
            # All of it now: memory that is missing later would kill the process.
            os.posix_fallocate(descriptor, 0, size)
            memory = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        except OSError as error:
            raise FrameStreamError(
                f"{size / 2**20:.0f} MiB of shared memory for a ring of {self.capacity} frames "
                f"cannot be had: {error.strerror}. Give a smaller ring_bytes."
            ) from error
        self.path = f"/proc/{os.getpid()}/fd/{descriptor}"
        return np.frombuffer(memory, self.dtype).reshape(self.capacity, *self.shape)


def map_frames(
    path: str, capacity: int, shape: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Map the frames of another process's ring, to read only.

    Parameters
    ----------
    path : str
        Of the memory.
    capacity : int
        Frames that the ring holds.
    shape : tuple of int
        Frame shape (height, width) in pixels.
    dtype : dtype
        Type of a pixel.

    Returns
    -------
    ndarray, shape (capacity, height, width)

    Raises
    ------
    FrameStreamError
        If this process cannot reach that memory.
    """
    size = capacity * shape[0] * shape[1] * dtype.itemsize
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor).st_size
            if found < size:
                raise FrameStreamError(
                    f"The shared memory of a ring at {path} has {found} bytes; {size} were announced."
                )
            memory = mmap.mmap(
                descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ
            )
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FrameStreamError(
            f"The shared memory of the ring at {path} cannot be opened: {error.strerror}. A "
            "subscriber in another container or of another user needs a tcp:// address."
        ) from error
    return np.frombuffer(memory, dtype).reshape(capacity, *shape)
