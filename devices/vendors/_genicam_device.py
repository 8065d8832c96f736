"""One GenICam camera that is open: what it is, what it can be set to, and its streams of buffers."""

import ctypes
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError

from ._aravis import Aravis, load_aravis

#: Aravis' states of a buffer: whole, and what was in the queue when the stream ended.
_WHOLE, _CLEARED, _ABORTED = 0, 1, 7
#: No image, and no id: packets that are none of a frame's. On a busy computer two to four came now and then in the first
#: 50 ms of a stream (28 in 305 starts of Aravis' fake camera). A frame that lost its first packet has another state.
_NO_IMAGE, _NO_FRAME = 8, 0
_CONTINUOUS = 0
#: Memory for frames that Aravis has received and nobody has taken, and how many there are.
_QUEUE_BYTES, _FEWEST, _MOST = 64 * 2**20, 8, 512
#: A burst of packets waits in the socket's buffer: one of the frame's own size lost packets.
_SOCKET_BYTES = 4 * 2**20
_SOCKET_FRAMES = 4
_FIXED = 0
#: How long a frame may lack packets before it counts as broken: a busy computer may delay them by more than Aravis' 0.1 s.
_RETENTION_US = 1_000_000
_POP_US = 50_000
_NS = 1e-9


@dataclass(frozen=True)
class Delivered:
    """A buffer that came.

    Parameters
    ----------
    frame_id : int
        The camera's; anything when packets were lost.
    data : ndarray of uint8, shape (n,), or None
        The frame's bytes, which are the buffer's own; None when packets of it were lost.
    stamp_ns : int
        By the camera's clock, if that can be read, else when the frame's first packet came, by the computer's; in ns.
    """

    frame_id: int
    data: NDArray[np.uint8] | None
    stamp_ns: int


class GenicamDevice:
    """A GenICam camera that is open, and ours alone.

    Parameters
    ----------
    address : str or None
        What Aravis calls it, its network address, or None for the first that is found.

    Raises
    ------
    CameraError
        If there is none, or another program has it.
    MissingExtraError
        If Aravis is not installed.
    """

    def __init__(self, address: str | None) -> None:
        aravis = load_aravis()
        self.aravis = aravis
        try:
            self.camera: int = aravis.ask(
                "arv_camera_new", None if address is None else address.encode()
            )
        except CameraError as error:
            raise CameraError(_not_found(aravis, address, error)) from error
        self.handle: int = aravis.call("arv_camera_get_device", self.camera)
        self._lost = threading.Event()
        self._looking = threading.Lock()
        self._close = weakref.finalize(self, aravis.call, "g_object_unref", self.camera)
        words = ("vendor_name", "model_name", "device_serial_number")
        self.name = " ".join(aravis.text(f"arv_camera_get_{word}", self.camera) for word in words)
        self.on_network = bool(aravis.call("arv_camera_is_gv_device", self.camera))
        self._clock = self._find_clock()

    @property
    def lost(self) -> bool:
        """Whether it does not answer any more.

        On a network Aravis asks it about every second whether we drive it. That is looked up here, and not told by Aravis'
        signal ``control-lost``: who closes the camera while its thread emits that leaves the thread to free the camera and
        to wait for itself, whereupon GLib ends the process.
        """
        with self._looking:
            if self.on_network and not (
                self.closed or self.aravis.call("arv_gv_device_is_controller", self.handle)
            ):
                self._lost.set()
        return self._lost.is_set()

    @property
    def closed(self) -> bool:
        """Whether it was given up to other programs."""
        return not self._close.alive

    def give_up(self) -> None:
        """Note that it does not answer any more."""
        self._lost.set()

    def close(self) -> None:
        """Let other programs have the camera; harmless when that is done. Of a dead one it takes some seconds."""
        with self._looking:
            left = self._close.detach()
        if left is not None:
            _, free, arguments, _ = left
            free(*arguments)

    def has(self, what: str) -> bool:
        """Return whether it has something, such as ``binning``."""
        return bool(self.aravis.ask(f"arv_camera_is_{what}_available", self.camera))

    def get(self, what: str) -> float:
        """Return a number, such as ``exposure_time``."""
        return float(self.aravis.ask(f"arv_camera_get_{what}", self.camera))

    def numbers(self, what: str) -> tuple[int, ...]:
        """Return whole numbers, such as ``region``."""
        return tuple(map(int, self.aravis.numbers(f"arv_camera_get_{what}", self.camera)))

    def bounds(self, what: str) -> tuple[float, float]:
        """Return the limits of a number."""
        lowest, highest = self.aravis.numbers(f"arv_camera_get_{what}_bounds", self.camera)
        return float(lowest), float(highest)

    def words(self, what: str) -> list[str]:
        """Return the choices of something, such as ``trigger_sources``."""
        return self.aravis.words(f"arv_camera_dup_available_{what}", self.camera)

    @property
    def exposes_while_level(self) -> bool:
        """Whether it can expose for as long as a pulse lasts."""
        aravis, camera = self.aravis, self.camera
        if not aravis.ask("arv_camera_is_feature_available", camera, b"ExposureMode"):
            return False
        return "TriggerWidth" in aravis.words(
            "arv_camera_dup_available_enumerations_as_strings", camera, b"ExposureMode"
        )

    @property
    def pixel_format(self) -> str:
        """Name of the format of its pixels."""
        return self.aravis.text("arv_camera_get_pixel_format_as_string", self.camera)

    def do(self, what: str, *values: object) -> None:
        """Have it do something, or set something: ``set_region`` and four numbers.

        Raises
        ------
        CameraError
            If it does not.
        """
        with self._saying(what.replace("_", " ")):
            self.aravis.ask(f"arv_camera_{what}", self.camera, *values)

    @contextmanager
    def _saying(self, what: str) -> Iterator[None]:
        try:
            yield
        except CameraError as error:
            raise CameraError(
                f"GenICam camera {self.name} was told to {what}, and failed: {error}. Check its cable, "
                "and that no other program drives it."
            ) from error

    def _find_clock(self) -> tuple[bytes, bytes, float] | None:
        """Return the command that reads its clock, where it is to be read then, and its unit in s."""
        for command, value in (
            (b"TimestampLatch", b"TimestampLatchValue"),
            (b"GevTimestampControlLatch", b"GevTimestampValue"),
        ):
            if all(
                self.aravis.ask("arv_camera_is_feature_available", self.camera, name)
                for name in (command, value)
            ):
                return command, value, self._tick_s() if value.startswith(b"Gev") else _NS
        return None

    def _tick_s(self) -> float:
        ticks = self.aravis.ask("arv_gv_device_get_timestamp_tick_frequency", self.handle)
        return 1 / ticks if ticks else _NS

    @property
    def has_clock(self) -> bool:
        """Whether its clock can be read, so that its time stamps mean something."""
        return self._clock is not None

    def clock(self) -> float:
        """Return what its clock shows, in s."""
        if self._clock is None:
            raise CameraError(
                f"GenICam camera {self.name} has no clock that can be read; use the computer's."
            )
        command, value, tick_s = self._clock
        with self._saying("tell its time"):
            self.aravis.ask("arv_camera_execute_command", self.camera, command)
            return float(self.aravis.ask("arv_camera_get_integer", self.camera, value)) * tick_s

    def stream(self) -> "GenicamStream":
        """Begin to take frames into a new stream."""
        return GenicamStream(self)


class GenicamStream:
    """Buffers on their way from a camera, from now on until it is ended.

    Parameters
    ----------
    device : GenicamDevice
        The camera, which begins to expose or to wait for triggers.
    """

    def __init__(self, device: GenicamDevice) -> None:
        aravis, camera = device.aravis, device.camera
        self._aravis, self._device = aravis, device
        payload = int(aravis.ask("arv_camera_get_payload", camera))
        device.do("set_acquisition_mode", _CONTINUOUS)
        with device._saying("open a stream"):
            self._stream: int = aravis.ask("arv_camera_create_stream", camera, None, None)
        self._close = weakref.finalize(self, aravis.call, "g_object_unref", self._stream)
        if device.on_network:
            size = max(_SOCKET_BYTES, _SOCKET_FRAMES * payload)
            aravis.set_number(self._stream, b"socket-buffer", _FIXED)
            aravis.set_number(self._stream, b"socket-buffer-size", size)
            aravis.set_number(self._stream, b"frame-retention", _RETENTION_US)
        for _ in range(min(_MOST, max(_FEWEST, _QUEUE_BYTES // max(payload, 1)))):
            aravis.call(
                "arv_stream_push_buffer",
                self._stream,
                aravis.call("arv_buffer_new_allocate", payload),
            )
        device.do("start_acquisition")

    def end(self) -> None:
        """Stop exposing, and forget what is on its way; a camera that does not answer is lost."""
        try:
            if not (self._device.lost or self._device.closed):
                self._device.do("stop_acquisition")
        except CameraError:
            self._device.give_up()
        finally:
            self._close()

    @contextmanager
    def next(self, *, wait: bool) -> Iterator[Delivered | None]:
        """Give the next buffer, and take it back at the end.

        Parameters
        ----------
        wait : bool
            For a little while, if there is none yet.
        """
        call, stream = self._aravis.call, self._stream
        buffer = (
            call("arv_stream_timeout_pop_buffer", stream, _POP_US)
            if wait
            else call("arv_stream_try_pop_buffer", stream)
        )
        if not buffer:
            yield None
            return
        try:
            yield self._delivered(buffer)
        finally:
            call("arv_stream_push_buffer", stream, buffer)

    def _delivered(self, buffer: int) -> Delivered | None:
        call = self._aravis.call
        status = call("arv_buffer_get_status", buffer)
        frame_id = int(call("arv_buffer_get_frame_id", buffer))
        if status in (_CLEARED, _ABORTED) or (status, frame_id) == (_NO_IMAGE, _NO_FRAME):
            return None
        data = None
        if status == _WHOLE:
            size = ctypes.c_size_t()
            start = call("arv_buffer_get_data", buffer, ctypes.byref(size))
            data = np.frombuffer(
                memoryview((ctypes.c_uint8 * size.value).from_address(start)), np.uint8
            )
        own = "timestamp" if self._device.has_clock else "system_timestamp"
        return Delivered(
            frame_id,
            data,
            int(call(f"arv_buffer_get_{own}", buffer)),
        )


def _not_found(aravis: Aravis, address: str | None, error: CameraError) -> str:
    aravis.call("arv_update_device_list")
    found = [
        f"{aravis.call('arv_get_device_id', index).decode()} at {aravis.call('arv_get_device_address', index).decode()}"
        for index in range(aravis.call("arv_get_n_devices"))
    ]
    asked = "the first GenICam camera" if address is None else f"GenICam camera {address!r}"
    return (
        f"Aravis was asked for {asked}, and says: {error}. It finds {', '.join(found) or 'none'}. Check that "
        "the camera is on, in this network or at this computer, and that no other program has it."
    )
