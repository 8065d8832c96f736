"""A laboratory camera that Micro-Manager drives, by pymmcore-plus."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino._extras import extra
from concertino.devices.camera._camera_setting import CameraSetting
from concertino.devices.camera._frame_source import CameraSettings, Grab
from concertino.frames import FrameRequest

from ._micro_manager_settings import CameraProperties

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

_NOTHING = np.empty(0, np.int64)
_ENDLESS = 2**31 - 1
_CAMERA = 2  # pymmcore's DeviceType.CameraDevice
_LOOKS_S = 0.001
#: Who starts a sequence, or takes a single image, holds its core: its cameras share one place for images, and one
#: buffer that every sequence empties.
_CORES: weakref.WeakKeyDictionary[CMMCorePlus, threading.Lock] = weakref.WeakKeyDictionary()


class MicroManagerSource:
    """Takes frames of a camera that is loaded in a Micro-Manager core.

    At no frame rate the camera runs a sequence, as fast as it can, into the core's circular buffer; the numbers of its
    images tell which were lost when that overflowed. At a frame rate it does so if a property of the device
    sets the rate, and else takes single frames at that pace, as it does for software triggers. The core stays
    open to others, such as a program that moves the stage; nobody else may take images meanwhile. Of several cameras
    of one core, one may run a sequence at a time; they take single frames in turn.

    Parameters
    ----------
    core : CMMCorePlus, str or Path
        The core, or a configuration file to load into a new one.
    camera : str, optional
        Label of the camera; the core's by default.
    frame_rate : str, optional
        Property of the device that sets its frame rate, in Hz; most have none.
    edge : mapping of str to str, optional
        Properties, and what they are set to so that the camera waits for pulses at its input. For other triggers they
        are as they were before.
    properties : sequence of str
        The device's own properties that shall be settable.

    Raises
    ------
    CameraError
        If there is no such camera, or it does not give grey values.
    MissingExtraError
        If a configuration is to be loaded and pymmcore-plus is not installed.

    Examples
    --------
    >>> from concertino.devices import Camera, MicroManagerSource
    >>> source = MicroManagerSource("scope.cfg", properties=["ReadoutRate"])  # doctest: +SKIP
    >>> camera = Camera(source, exposure=0.01)  # doctest: +SKIP
    """

    first_number = 0

    def __init__(
        self,
        core: CMMCorePlus | str | Path,
        camera: str | None = None,
        *,
        frame_rate: str | None = None,
        edge: Mapping[str, str] | None = None,
        properties: Sequence[str] = (),
    ) -> None:
        self.core = _loaded(core) if isinstance(core, str | Path) else core
        self._label = camera or self.core.getCameraDevice()
        self._using = threading.Lock()
        self._core_held = _CORES.setdefault(self.core, threading.Lock())
        self._stopped = threading.Event()
        self._stopped.set()
        self._triggers = threading.Semaphore(0)
        self._edge = dict(edge or {})
        self._rate_property = frame_rate
        self._sequence = self._lossy = False
        self._count: int | None = None
        self._period_s = self._exposure_s = 0.0
        self._trigger = "internal"
        with self._core_held, self._saying("tell what it is"):
            if self._label not in self.core.getLoadedDevices():
                raise CameraError(
                    f"Micro-Manager was asked for camera {self._label!r}, and has {self.core.getLoadedDevices()}. "
                    "Give the label of one of these, or load it into the core first."
                )
            self.core.setCameraDevice(self._label)
            self._properties = CameraProperties(self.core, self._label, properties, bool(edge))
            self._unpulsed = {name: self.core.getProperty(self._label, name) for name in self._edge}
            self._adapt()

    def _adapt(self) -> None:
        """Take over what frames are now."""
        core = self.core
        self.shape = (core.getImageHeight(), core.getImageWidth())
        self.dtype: np.dtype[Any] = self._properties.pixel_type()
        self.pixel_size_um = core.getPixelSizeUm()

    @contextmanager
    def _saying(self, what: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, IndexError, ValueError) as error:
            if isinstance(error, CameraError):
                raise
            raise CameraError(
                f"Camera {self._label} of Micro-Manager was to {what}, and failed: {error}. Check that the "
                "device is on and loaded, and that nobody else takes images with it."
            ) from error

    def settings(self) -> Sequence[CameraSetting]:
        """Describe what can be set, and what it may be now."""
        with self._core_held, self._saying("tell its settings"):
            self._choose()
            return self._properties.describe()

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Check and take over what is asked.

        Raises
        ------
        CameraError
            If the camera cannot do that.
        """
        if request.trigger == "edge" and not self._edge:
            raise CameraError(
                f"Camera {self._label} of Micro-Manager was asked for external triggers, and nobody said how it is "
                "told to wait for them. Give its properties for that: edge={'TriggerMode': 'External'}."
            )
        rate = settings.frame_rate_hz if request.trigger == "internal" else 0.0
        with self._core_held, self._saying("be set"):
            self._choose()
            self._properties.apply(settings)
            pulsed = self._edge if request.trigger == "edge" else self._unpulsed
            for name, value in pulsed.items():
                self.core.setProperty(self._label, name, value)
            if rate and self._rate_property is not None:
                self.core.setProperty(self._label, self._rate_property, rate)
            self._exposure_s = self.core.getExposure(self._label) / 1e3
            self._adapt()
        self._trigger = request.trigger
        self._sequence = request.trigger != "software" and not (
            rate and self._rate_property is None
        )
        self._period_s = 1 / rate if rate else 0.0
        self._lossy = request.on_lost == "flag"
        self._count = None if request.retrospective is not None else request.count

    def start(self) -> None:
        """Begin to expose, or to wait for triggers.

        Raises
        ------
        CameraError
            If the camera does not.
        """
        with self._using, self._core_held, self._saying("start"):
            self._end()
            self._choose()
            self._next, self._begin_s = 0, time.monotonic()
            self._triggers = threading.Semaphore(0)
            if self._sequence:
                # What overflows overwrites the oldest if losses are to be told only, and else ends the sequence.
                self.core.startSequenceAcquisition(self._count or _ENDLESS, 0.0, not self._lossy)
            self._stopped.clear()

    def _choose(self) -> None:
        """Make ours the camera of the core, unless another's images are in the buffer that ours would come to."""
        core = self.core
        chosen = core.getCameraDevice()
        if chosen == self._label or not (chosen or self._label in core.getLoadedDevices()):
            return  # Micro-Manager itself says that no camera is there.
        for other in core.getLoadedDevicesOfType(_CAMERA):
            if other != self._label and core.isSequenceRunning(other):
                raise CameraError(
                    f"Camera {self._label} of Micro-Manager is to be used, and camera {other} of the same core runs a "
                    "sequence, which has the core's one buffer. Take their frames one after the other, or load each camera "
                    "into a CMMCorePlus of its own."
                )
        core.setCameraDevice(self._label)

    def trigger(self) -> None:
        """Start one exposure."""
        self._triggers.release()

    def grab(self, out: NDArray[Any]) -> Grab:
        """Wait for frames.

        Raises
        ------
        CameraError
            If the camera fails, its sequence ends too early, or the core's buffer overflowed.
        """
        with self._using:
            return self._of_sequence(out) if self._sequence else self._single(out)

    def stop(self) -> None:
        """Stop exposing and let a waiting `grab` return."""
        self._stopped.set()
        self._triggers.release()
        with self._saying("stop"):
            self._end()

    def _end(self) -> None:
        loaded = self._label in self.core.getLoadedDevices()
        if self._sequence and loaded and self.core.isSequenceRunning(self._label):
            self.core.stopSequenceAcquisition(self._label)

    def _single(self, out: NDArray[Any]) -> Grab:
        if self._trigger == "software":
            self._triggers.acquire()
        else:
            due_s = self._begin_s + self._next * self._period_s
            self._stopped.wait(max(0.0, due_s - time.monotonic()))
        if self._stopped.is_set():
            return Grab(_NOTHING, _NOTHING)
        with self._core_held, self._saying("take a frame"):
            self._choose()
            began_ns = time.time_ns()
            self.core.snapImage()
            middle_ns = (began_ns + time.time_ns()) // 2
            self._write(self.core.getImage(), out[0])
        number, self._next = self._next, self._next + 1
        return Grab(np.array([middle_ns], np.int64), np.array([number], np.int64))

    def _of_sequence(self, out: NDArray[Any]) -> Grab:
        core = self.core
        numbers: list[int] = []
        stamps: list[int] = []
        dropped: list[int] = []
        with self._saying("give the frames of a sequence"):
            while not self._stopped.is_set():
                runs = core.isSequenceRunning(self._label)  # before it is looked for images
                while len(numbers) < len(out) and core.getRemainingImageCount():
                    self._pop(out[len(numbers)], numbers, stamps, dropped)
                if numbers:
                    return Grab(
                        np.array(stamps, np.int64), np.array(numbers, np.int64), tuple(dropped)
                    )
                if not runs and not core.getRemainingImageCount() and not self._stopped.is_set():
                    raise CameraError(self._ended())
                self._stopped.wait(_LOOKS_S)
        return Grab(_NOTHING, _NOTHING)

    def _pop(
        self, slot: NDArray[Any], numbers: list[int], stamps: list[int], dropped: list[int]
    ) -> None:
        try:
            image, about = self.core.popNextImageAndMD()
        except (RuntimeError, IndexError):
            if self._lossy and not self.core.getRemainingImageCount():
                return  # It overflowed, and was emptied, since it was looked for images.
            raise
        number = int(about.get("ImageNumber", self._next))
        dropped.extend(range(self._next, number))
        self._next = number + 1
        self._write(image, slot)
        numbers.append(number)
        stamps.append(_received_ns(about.get) - round(self._exposure_s / 2 * 1e9))

    def _write(self, image: NDArray[Any], slot: NDArray[Any]) -> None:
        if image.shape != slot.shape or image.dtype != slot.dtype:
            raise CameraError(
                f"Camera {self._label} of Micro-Manager was prepared for frames of {slot.shape} {slot.dtype}, and gave "
                f"one of {image.shape} {image.dtype}. Let nobody else set it meanwhile, and take the frames again."
            )
        slot[:] = image

    def _ended(self) -> str:
        """Say why a sequence gives no more frames."""
        of = f" of {self._count}" if self._count else ""
        if self.core.isBufferOverflowed():
            megabytes = self.core.getCircularBufferMemoryFootprint()
            return (
                f"Micro-Manager's circular buffer of {megabytes} MB overflowed after {self._next}{of} frames of "
                f"camera {self._label}: they came faster than they were taken. Make it larger with "
                "core.setCircularBufferMemoryFootprint, take frames more slowly, or ask for on_lost='flag'."
            )
        return (
            f"Camera {self._label} of Micro-Manager ended its sequence after {self._next}{of} frames. Check the "
            "device, and that nobody else stops it or takes images with it."
        )


def _loaded(configuration: str | Path) -> CMMCorePlus:
    """Return a core with what a configuration file names."""
    with extra("micromanager", "A camera by Micro-Manager"):
        from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    try:
        core.loadSystemConfiguration(str(configuration))
    except (OSError, RuntimeError) as error:
        raise CameraError(
            f"Micro-Manager was to load {configuration}, and failed: {error}. Check the file, and that its device "
            "adapters are installed: mmcore list."
        ) from error
    return core


def _received_ns(about: Callable[[str], Any]) -> int:
    """Return when the core received an image, in ns since the epoch: it writes the time of the place it is at."""
    text = about("TimeReceivedByCore")
    if not text:
        return time.time_ns()
    return round(datetime.fromisoformat(str(text)).timestamp() * 1e9)
