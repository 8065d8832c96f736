"""What a camera does before its first exposure: from a request to a frame stream."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from ophyd_async.core import TriggerInfo

from concertino import CameraError, ConcertinoError
from concertino.frames import FrameRequest, FrameStream
from concertino.guard import named_with_address

from ._acquisition import PREPARES, Acquisition
from ._async_source import LoopSource
from ._camera_checks import (
    check_count,
    check_described,
    check_memory,
    check_retrospective,
    check_software_trigger,
    trigger_of,
)
from ._camera_setting import SettingValue
from ._frame_source import CameraSettings
from ._pre_trigger import PreviewStream
from ._remote_acquisition import AnyAcquisition
from ._settable_camera import SettableCamera
from ._source_watch import Caller

_T = TypeVar("_T")
#: Within which a clock that has answered is asked again without a thread, in s.
_IN_A_ROW_S = 0.05


class CameraPreparation(SettableCamera):
    """The part of `Camera` that has its source prepared, and makes the stream for its frames."""

    _stream_address: str
    _subscriber_timeout_s: float
    _frame_timeout_s: float
    _set_preview: Callable[[str], None]
    _caller: Caller
    _clock_told_s = -math.inf
    #: One that was not let go of.
    _hung: AnyAcquisition | None
    #: The stream made last; the next one takes its ring over.
    _last: FrameStream | None

    @property
    def address(self) -> str:
        """Where its control system has it, for messages; empty for a camera that is in no control system."""
        return ""

    @property
    def _addressed(self) -> str:
        return named_with_address(self.name, self)

    async def check_request(self, request: FrameRequest) -> None:
        """Check whether the camera can do what is asked, with its present settings.

        Raises
        ------
        CameraError
            If it cannot.
        """
        request, settings = await self._checked(request, {})
        if self._idle:
            await self._prepare_source(request, settings)
            self._check_room(request, self.frame_bytes)

    async def check_request_if(
        self, request: FrameRequest, values: Mapping[str, SettingValue]
    ) -> None:
        """Check whether the camera could do what is asked, were some settings others; it is not told of them.

        Parameters
        ----------
        request : FrameRequest
            What would be asked.
        values : mapping of str to value
            What settings would be, by their names, as their signals' ``as_set`` returns it.

        Raises
        ------
        CameraError
            If it could not, as far as its limits of now tell.
        """
        request, _ = await self._checked(request, values)
        self._check_room(request, self.frames_if(values).frame_bytes)

    async def _checked(
        self, request: FrameRequest, values: Mapping[str, SettingValue]
    ) -> tuple[FrameRequest, CameraSettings]:
        """Return a request as the trigger's mode has it, and its settings, if the camera can take it as far as it has told."""
        check_count(self.name, request)
        check_software_trigger(self.name, request, self.source)
        if self._hung is not None and self._hung.hangs:
            raise CameraError(self._hung.hanging)
        if self._idle:
            await self._ask_settings()
        settings = await self._settings(request, values)
        return self._as_the_mode_says(request, values), settings

    @property
    def _idle(self) -> bool:
        return self._acquisition is None or not self._acquisition.running

    def _check_room(self, request: FrameRequest, frame_bytes: int) -> None:
        check_retrospective(self.name, request, frame_bytes, self._ring_bytes)
        check_memory(self.name, request, self.source, frame_bytes)

    async def _as_request(self, value: FrameRequest | TriggerInfo) -> FrameRequest:
        if isinstance(value, FrameRequest):
            return value
        trigger = trigger_of(self.name, value)
        if value.livetime:
            await self.exposure.set(value.livetime)
        if value.deadtime:
            exposure = await self.exposure.get_value()
            await self.frame_rate.set(1 / (exposure + value.deadtime))
        return FrameRequest(value.number_of_exposures or None, trigger=trigger)

    async def _ask_settings(self) -> None:
        """Ask the source what can be set now."""
        if self._held.some:
            await self._called(self._held.ask, "say what can be set of it")

    async def _prepare_source(self, request: FrameRequest, settings: CameraSettings) -> None:
        await self._called(
            lambda: self.source.prepare(request, settings), f"prepare {request.kind}"
        )
        check_described(self.source)
        self._held.taken(settings.values)
        self._set_pixel_size(self.source.pixel_size_um)

    async def _asked_clock(self, clock: Callable[[], float]) -> float:
        """Return what a clock shows in the middle of the asking.

        It is asked in a thread, as it may never answer; of readings in a row the others are made here, where they
        take microseconds: it has just answered, and the way to a thread and back would be what is measured.
        """
        if time.monotonic() - self._clock_told_s < _IN_A_ROW_S:
            with suppress(Exception):  # which the thread's asking tells in a sentence
                return float(clock())

        def ahead_s() -> float:
            before_s = time.time()
            shown_s = float(clock())
            return shown_s - (before_s + time.time()) / 2

        begun_s = time.time()
        ahead = await self._called(ahead_s, "tell its clock", self._frame_timeout_s)
        self._clock_told_s = time.monotonic()
        return (begun_s + time.time()) / 2 + ahead

    async def _called(self, work: Callable[[], _T], what: str, within_s: float | None = None) -> _T:
        """Have the source do something that may take it a while, and that it may fail to do."""
        if within_s is None:
            within_s = PREPARES * self._frame_timeout_s
        if isinstance(self.source, LoopSource):
            self.source.loop = asyncio.get_running_loop()
        try:
            return await self._caller.call(work, within_s)
        except ConcertinoError:
            raise
        except TimeoutError as error:
            raise CameraError(
                f"Camera {self._addressed} was asked to {what} and has not done so within "
                f"{within_s:g} s. Check the detector and its driver, or give the camera a longer "
                "frame_timeout_s."
            ) from error
        except Exception as error:
            raise CameraError(
                f"Camera {self._addressed} was asked to {what}, and its source failed: {type(error).__name__}: {error}. "
                "Check the detector and its driver."
            ) from error

    async def _acquire(self, request: FrameRequest, wake: Callable[[], None]) -> AnyAcquisition:
        """Make the frame stream and what will carry frames to it."""
        settings = await self._settings(request)
        # Its memory takes a while; the RunEngine's loop has other things to do.
        stream = await asyncio.to_thread(
            FrameStream,
            self._stream_address,
            shape=self.source.shape,
            dtype=self.source.dtype,
            name=f"{self.name}/{request.kind}",
            ring_bytes=self._ring_bytes,
            timeout_s=self._subscriber_timeout_s,
            patience_s=settings.patience_s(request),
            ring=self._last.ring if self._last is not None else None,
        )
        self._last = stream
        preview = None
        if request.retrospective is not None:
            preview = await asyncio.to_thread(
                PreviewStream, self._stream_address, stream, request.retrospective.preview_hz
            )
        return Acquisition(
            self._addressed, self.source, stream, request, wake, preview,
            expected_s=settings.expected_s(request.trigger), patience_s=self._frame_timeout_s,
            trigger=self._as_the_mode_says(request).trigger,
        )  # fmt: skip
