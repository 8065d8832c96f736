"""How much of some slices is computed, for whoever waits for them."""

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

_PERIOD_S = 0.1


class SliceProgress:
    """Counted by the threads that compute, told by the one that waits for them.

    Parameters
    ----------
    tell
        Called with the share that is done, from 0 to 1, in the thread that made this, ten times a second at most.
        None: nobody wants to know.
    """

    def __init__(self, tell: Callable[[float], Any] | None = None) -> None:
        self._tell = tell
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._done = self._told = 0.0
        self._told_s = time.monotonic()

    @property
    def left(self) -> float:
        """The share that is not yet done."""
        return 1.0 - self._done

    def add(self, share: float) -> None:
        """Note that one more share of the whole is done; from any thread."""
        with self._lock:
            self._done = min(1.0, self._done + share)
        if threading.get_ident() == self._thread:
            self._say()

    def end(self) -> None:
        """Say that all is done."""
        self._done, self._told_s = 1.0, 0.0
        self._say()

    def wait(self, futures: Iterable["Future[Any]"]) -> None:
        """Wait for what is computed in other threads, and tell meanwhile how far it is.

        The first error is raised; what has not begun then is left undone.
        """
        waiting = list(futures)
        try:
            for future in waiting:
                while not concurrent.futures.wait([future], self._patience_s).done:
                    self._say()
                future.result(0)  # it is done
                self._say()
        finally:
            for future in waiting:
                future.cancel()

    @property
    def _patience_s(self) -> float | None:
        """How long to wait before looking again; a thread that tells nobody need not wake."""
        tells = self._tell is not None and threading.get_ident() == self._thread
        return _PERIOD_S if tells else None

    def _say(self) -> None:
        if self._tell is None or threading.get_ident() != self._thread:
            return
        now_s = time.monotonic()
        if now_s - self._told_s >= _PERIOD_S and self._done > self._told:
            self._told, self._told_s = self._done, now_s
            self._tell(self._told)
