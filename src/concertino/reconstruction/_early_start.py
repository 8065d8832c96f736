"""What can be computed before all frames are there is begun when they come."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._beside import Beside
from ._slice_maker import SliceMaker

if TYPE_CHECKING:
    from threading import RLock

_GAP_S = 0.001  # in which whoever waits for the lock gets it


class EarlyStart:
    """Has a maker of slices begin with what has come, unless somebody computes with it.

    Parameters
    ----------
    maker
        Which begins.
    lock
        Held by whoever computes with it.
    """

    def __init__(self, maker: SliceMaker, lock: "RLock") -> None:
        self._maker, self._lock = maker, lock
        self._beside: Beside | None = None

    def in_background(self) -> None:
        """From now on, begin in a thread of its own."""
        self._beside = Beside("reconstruction beside")

    def end(self) -> None:
        """Begin nothing more in the background with what came until now."""
        if self._beside is not None:
            self._beside.end()

    def begin(self) -> None:
        """Begin with what has come.

        Raises
        ------
        Exception
            What failed in the background since the last call.
        """
        if self._beside is None:
            self._begin_if_idle()
        else:
            self._beside.call(self._begin_in_steps)

    def _begin_in_steps(self, go_on: Callable[[], bool]) -> None:
        """Begin block by block: a caller that brings darks or flats, or reads slices, waits for one block at most."""
        while go_on() and self._begin_if_idle(most=1):
            time.sleep(_GAP_S)

    def _begin_if_idle(self, most: int | None = None) -> bool:
        """While others compute, the next ones, or they, find there what has come."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._maker.begin(most)
        finally:
            self._lock.release()
