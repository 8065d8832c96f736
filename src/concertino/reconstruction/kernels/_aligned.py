"""Memory that the compiled code works on."""

import math

import numpy as np
from numpy.typing import NDArray

from concertino.runtime._kept_memory import LARGE_BYTES, large_array


def aligned_zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Zeros in float32 that begin on a cache line; large ones as of `large_array`."""
    size = math.prod(shape) * 4
    if size >= LARGE_BYTES:
        return large_array(shape, zeros=True)
    raw = np.zeros(size + 64, np.uint8)
    offset = -raw.ctypes.data % 64
    return raw[offset : offset + size].view(np.float32).reshape(shape)
