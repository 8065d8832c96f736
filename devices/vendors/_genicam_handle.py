"""A camera of Aravis that is freed when it was given up and no thread is in a call of it any more."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from concertino import CameraError

#: How long giving it up waits for others' calls, in s: Aravis asks a camera that does not answer for about 3 s.
_CALL_S = 10.0


class GenicamHandle:
    """Counts the calls that threads are in.

    Parameters
    ----------
    camera : int
        Address of Aravis' object.
    free : callable
        Frees the object.
    """

    def __init__(self, camera: int, free: Callable[[int], object]) -> None:
        self._camera, self._free = camera, free
        self._changed = threading.Condition()
        self._calls = 0
        self._closed = self._freed = False

    @property
    def closed(self) -> bool:
        """Whether it was given up."""
        return self._closed

    @contextmanager
    def used(self) -> Iterator[int]:
        """Give the object's address, and keep the object until the call has returned.

        Raises
        ------
        CameraError
            If it was given up.
        """
        with self._changed:
            if self._closed:
                raise CameraError("The camera was closed. Prepare it again: that opens it.")
            self._calls += 1
        try:
            yield self._camera
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()
            if self._closed:
                self._free_once()

    def close(self) -> None:
        """Free the object as soon as no call uses it: the last call does, if that takes long."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._calls, _CALL_S)
        self._free_once()

    def _free_once(self) -> None:
        with self._changed:
            if self._calls or self._freed:
                return
            self._freed = True
        self._free(self._camera)
