"""When each frame of an acquisition was exposed: added to by one thread, asked by others."""

import threading

import numpy as np
from numpy.typing import NDArray

from concertino._clocks import CameraTimes

_FEW = 1024


class Exposures:
    """Numbers and times of frames, in two arrays that double when they are full.

    Whoever asks again and again for what is new pays for what is new, not for all that has been.
    """

    def __init__(self) -> None:
        self._count = 0
        self._numbers = np.empty(_FEW, np.int64)
        self._times_ns = np.empty(_FEW, np.int64)
        self._lock = threading.Lock()

    @property
    def first_number(self) -> int:
        """The camera's number of the first frame; 0 as long as there is none."""
        return int(self._numbers[0]) if self._count else 0

    def add(self, numbers: NDArray[np.int64], middles: CameraTimes) -> None:
        """Add frames.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
            The camera's numbers.
        middles : CameraTimes, shape (n,)
            Of the exposures.
        """
        with self._lock:
            stop = self._count + len(numbers)
            if stop > len(self._numbers):
                size = max(stop, 2 * len(self._numbers))
                self._numbers = _grown(self._numbers, size)
                self._times_ns = _grown(self._times_ns, size)
            self._numbers[self._count : stop] = numbers
            self._times_ns[self._count : stop] = middles.ns
            self._count = stop

    def since(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return copies of the numbers and times of the frames from one on."""
        with self._lock:
            new = slice(index, self._count)
            return self._numbers[new].copy(), self._times_ns[new].copy()


def _grown(array: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    larger = np.empty(size, np.int64)
    larger[: len(array)] = array
    return larger
