"""A camera that sees what the simulated beamline does at the time of each exposure."""

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino.devices.camera._frame_source import CameraSettings, Grab
from concertino.frames import FrameRequest
from concertino.simulation import BeamlineState, Faults, Twin

StateAt = Callable[[float, float], BeamlineState]

_NO_NUMBERS = np.empty(0, np.int64)


@dataclass(frozen=True)
class _Exposure:
    """What the camera saw in one exposure; no state if it was lost."""

    index: int
    middle_ns: int
    state: BeamlineState | None


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
    memory_bytes : int
        Size in bytes of a memory of its own, from which frames can be read out later; 0 for none.
    readout_rate_hz : float
        Frames that it reads out of that memory in a second; 0 for as fast as it can.

    Notes
    -----
    Frames are computed after their exposure, for the times at which they were due. A twin that
    needs longer than a frame period delivers them late, not wrong. Its memory keeps what the devices
    did during each exposure, and the frame is computed when it is read out.
    """

    first_number = 0

    def __init__(
        self,
        twin: Twin,
        state_at: StateAt,
        faults: Faults | None = None,
        name: str = "camera",
        *,
        memory_bytes: int = 0,
        readout_rate_hz: float = 0.0,
    ) -> None:
        if memory_bytes < 0 or not 0 <= readout_rate_hz < math.inf:
            raise CameraError(
                f"Camera {name} was given a memory of {memory_bytes} bytes and a read-out of "
                f"{readout_rate_hz:g} frames/s; give finite numbers of 0 or more."
            )
        self.twin = twin
        self.faults = faults or Faults()
        self.shape = twin.shape
        self.dtype: np.dtype[Any] = np.dtype(np.uint16)
        self.pixel_size_um = twin.detector.pixel_size_mm * 1000
        self.memory_bytes = memory_bytes
        self.readout_rate_hz = readout_rate_hz
        self._memory: deque[_Exposure] = deque()
        self._name = name
        self._state_at = state_at
        self._stopped = threading.Event()
        self._triggers = threading.Semaphore(0)
        self._edges: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._index = 0
        self._busy_until_s = 0.0
        #: Whether something that gives pulses is connected.
        self.trigger_input = False

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Take over a request; compiles the twin's loops the first time.

        Raises
        ------
        CameraError
            For a trigger that a simulated camera cannot have.
        """
        if request.trigger == "edge" and not self.trigger_input:
            raise CameraError(
                f"Camera {self._name} was asked for external triggers; the simulated camera has no "
                "trigger input. Use 'internal' or 'software'."
            )
        self._request, self._settings = request, settings
        self.twin.warm_up()

    def start(self) -> None:
        """Begin to expose, or to wait for triggers."""
        self._index = self._read_out = 0
        self._memory.clear()
        self._triggers = threading.Semaphore(0)
        self._edges = queue.SimpleQueue()
        self._busy_until_s = 0.0
        self._stopped.clear()
        self._start_s = time.time()

    def trigger(self) -> None:
        """Start one exposure."""
        self._triggers.release()

    def stop(self) -> None:
        """Stop exposing."""
        self._stopped.set()
        self._triggers.release()
        self._edges.put(math.inf)

    def edge(self, time_s: float) -> None:
        """Take a pulse at the trigger input, at a time in seconds since the epoch."""
        self._edges.put(time_s)

    def record(self) -> int:
        """Expose one frame into the memory.

        Raises
        ------
        CameraError
            When the faults say that the camera dies.
        """
        exposure = self._expose()
        if exposure is not None:
            self._memory.append(exposure)
        return self._index

    def grab(self, out: NDArray[Any]) -> Grab:
        """Expose and compute one frame, or read one out of the memory.

        Raises
        ------
        CameraError
            When the faults say that the camera dies.
        """
        later = self._request.readout == "later"
        exposure = self._recorded() if later else self._expose()
        if exposure is None:
            return Grab(_NO_NUMBERS, _NO_NUMBERS)
        index, state = exposure.index, exposure.state
        if state is None:
            return Grab(_NO_NUMBERS, _NO_NUMBERS, (index,))
        # The noise is that of the frame of the scan, also when the stream continues another.
        number = self._request.first + index
        self.twin.expose(state, self._settings.exposure_s, out[0], number, kind=self._request.kind)
        return Grab(np.array([exposure.middle_ns], np.int64), np.array([index], np.int64))

    def _expose(self) -> _Exposure | None:
        """Wait for the next exposure to end; None when stopped."""
        begin_s = self._next_exposure()
        if self._stopped.is_set() or math.isinf(begin_s):
            return None
        if not self._sleep_until(begin_s + self._settings.exposure_s):
            return None
        index = self._index
        self._index += 1
        if self._request.trigger == "edge" and begin_s < self._busy_until_s:
            return _Exposure(index, 0, None)  # A pulse during an exposure takes no frame.
        self._busy_until_s = begin_s + self._settings.exposure_s - 1e-5
        if self.faults.dies(index):
            raise CameraError(
                f"Camera {self._name} died: it stopped answering at frame {index} of "
                f"{self._request.kind}."
            )
        self._stopped.wait(self.faults.delay_s(index))
        end_s = begin_s + self._settings.exposure_s
        state = None if self.faults.drops(index) else self._state_at(begin_s, end_s)
        return _Exposure(index, int((begin_s + end_s) / 2 * 1e9), state)

    def _recorded(self) -> _Exposure | None:
        """Wait until the next frame of the memory is read out; None when stopped, or at its end."""
        if not self._read_out:
            self._read_out_s = time.time()
        self._read_out += 1
        if self.readout_rate_hz:
            self._sleep_until(self._read_out_s + self._read_out / self.readout_rate_hz)
        if self._stopped.is_set() or not self._memory:
            return None
        exposure = self._memory.popleft()
        if self.faults.dies_in_readout(exposure.index):
            raise CameraError(
                f"Camera {self._name} died: it stopped answering while frame {exposure.index} of "
                f"{self._request.kind} was read out of its memory."
            )
        return exposure

    def _next_exposure(self) -> float:
        """Return when the next exposure begins, in seconds since the epoch."""
        if self._request.trigger == "software":
            self._triggers.acquire()
            return time.time()
        if self._request.trigger == "edge":
            return self._edges.get()
        if not self._settings.frame_rate_hz:
            # As fast as possible: a frame begins when the one before is read out.
            return time.time()
        return self._start_s + self._index / self._settings.frame_rate_hz

    def _sleep_until(self, when_s: float) -> bool:
        left_s = when_s - time.time()
        return not (left_s > 0 and self._stopped.wait(left_s))
