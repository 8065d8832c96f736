"""Frames as a PV of PV Access shows them, each once, in a queue of a given length."""

import threading
import time
from typing import Any

from concertino import CameraError
from concertino._extras import extra
from concertino.runtime._quiet_pv_access import quiet_pv_access

from ._pv_access import searched
from ._records import unanswered

_FIELDS = "value,codec,compressedSize,uniqueId,timeStamp,dimension"
_ANSWER_S = 5.0


class FrameMonitor:
    """Frames of one PV. A full queue lets the newest frame take the place of the one before: a gap in its numbers.

    Parameters
    ----------
    pv : str
        Name of the NTNDArray.

    Raises
    ------
    MissingExtraError
        If p4p is not installed.
    """

    def __init__(self, pv: str) -> None:
        with extra("areadetector", "An areaDetector's frames by PV Access"):
            from p4p.client.raw import Context
        quiet_pv_access()
        self.pv = pv
        self._context = Context("pva", useenv=True, nt=False)
        self._lock = threading.Lock()
        self._events = threading.Event()
        self._monitor: Any = None

    def open(self, queue_size: int) -> Any:
        """Begin to take what comes from now on, and return what the PV holds already.

        Parameters
        ----------
        queue_size : int
            Frames that may wait.

        Raises
        ------
        CameraError
            If the PV does not answer.
        """
        self.close()
        self._events.clear()
        with self._lock:
            self._monitor = self._context.monitor(
                self.pv,
                self._events.set,
                request=f"record[queueSize={queue_size}]field({_FIELDS})",
            )
        deadline_s = time.monotonic() + _ANSWER_S
        found: Any = None
        while time.monotonic() < deadline_s:
            found = self._pop(deadline_s - time.monotonic())
            if found is not None and not isinstance(found, Exception):
                return found
        self.close()
        why = found or "no such PV was found"
        raise unanswered(self.pv, "PV Access", _ANSWER_S, searched(self._context), why)

    def next(self, within_s: float) -> Any:
        """Return the next frame, or None if none came in time, or `wake` was called.

        Raises
        ------
        CameraError
            If the PV is gone.
        """
        found = self._pop(within_s)
        if isinstance(found, Exception):
            raise CameraError(
                f"{self.pv} is gone: its server closed the connection ({type(found).__name__}); it was found at "
                f"{searched(self._context)}. Check whether the IOC died, and its log; start it again."
            )
        return found

    def wake(self) -> None:
        """Let `next` return."""
        self._events.set()

    def close(self) -> None:
        """Take no more frames; harmless when none are taken."""
        with self._lock:
            if self._monitor is not None:
                self._monitor.close()
                self._monitor = None

    def _pop(self, within_s: float) -> Any:
        found = self._popped()
        if found is None and within_s > 0 and self._events.wait(within_s):
            self._events.clear()
            found = self._popped()
        return found

    def _popped(self) -> Any:
        with self._lock:
            return None if self._monitor is None else self._monitor.pop()
