"""A frame source over a detector that streams, whatever its messages are."""

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError, MissingExtraError
from concertino.devices.camera._frame_source import CameraSettings, Grab
from concertino.frames import FrameRequest

from ._frame_compression import make_ready
from ._series_account import SeriesAccount
from ._simplon_control import SimplonControl
from ._stream_messages import SeriesEnd, SeriesImage, SeriesStart, StreamMessage
from ._stream_receiver import Pattern, StreamReceiver

_WAIT_S = 0.05


class Messages(Protocol):
    """What reads the messages of one protocol."""

    def read(self, parts: Sequence[memoryview]) -> StreamMessage:
        """Return what a message of several parts says.

        Raises
        ------
        CameraError
            If it is none.
        """


class StreamSource:
    """The part that all detectors that stream have in common; not for users.

    Attributes
    ----------
    first_number : int
        0: images count from the first of a series, or the first that came of one that was under way.

    Parameters
    ----------
    address : str
        Where the detector streams.
    messages : Messages
        Reads what it sends.
    shape : tuple of int, optional
        (height, width) of an image in pixels; None: the control tells.
    dtype : dtype, optional
        Of a pixel; None: the control tells.
    control : SimplonControl, optional
        Arms and triggers the detector; None: somebody else does.
    pixel_size_um : float
        Effective pixel size in um; 0: the control tells, or it is unknown.
    pattern : {"pull", "sub"}
        As of `StreamReceiver`.
    queue_bytes : int
        Memory for images that wait to be taken, in bytes.
    within_s : float
        How long the detector may take to answer, in seconds.
    """

    first_number = 0

    def __init__(
        self,
        address: str,
        messages: Messages,
        *,
        shape: tuple[int, int] | None,
        dtype: np.typing.DTypeLike | None,
        control: SimplonControl | None,
        pixel_size_um: float,
        pattern: Pattern,
        queue_bytes: int,
        within_s: float,
    ) -> None:
        self._sender = sender_at(address)
        if control is None and (shape is None or dtype is None):
            raise CameraError(
                f"{self._sender} is to be taken as it comes, and nobody says what its images are. Give the source shape=(height, "
                "width) and dtype, or its control."
            )
        self.shape = (0, 0) if shape is None else shape
        self.dtype: np.dtype[Any] = np.dtype(np.uint16 if dtype is None else dtype)
        self.pixel_size_um = pixel_size_um
        self._given = (shape, dtype, pixel_size_um)
        self._address = address
        self._messages = messages
        self._control = control
        self._queue_bytes = queue_bytes
        self._within_s = within_s
        self._receiver = StreamReceiver(address, pattern, self._sender)
        self._stopped = threading.Event()
        self._failed: CameraError | None = None
        self._account: SeriesAccount | None = None
        self._series: int | None = None
        self._exposure_s: float | None = None  # of the series that came last

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Check what is asked, and configure the detector for it.

        Raises
        ------
        CameraError
            If it cannot be done, or the detector does not answer.
        """
        if request.retrospective is not None:
            raise CameraError(
                f"{self._sender} was asked for frames of {request.kind} from before a trigger; what streams cannot be "
                "held back. Use a plan that says when it begins."
            )
        if self._control is None:
            self._check_as_it_comes(request, settings)
        else:
            self._control.prepare(request, settings)
            found = self._control.frame()
            shape, dtype, pixel_size_um = self._given
            self.shape = shape or found.shape
            self.dtype = found.dtype if dtype is None else np.dtype(dtype)
            self.pixel_size_um = pixel_size_um or found.pixel_size_um
        self._check_there()
        with suppress(MissingExtraError):  # which the first compressed frame says, if one comes
            make_ready()
        self._request, self._settings = request, settings

    def start(self) -> None:
        """Connect, and have the detector armed and exposing if it has a control."""
        self._stopped.clear()
        self._failed = None
        self._clock = _ExposureTimes(self._settings.exposure_s)
        frame_bytes = self.shape[0] * self.shape[1] * self.dtype.itemsize
        self._receiver.open(max(4, self._queue_bytes // max(1, frame_bytes)), self._within_s)
        armed = None if self._control is None else self._control.arm()
        self._account = SeriesAccount(self._sender, self._request, armed=armed, before=self._series)
        if self._control is not None:
            self._control.begin()

    def trigger(self) -> None:
        """Start one exposure (software trigger); only with a control."""
        if self._control is not None:
            self._control.trigger()

    def grab(self, out: NDArray[Any]) -> Grab:
        """Wait for an image and write it, and those that have come already, into the slots.

        Raises
        ------
        CameraError
            If the detector is gone, refuses a trigger, or sends what is not due or cannot be read.
        """
        numbers: list[int] = []
        times_ns: list[int] = []
        lost: list[int] = []
        while not self._stopped.is_set() and len(numbers) < len(out):
            try:
                found = self._next(bool(numbers or lost))
                if found is None:
                    if numbers or lost:
                        break
                    continue
                image, number, missing = found
                if image is not None:
                    image.write(out[len(numbers)], self._sender)
                    numbers.append(number)
                    times_ns.append(self._clock.middle_ns(image))
                lost += missing
            except CameraError as error:
                if not numbers and not lost:
                    raise
                self._failed = error  # what came before it is good
                break
        return Grab(np.array(times_ns, np.int64), np.array(numbers, np.int64), tuple(lost))

    def stop(self) -> None:
        """Disconnect, and disarm the detector if this armed it; harmless when stopped."""
        self._stopped.set()
        # Connected until the detector has ended its series: it may wait for somebody to take its last words.
        if self._control is not None:
            self._control.end(complete=self._account is not None and self._account.complete)
        self._receiver.close()

    def _next(self, at_once: bool) -> tuple[SeriesImage | None, int, tuple[int, ...]] | None:
        """Return the next image with its number, and the numbers of those lost before; None if nothing came."""
        if self._failed is not None:
            raise self._failed
        if self._control is not None and self._control.error is not None:
            raise self._control.error
        account = self._account
        assert account is not None  # as it was started
        account.check_more()
        parts = self._receiver.receive(0.0 if at_once else _WAIT_S)
        if parts is None:
            return None
        self._clock.arrived()
        message = self._messages.read([part.buffer for part in parts])
        if isinstance(message, SeriesEnd):
            lost = account.end(message)
            return (None, -1, lost) if lost else None
        if isinstance(message, SeriesStart):
            account.begin(message)
            if account.series == message.series:
                self._note_exposure(message)
            return None
        accounted = account.image(message)
        self._series = account.series
        if accounted is None:
            return None
        number, lost = accounted
        return (None if number < 0 else message), number, lost

    def _note_exposure(self, start: SeriesStart) -> None:
        self._exposure_s = start.exposure_s
        self._clock.exposure_s = start.exposure_s or self._clock.exposure_s
        if self._control is None:
            self._check_exposure(self._request, self._settings)

    def _check_as_it_comes(self, request: FrameRequest, settings: CameraSettings) -> None:
        if request.trigger == "software":
            raise CameraError(
                f"{self._sender} was asked for {request.kind} by software triggers, and nothing controls it. Give the source "
                "its control, use a plan in which the detector goes on at its own pace, or give it pulses: trigger=DEVICE."
            )
        self._check_exposure(request, settings)

    def _check_exposure(self, request: FrameRequest, settings: CameraSettings) -> None:
        asked_s, found_s = settings.exposure_s, self._exposure_s
        if asked_s > 0 and found_s is not None and abs(found_s - asked_s) > 0.01 * asked_s:
            raise CameraError(
                f"{self._sender} was asked to expose {request.kind} for {asked_s:g} s; its series has exposures of {found_s:g} s, and "
                "nothing controls it. Set the camera's exposure to that, or to 0 to take what comes, or give the source its control."
            )

    def _check_there(self) -> None:
        """Check that somebody listens at the address, without becoming one who is sent to."""
        parts = urlsplit(self._address)
        if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
            return
        try:
            socket.create_connection((parts.hostname, parts.port), self._within_s).close()
        except OSError as error:
            raise CameraError(
                f"{self._sender} cannot be reached ({error}). Check the address, and that the detector's stream is enabled."
            ) from error


class _ExposureTimes:
    """When images were exposed, by the computer's clock.

    A detector tells times from an instant of its own. The image that came soonest after its exposure tells
    when that was; one that tells none was exposed just before it came.
    """

    def __init__(self, exposure_s: float) -> None:
        self.exposure_s = exposure_s
        self._offset_ns: int | None = None
        self._arrived_ns = 0
        self._newest_ns = 0

    def arrived(self) -> None:
        """Note that a message is here."""
        self._arrived_ns = time.time_ns()

    def middle_ns(self, image: SeriesImage) -> int:
        """Return the middle of an exposure in ns; never before that of the image before."""
        if image.middle_s is None or image.stop_s is None:
            middle_ns = self._arrived_ns - round(0.5e9 * self.exposure_s)
        else:
            offset_ns = self._arrived_ns - round(1e9 * image.stop_s)
            if self._offset_ns is None or offset_ns < self._offset_ns:
                self._offset_ns = offset_ns
            middle_ns = self._offset_ns + round(1e9 * image.middle_s)
        self._newest_ns = max(self._newest_ns, middle_ns)
        return self._newest_ns


def sender_at(address: str) -> str:
    """Return how a detector is called in messages."""
    return f"The detector at {address}"
