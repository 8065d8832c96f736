"""A camera that sees what the simulated beamline does at the time of each exposure."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino.frames import FrameRequest
from concertino.simulation import BeamlineState, Faults, Twin

from ._frame_source import CameraSettings, Grab

StateAt = Callable[[float, float], BeamlineState]


class SimulatedSource:
    """Exposes a digital twin.

    Parameters
    ----------
    twin : Twin
        What the camera sees.
    state_at : callable
        Gives the `BeamlineState` between two times in seconds since the epoch.
    faults : Faults, optional
        What goes wrong.
    name : str
        Name of the camera in messages.

    Notes
    -----
    Frames are computed after their exposure, for the times at which they were due. A twin that
    needs longer than a frame period delivers them late, not wrong.
    """

    def __init__(
        self, twin: Twin, state_at: StateAt, faults: Faults | None = None, name: str = "camera"
    ) -> None:
        self.twin = twin
        self.faults = faults or Faults()
        self.shape = twin.shape
        self.dtype: np.dtype[Any] = np.dtype(np.uint16)
        self.pixel_size_um = twin.detector.pixel_size_mm * 1000
        self._name = name
        self._state_at = state_at
        self._stopped = threading.Event()
        self._triggers = threading.Semaphore(0)
        self._index = 0

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Take over a request; compiles the twin's loops the first time.

        Raises
        ------
        CameraError
            For a trigger that a simulated camera cannot have.
        """
        if request.trigger == "edge":
            raise CameraError(
                f"Camera {self._name} was asked for external triggers; the simulated camera has no "
                "trigger input. Use 'internal' or 'software'."
            )
        self._request, self._settings = request, settings
        self.twin.warm_up()

    def start(self) -> None:
        """Begin to expose, or to wait for triggers."""
        self._index = 0
        self._triggers = threading.Semaphore(0)
        self._stopped.clear()
        self._start_s = time.time()

    def trigger(self) -> None:
        """Start one exposure."""
        self._triggers.release()

    def stop(self) -> None:
        """Stop exposing."""
        self._stopped.set()
        self._triggers.release()

    def grab(self, out: NDArray[Any]) -> Grab:
        """Expose and compute one frame.

        Raises
        ------
        CameraError
            When the faults say that the camera dies.
        """
        begin_s = self._next_exposure()
        if self._stopped.is_set() or not self._sleep_until(begin_s + self._settings.exposure_s):
            return Grab(np.empty(0, np.int64), np.empty(0, np.int64))
        index = self._index
        self._index += 1
        if self.faults.dies(index):
            raise CameraError(
                f"Camera {self._name} died: it stopped answering at frame {index} of "
                f"{self._request.kind}."
            )
        self._stopped.wait(self.faults.delay_s(index))
        if self.faults.drops(index):
            return Grab(np.empty(0, np.int64), np.empty(0, np.int64), (index,))
        end_s = begin_s + self._settings.exposure_s
        state = self._state_at(begin_s, end_s)
        self.twin.expose(state, self._settings.exposure_s, out[0], index, kind=self._request.kind)
        middle_ns = int((begin_s + end_s) / 2 * 1e9)
        return Grab(np.array([middle_ns], np.int64), np.array([index], np.int64))

    def _next_exposure(self) -> float:
        """Return when the next exposure begins, in seconds since the epoch."""
        if self._request.trigger == "software":
            self._triggers.acquire()
            return time.time()
        if not self._settings.frame_rate_hz:
            # As fast as possible: a frame begins when the one before is read out.
            return time.time()
        return self._start_s + self._index / self._settings.frame_rate_hz

    def _sleep_until(self, when_s: float) -> bool:
        left_s = when_s - time.time()
        return not (left_s > 0 and self._stopped.wait(left_s))
