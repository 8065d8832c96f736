"""A GenICam camera (GigE Vision, USB3 Vision), by Aravis."""

import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino.devices.camera._camera_setting import CameraSetting
from concertino.devices.camera._frame_source import CameraSettings, Grab
from concertino.frames import FrameRequest

from ._frame_ids import FrameIds
from ._genicam_device import Delivered, GenicamDevice, GenicamStream
from ._genicam_settings import (
    apply,
    binning_of,
    describe,
    packing_of,
    pixel_type,
    set_timing,
)

_NOTHING = np.empty(0, np.int64)
#: Longest wait of `stop` for another thread that uses the stream, in s.
_ENDS_S = 5.0


class GenicamSource:
    """Takes frames of a camera that speaks GenICam: GigE Vision or USB3 Vision.

    Its frame ids tell which frames were lost, on the network or as nobody took them. Where the camera lets its
    clock be read the time stamps are its own, else they are when a frame came. One that was lost, or closed, is
    opened again by the next `prepare`.

    Parameters
    ----------
    address : str, optional
        What Aravis calls the camera (``arv-tool-0.8`` lists them), or its network address; the first
        that is found by default.
    line : str, optional
        Input that takes the pulses of external triggers, such as ``"Line1"``: the first line by default.
    features : sequence of str
        The vendor's own settings that shall be settable, by their names in GenICam.
    pixel_size_um : float
        Of a pixel in the plane of the sample, without binning, in um; 0 when unknown.
    packet_size : int, optional
        Bytes of a packet on the network, as all on the way to the camera let pass; Aravis finds it by default.
    stamp : {"begin", "end"}
        Which end of the exposure the camera's own time stamps mean.

    Raises
    ------
    CameraError
        If there is no such camera, another program has it, or it does not give grey values.
    MissingExtraError
        If Aravis is not installed.

    Examples
    --------
    >>> from concertino.devices import Camera, GenicamSource
    >>> source = GenicamSource("192.168.1.10", pixel_size_um=6.5)  # doctest: +SKIP
    >>> camera = Camera(source, exposure=0.01, frame_rate=50)  # doctest: +SKIP
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        line: str | None = None,
        features: Sequence[str] = (),
        pixel_size_um: float = 0.0,
        packet_size: int | None = None,
        stamp: Literal["begin", "end"] = "begin",
    ) -> None:
        self._address = address
        self._features = tuple(features)
        self._unbinned_um = pixel_size_um
        self._packet_size = packet_size
        self._stamp = stamp
        self._using = threading.Lock()
        self._stopped = threading.Event()
        self._stopped.set()
        self._stream: GenicamStream | None = None
        self._device = self._open()
        lines = [word for word in self._device.words("trigger_sources") if word.startswith("Line")]
        self._line = line if line is not None else next(iter(lines), "")
        self._limit: int | None = None
        self._next = self._broken = 0
        self._trigger = "internal"
        self._middle_ns = 0
        self._adapt()

    def _open(self) -> GenicamDevice:
        device = GenicamDevice(self._address)
        if self._packet_size is not None and device.on_network:
            device.do("gv_set_packet_size", self._packet_size)
        # By their standards GigE Vision counts from 1, and USB3 Vision from 0.
        self._ids = FrameIds(int(device.on_network), short=device.on_network)
        return device

    def _opened(self) -> GenicamDevice:
        """Return the camera, opened again if it was lost or closed."""
        if self._device.lost or self._device.closed:
            self._device.close()
            self._device = self._open()
        return self._device

    def _check_open(self) -> None:
        if self._device.closed:
            raise CameraError(
                f"GenICam camera {self._device.name} was closed and was to take frames. Prepare it again: that opens it."
            )

    def _adapt(self) -> None:
        """Take over what frames are now."""
        _, _, width, height = self._device.numbers("region")
        self.shape = (height, width)
        self.dtype: np.dtype[Any] = pixel_type(self._device)
        self._packing = packing_of(self._device)
        self._frame_bytes = width * height * self.dtype.itemsize
        if self._packing is not None:
            self._frame_bytes = self._packing.nbytes(width * height)
        self.pixel_size_um = self._unbinned_um * binning_of(self._device)

    def settings(self) -> Sequence[CameraSetting]:
        """Describe what can be set, and what it may be now."""
        return describe(self._opened(), self._line, self._features)

    def clock(self) -> float:
        """Return what the clock of the time stamps shows now, in s: the camera's, or the computer's."""
        device = self._device
        return device.clock() if device.has_clock and not device.closed else time.time()

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Check and take over what is asked.

        Raises
        ------
        CameraError
            If the camera cannot do that, or does not answer.
        """
        device = self._opened()
        if request.trigger in ("edge", "level") and not self._line:
            raise CameraError(
                f"GenICam camera {self._device.name} was asked for external triggers; it has no trigger input. "
                "Use 'internal' or 'software'."
            )
        by_level = device.exposes_while_level
        if request.trigger == "level" and not by_level:
            raise CameraError(
                f"GenICam camera {device.name} was asked for level triggers, to expose for as long as a pulse lasts; its "
                "ExposureMode has no TriggerWidth. Use 'edge', and set the exposure time."
            )
        device.do("clear_triggers")
        if by_level:  # The exposure time can be set of one that keeps it.
            device.do("set_string", b"ExposureMode", b"Timed")
        apply(device, settings)
        exposure_s = set_timing(device, settings, request.trigger == "internal")
        if request.trigger != "internal":
            word = "Software" if request.trigger == "software" else self._line
            device.do("set_trigger", word.encode())
        if request.trigger == "level":
            device.do("set_string", b"ExposureMode", b"TriggerWidth")
        self._adapt()
        begins = device.has_clock and self._stamp == "begin"
        self._middle_ns = round((exposure_s if begins else -exposure_s) / 2 * 1e9)
        self._trigger = request.trigger
        self._limit = None if request.retrospective is not None else request.count

    def start(self) -> None:
        """Begin to expose, or to wait for triggers.

        Raises
        ------
        CameraError
            If the camera does not.
        """
        with self._using:
            self._end()
            self._check_open()
            self._ids.begin()
            self._next = self._broken = 0
            self._stopped.clear()
            self._stream = self._device.stream()

    def trigger(self) -> None:
        """Start one exposure.

        Raises
        ------
        CameraError
            If the camera does not answer.
        """
        self._check_open()
        self._device.do("software_trigger")

    def grab(self, out: NDArray[Any]) -> Grab:
        """Wait for frames.

        Raises
        ------
        CameraError
            If the camera is lost.
        """
        numbers: list[int] = []
        stamps: list[int] = []
        dropped: list[int] = []
        while not self._stopped.is_set():
            with self._using:
                while self._stream is not None and len(numbers) < len(out):
                    with self._stream.next(wait=not (numbers or dropped)) as came:
                        if came is None:
                            if self._broken and not numbers:
                                self._lose(self._next + self._broken, dropped)
                            break
                        self._take(came, out[len(numbers)], numbers, stamps, dropped)
            if numbers or dropped:
                return Grab(np.array(stamps, np.int64), np.array(numbers, np.int64), tuple(dropped))
            if self._device.lost:
                raise CameraError(
                    f"GenICam camera {self._device.name} was lost: it does not answer any more. Check its "
                    "power, its cable and the network, and take the frames again: it is looked for anew."
                )
        return Grab(_NOTHING, _NOTHING)

    def _take(
        self,
        came: Delivered,
        slot: NDArray[Any],
        numbers: list[int],
        stamps: list[int],
        dropped: list[int],
    ) -> None:
        if came.data is None or came.data.size < self._frame_bytes:
            self._broken += (
                1  # Its id is none if the packet that tells it was lost, or that of an older one.
            )
            return
        number = self._ids.number(came.frame_id, self._next)
        self._lose(number, dropped)
        if self._limit is not None and number >= self._limit:
            return  # It is none of those that were asked for: the camera went on.
        if self._packing is not None:
            slot[:] = self._packing.unpacked(came.data, slot.size).reshape(self.shape)
        else:
            slot[:] = came.data[: slot.nbytes].view(self.dtype).reshape(self.shape)
        self._next = number + 1
        numbers.append(number)
        stamps.append(came.stamp_ns + self._middle_ns)

    def _lose(self, until: int, dropped: list[int]) -> None:
        """Note that the frames before a number, that did not come, are lost."""
        stop = until if self._limit is None else min(until, self._limit)
        dropped.extend(range(self._next, stop))
        self._next, self._broken = max(self._next, stop), 0

    def stop(self) -> None:
        """Stop exposing and let a waiting `grab` return."""
        self._stopped.set()
        # A grab leaves at once; who holds it longer ends the stream of a camera that does not answer.
        if not self._using.acquire(timeout=_ENDS_S):
            return
        try:
            self._end()
        finally:
            self._using.release()

    def _end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end()

    def close(self) -> None:
        """Give the camera up, so that other programs can have it."""
        self.stop()
        self._device.close()
