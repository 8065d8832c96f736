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
from concertino.devices.camera._camera_setting import (
    CameraSetting,
    IntegerSetting,
    NumberSetting,
    Region,
    trigger_mode,
)
from concertino.devices.camera._frame_shaping import shape_of, shaped, shaping_settings
from concertino.devices.camera._frame_source import CameraSettings, Grab
from concertino.frames import FrameRequest
from concertino.simulation import BeamlineState, Faults, Twin

StateAt = Callable[[float, float], BeamlineState]

_NO_NUMBERS = np.empty(0, np.int64)
#: How much more, or less, than the detector's own the gain may be.
_GAINS = 16.0


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

    Its settings: ``region``, ``binning`` (the counts of the binned pixels are averaged), ``mirror``, ``rotate``,
    ``bit_depth`` (of fewer bits the lowest are left out; of 8 or less a pixel is one byte), ``gain`` (counts per
    electron, a detected photon making one; from a sixteenth to sixteen times the detector's) and ``trigger_mode``.
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
        self._whole: NDArray[np.uint16] | None = (
            None  # a frame as the twin exposes it, if it is not what is given
        )
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

    def settings(self) -> tuple[CameraSetting, ...]:
        """Describe what can be set."""
        bits, gain = self.twin.detector.bit_depth, self.twin.detector.gain
        depths = tuple(sorted({depth for depth in (8, 12, 16) if depth <= bits} | {bits}))
        triggers = ("edge",) if self.trigger_input else ()
        return (
            *shaping_settings(self.twin.shape),
            IntegerSetting(name="bit_depth", value=bits, unit="bit", choices=depths),
            NumberSetting(
                name="gain",
                value=gain,
                unit="counts/electron",
                lowest=gain / _GAINS,
                highest=gain * _GAINS,
            ),
            trigger_mode(("internal", "software", *triggers)),
        )

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
        detector = self.twin.detector
        bits = settings.bit_depth or detector.bit_depth
        self.shape = shape_of(settings, self.twin.shape)
        self.dtype = np.dtype(np.uint8 if bits <= 8 else np.uint16)
        self.pixel_size_um = detector.pixel_size_mm * 1000 * settings.binning
        self._lost_bits = detector.bit_depth - bits
        plain = Region(0, 0, *self.twin.shape)
        as_exposed = (
            settings.region in (None, plain) and settings.binning == 1 and not self._lost_bits
            and settings.mirror == "none" and not settings.rotate and self.dtype == np.uint16
        )  # fmt: skip
        self._whole = None if as_exposed else np.empty(self.twin.shape, np.uint16)
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
        whole = out[0] if self._whole is None else self._whole
        self.twin.expose(
            state, self._settings.exposure_s, whole, number,
            kind=self._request.kind, gain=self._settings.number("gain"),
        )  # fmt: skip
        if self._whole is not None:
            out[0] = shaped(whole, self._settings) >> self._lost_bits
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
