"""An areaDetector as a source of frames: armed by its driver's records, read by PV Access."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino.devices.camera._camera_setting import CameraSetting
from concertino.devices.camera._frame_source import CameraSettings, Grab
from concertino.frames import FrameRequest

from ._driver import Driver
from ._frame_monitor import FrameMonitor
from ._ndarray import dtype_of, read_pixels, shape_of
from ._source_settings import describe, has_region, take_over, trigger_words

#: How long no frame comes before the driver is asked what it does, in seconds.
_LOOK_S = 0.1
#: A counter of 32 bits is set back in time.
_MOST_COUNTED = 2**30
_QUEUE_BYTES, _QUEUE_LEAST, _QUEUE_MOST = 256 * 2**20, 8, 1024
#: By how much the clocks of an IOC and of this computer may differ, in ns.
_CLOCKS_NS = 10**9


@dataclass(frozen=True)
class AreaDetectorOptions:
    """How one areaDetector differs from another.

    Parameters
    ----------
    trigger_modes : mapping of str to str
        The words of the record TriggerMode for ``internal``, ``software``, ``edge`` and ``level``, where they are not
        ADBase's Internal, Internal and External, and for ``level`` Bulb, External Enable or another well-known one. With
        software triggers each image is an acquisition of its own.
    first_id : int or None
        The ``uniqueId`` of the first image after ArrayCounter was 0: 1 in most drivers. None for a driver
        whose numbers follow no counter: which of its frames was lost is then known only after the first that came.
    stamps : {"end", "start", "arrival"}
        What the time stamps of the frames are, by the IOC's clock, which must be right to a second and should be to a
        millisecond; ``"arrival"`` for when a frame comes here, where the IOC has no such clock.
    queue_size : int, optional
        Frames that may wait before they are copied; by default what 256 MiB hold, 8 to 1024.
    settle_s : float
        How long after the driver has ended, and after the last frame that came, more frames may come, in seconds.
        What has not come by then is lost.
    timeout_s : float
        How long a PV may take to answer, and the driver to do what it is told, in seconds.
    """

    trigger_modes: dict[str, str] = field(default_factory=dict)
    first_id: int | None = 1
    stamps: Literal["end", "start", "arrival"] = "end"
    queue_size: int | None = None
    settle_s: float = 1.0
    timeout_s: float = 3.0


class AreaDetectorSource:
    """Takes frames of an areaDetector.

    Parameters
    ----------
    driver : Driver
        Its driver.
    frames : FrameMonitor
        The PV of NDPluginPva.
    options : AreaDetectorOptions
        How it differs from others.
    pixel_size_um : float
        Effective size of a pixel that is not binned, in um; 0 when unknown.
    name : str
        Name of the camera in messages.

    Raises
    ------
    CameraError
        If the IOC does not answer.
    """

    first_number = 0

    def __init__(
        self,
        driver: Driver,
        frames: FrameMonitor,
        options: AreaDetectorOptions,
        *,
        pixel_size_um: float = 0.0,
        name: str = "camera",
    ) -> None:
        self._driver = driver
        self._frames = frames
        self._options = options
        self._name = name
        self._size_um = pixel_size_um
        self._modes = trigger_words(driver, options.trigger_modes)
        self._stopped = threading.Event()
        self._stopped.set()
        self._stopping = threading.Lock()
        self._armed = False
        self._triggers = threading.Semaphore(0)
        #: Shapes and types of frames that were seen, by what the driver was set to.
        self._seen: dict[tuple[int, ...], tuple[tuple[int, int], np.dtype[Any]]] = {}
        self._look_at_last()
        self._follow_geometry()

    def settings(self) -> tuple[CameraSetting, ...]:
        """Describe what can be set of the driver, and what it may be."""
        return describe(self._driver, self._modes)

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Set the driver up; it exposes nothing.

        Raises
        ------
        CameraError
            If it cannot do what is asked.
        """
        driver = self._driver
        if request.trigger not in self._modes:
            raise CameraError(
                f"Camera {self._name} was asked for the trigger {request.trigger!r}; it knows {', '.join(self._modes)}. Give "
                f"it the word of {driver.prefix}TriggerMode for it: AreaDetectorOptions(trigger_modes=…)."
            )
        driver.check(driver.status(), f"prepare {request.kind}")
        driver.end()
        driver.tells_images()
        take_over(driver, settings)
        driver.choose("TriggerMode", self._modes[request.trigger])
        driver.put("AcquireTime", float(settings.exposure_s))
        period_s = 1 / settings.frame_rate_hz if settings.frame_rate_hz else settings.exposure_s
        if request.trigger == "internal":
            self._put_period(period_s, strictly=settings.frame_rate_hz > 0)
        self._step = request.trigger == "software"
        self._exposure_ns = round(settings.exposure_s * 1e9)
        self._kind = request.kind
        self._wanted = None if request.retrospective is not None else request.count
        self._put_count()
        self._follow_geometry()

    def start(self) -> None:
        """Arm the driver; returns when it exposes, or waits for triggers.

        Raises
        ------
        CameraError
            If it does not.
        """
        driver = self._driver
        frame_bytes = self.shape[0] * self.shape[1] * self.dtype.itemsize
        fits = max(_QUEUE_LEAST, min(_QUEUE_MOST, _QUEUE_BYTES // frame_bytes))
        self._frames.open(self._options.queue_size or fits)
        if driver.number("ArrayCounter_RBV") > _MOST_COUNTED:
            driver.put("ArrayCounter", 0)
        self._counted = driver.number("ArrayCounter_RBV")
        first = self._options.first_id
        self._first_id = None if first is None else self._counted + first
        self._next = 0  # number of the next frame that should come
        self._triggers = threading.Semaphore(0)
        self._exposing = not self._step
        self._idle_s: float | None = None
        self._came_s = time.monotonic()
        self._armed_ns = time.time_ns()
        self._armed = True
        self._stopped.clear()
        if not self._step:
            self._begin()

    def trigger(self) -> None:
        """Take one image: the thread that grabs tells the driver."""
        self._triggers.release()
        self._frames.wake()

    def grab(self, out: NDArray[Any]) -> Grab:
        """Wait for frames and copy them.

        Raises
        ------
        CameraError
            If the IOC or the driver fails, or a frame is not what it should be.
        """
        times: list[int] = []
        numbers: list[int] = []
        dropped: list[int] = []
        while not self._stopped.is_set() and len(numbers) < len(out):
            if self._step and not self._exposing and not self._take_trigger():
                continue
            value = self._frames.next(0 if numbers else _LOOK_S)
            if value is None:
                if numbers:
                    break
                dropped.extend(self._look())
            else:
                before = self._next
                number = self._number_of(value)
                if number is None:
                    continue
                dropped.extend(range(before, number))
                self._copy(value, out[len(numbers)])
                times.append(self._middle_ns(value))
                numbers.append(number)
                if self._step:
                    self._finish_step()
                    break
            if dropped:
                break
        return Grab(np.array(times, np.int64), np.array(numbers, np.int64), tuple(dropped))

    def stop(self) -> None:
        """Stop the driver; returns in bounded time, also when the IOC is gone."""
        self._stopped.set()
        self._triggers.release()
        self._frames.wake()
        with self._stopping:
            self._frames.close()
            if not self._armed:
                return
            self._armed = False
            try:
                self._driver.end()
            except CameraError:
                return  # What does not answer cannot be stopped; `prepare` looks again.

    def _begin(self) -> None:
        """Have the driver acquire, and wait until it does; a few short images may be over before it is seen."""
        driver, counted = self._driver, self._driver.number("ArrayCounter_RBV")
        driver.begin()

        def begun() -> bool:
            status = driver.status()
            driver.check(status, f"take {self._kind}")
            return status.acquiring or status.counter != counted or self._stopped.is_set()

        driver.wait(
            begun, "Acquire was set to 1, and neither Acquire_RBV nor ArrayCounter_RBV changed"
        )
        self._exposing = True

    def _take_trigger(self) -> bool:
        """Wait a little for a software trigger, and tell the driver."""
        if not self._triggers.acquire(timeout=_LOOK_S) or self._stopped.is_set():
            return False
        self._idle_s = None
        self._begin()
        return True

    def _finish_step(self) -> None:
        """Wait until the driver takes the next trigger: it ignores one that comes before."""
        driver = self._driver
        driver.wait(
            lambda: self._stopped.is_set() or not driver.number("Acquire_RBV"),
            "it gave its one image and Acquire_RBV stays 1",
        )
        self._exposing = False

    def _look(self) -> range:
        """Ask a driver that gives nothing what it does; return the numbers of frames that will not come."""
        driver, nothing = self._driver, range(0)
        if self._stopped.is_set():
            return nothing
        status = driver.status()
        driver.check(status, f"take {self._kind}")
        now_s = time.monotonic()
        if status.acquiring:
            self._idle_s = None
            return nothing
        self._idle_s = self._idle_s or now_s
        if now_s - max(self._idle_s, self._came_s) < self._options.settle_s:
            return nothing
        exposed = status.counter - self._counted
        if exposed > self._next:
            lost = range(self._next, exposed)
            self._next = exposed
            self._exposing = not self._step
            return lost
        told = "tells no more"
        if exposed < 0:  # its IOC, or it, was started again
            told, exposed = f"went back from {self._counted} to {status.counter}", self._next
        raise CameraError(
            f"Camera {self._name} was to take {self._wanted or 'any number of'} frames of {self._kind}, and its driver ended "
            f"after {exposed}: {driver.prefix}Acquire_RBV is 0 and {driver.prefix}ArrayCounter_RBV {told}. Look whether "
            "somebody stopped it or started its IOC again, and at the driver's screen."
        )

    def _number_of(self, value: Any) -> int | None:
        """Return a frame's number since the start; None for one that is older."""
        unique = int(value.uniqueId)
        if self._first_id is None:
            self._first_id = unique
        number = unique - self._first_id
        if number < self._next:
            # One that was still on its way when the driver was armed was exposed before.
            arrival = self._options.stamps == "arrival"
            if self._next == 0 and not arrival and self._stamp_ns(value) > self._armed_ns:
                raise self._other_numbers(unique)
            return None
        if self._next == 0 and number > 0:
            status = self._driver.status()
            if number >= status.counter - self._counted:
                raise self._other_numbers(unique)
        if self._next == 0:
            self._check_clock(value)
        self._next, self._came_s, self._idle_s = number + 1, time.monotonic(), None
        return number

    def _other_numbers(self, unique: int) -> CameraError:
        return CameraError(
            f"Camera {self._name} got a first frame with the uniqueId {unique}, and expected {self._first_id}, as the driver "
            f"had counted {self._counted} images before: {self._driver.prefix}ArrayCounter_RBV. Give "
            "AreaDetectorOptions(first_id=0) as it numbers its frames, or None if they follow no counter."
        )

    def _stamp_ns(self, value: Any) -> int:
        stamp = value.timeStamp
        return int(stamp.secondsPastEpoch) * 10**9 + int(stamp.nanoseconds)

    def _check_clock(self, value: Any) -> None:
        """Check the clock by the first frame: it was exposed after the start, and before it came."""
        if self._options.stamps == "arrival":
            return
        stamp_ns, now_ns = self._stamp_ns(value), time.time_ns()
        if not self._armed_ns - _CLOCKS_NS < stamp_ns < now_ns + _CLOCKS_NS:
            raise CameraError(
                f"Camera {self._name} got a first frame that is stamped {(stamp_ns - now_ns) / 1e9:+.3f} s from now by the clock "
                f"of its IOC: {self._frames.pv}. Set both clocks by NTP, or give AreaDetectorOptions(stamps='arrival')."
            )

    def _middle_ns(self, value: Any) -> int:
        if self._options.stamps == "arrival":
            return time.time_ns() - self._exposure_ns // 2
        half = self._exposure_ns // 2
        return self._stamp_ns(value) + (half if self._options.stamps == "start" else -half)

    def _copy(self, value: Any, out: NDArray[Any]) -> None:
        shape, dtype = shape_of(value), dtype_of(value)
        if shape != self.shape or dtype != self.dtype:
            if len(shape) == 2:
                self._seen[self._geometry] = ((shape[0], shape[1]), dtype)
            raise CameraError(
                f"Camera {self._name} got a frame of shape {shape} and type {dtype}, and expected {self.shape} and "
                f"{self.dtype} from what {self._driver.prefix} was set to. Start again, and it is known; if it goes on, look "
                f"which plugins are before {self._frames.pv}, and that frames are grey."
            )
        read_pixels(value, out)

    def _put_period(self, period_s: float, *, strictly: bool) -> None:
        """Set the time from frame to frame; without a rate it is as short as it can be."""
        if strictly:
            self._driver.put("AcquirePeriod", float(period_s))
        else:
            self._driver.ask("AcquirePeriod", float(period_s))

    def _put_count(self) -> None:
        """Tell the driver how many images an acquisition has."""
        driver = self._driver
        if self._wanted is None and not self._step:
            driver.choose("ImageMode", "Continuous")
        elif self._step and "Single" in driver.choices("ImageMode"):
            driver.choose("ImageMode", "Single")
        else:
            driver.put("NumImages", 1 if self._step else int(self._wanted or 1))
            driver.choose("ImageMode", "Multiple")

    def _look_at_last(self) -> None:
        """Note what a frame that the PV holds is like, if it can be by what the driver is set to."""
        value = self._frames.open(_QUEUE_LEAST)
        self._frames.close()
        found, shape = self._driver.geometry(), shape_of(value)
        possible = {self._computed_shape(found)}
        if has_region(self._driver):
            possible.add((found["SizeY"], found["SizeX"]))  # some drivers mean pixels after binning
        if all(shape) and shape in possible:
            self._seen[tuple(found.values())] = ((shape[0], shape[1]), dtype_of(value))

    def _computed_shape(self, found: Mapping[str, int]) -> tuple[int, int]:
        """Return the shape that frames should have, by the driver's records."""
        if has_region(self._driver):
            return found["SizeY"] // found.get("BinY", 1), found["SizeX"] // found.get("BinX", 1)
        return self._driver.number("ArraySizeY_RBV"), self._driver.number("ArraySizeX_RBV")

    def _follow_geometry(self) -> None:
        """Take over the shape, type and size of the pixels that the driver is set to."""
        driver = self._driver
        found = driver.geometry()
        self._geometry = tuple(found.values())
        seen = self._seen.get(self._geometry)
        self.shape, self.dtype = seen or (self._computed_shape(found), driver.pixel_type())
        if not all(self.shape):
            raise CameraError(
                f"Camera {self._name} cannot learn how large its frames are: {driver.prefix}ArraySizeX_RBV or "
                "ArraySizeY_RBV is 0. Take one image on the driver's screen, and try again."
            )
        self.pixel_size_um = self._size_um * found.get("BinX", 1)
