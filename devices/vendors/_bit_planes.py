"""Compiled step from bit planes, as bitshuffle stores them, to pixels."""

import numpy as np
from numba import njit

from concertino.runtime._code_cache import keep_compiled_code

keep_compiled_code(__file__)


@njit(nogil=True, cache=True, error_model="numpy")
def gather_bits(planes, size, block, out):  # type: ignore[no-untyped-def]
    """Undo bitshuffle in (byte,), block by block, for elements of `size` bytes.

    Within a block of n elements the bit k of their bytes b is a row of n / 8 bytes: row 8 b + k. What is left
    after the last whole group of 8 elements was never shuffled, and is not touched.
    """
    group = 8 * size
    start = 0
    while start + group <= len(out):
        length = min(block, (len(out) - start) // group * group)
        row = length // group
        for byte in range(size):
            first = start + byte * 8 * row
            for column in range(row):
                bits = np.uint64(0)
                for plane in range(8):
                    bits |= np.uint64(planes[first + plane * row + column]) << np.uint64(8 * plane)
                # Three steps turn a square of 8 x 8 bits over its diagonal.
                swap = (bits ^ (bits >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
                bits = bits ^ swap ^ (swap << np.uint64(7))
                swap = (bits ^ (bits >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
                bits = bits ^ swap ^ (swap << np.uint64(14))
                swap = (bits ^ (bits >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
                bits = bits ^ swap ^ (swap << np.uint64(28))
                place = start + column * group + byte
                for element in range(8):
                    out[place + element * size] = np.uint8(bits >> np.uint64(8 * element))
        start += length
