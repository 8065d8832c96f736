"""Grey values of 10 and 12 bit that lie side by side without a gap, as cameras send them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Packing:
    """How pixels lie in their bytes.

    Parameters
    ----------
    bits : int
        Of a pixel: 10 or 12.
    in_pairs : bool
        Two pixels lie in three bytes: the upper eight bits of each in the first and the last byte, what is left of both
        in the middle one, as GigE Vision has it (``Mono12Packed``). Else they follow one another, the lowest bits
        first, as GenICam's Pixel Format Naming Convention has it (``Mono12p``).
    """

    bits: int
    in_pairs: bool

    def nbytes(self, count: int) -> int:
        """Return how many bytes so many pixels take."""
        return -(-count // 2) * 3 if self.in_pairs else -(-count * self.bits // 8)

    def unpacked(self, data: NDArray[np.uint8], count: int) -> NDArray[np.uint16]:
        """Return pixels.

        Parameters
        ----------
        data : ndarray of uint8, shape (n,)
            At least ``nbytes(count)`` bytes.
        count : int
            How many pixels.

        Returns
        -------
        ndarray of uint16, shape (count,)
        """
        # So many bytes hold a whole number of pixels.
        size, pixels = (3, 2) if self.in_pairs or self.bits == 12 else (5, 4)
        groups = -(-count // pixels)
        padded = np.zeros(groups * size, np.uint8)
        present = self.nbytes(count)
        padded[:present] = data[:present]
        parts = padded.reshape(groups, size).astype(np.uint16)
        found = np.empty((groups, pixels), np.uint16)
        for index in range(pixels):
            if self.in_pairs:
                low = self.bits - 8
                rest = parts[:, 1] >> np.uint16(4 * index) & np.uint16(2**low - 1)
                found[:, index] = parts[:, 2 * index] << np.uint16(low) | rest
            else:
                byte, shift = divmod(index * self.bits, 8)
                low_bits = parts[:, byte] >> np.uint16(shift)
                high_bits = parts[:, byte + 1] << np.uint16(8 - shift)
                found[:, index] = (low_bits | high_bits) & np.uint16(2**self.bits - 1)
        return found.reshape(-1)[:count]


#: By their names in GenICam.
PACKINGS = {
    "Mono10p": Packing(10, in_pairs=False),
    "Mono12p": Packing(12, in_pairs=False),
    "Mono10Packed": Packing(10, in_pairs=True),
    "Mono12Packed": Packing(12, in_pairs=True),
}
