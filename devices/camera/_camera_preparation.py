"""What a camera does before its first exposure: from a request to a frame stream."""

import asyncio
from collections.abc import Callable

from ophyd_async.core import TriggerInfo

from concertino import CameraError
from concertino.frames import FrameRequest, FrameStream

from ._acquisition import Acquisition
from ._camera_checks import check_timing, trigger_of
from ._camera_documents import CameraDocuments
from ._frame_source import CameraSettings, FrameSource
from ._pre_trigger import Preview
from ._remote_acquisition import AnyAcquisition
from ._source_watch import called

#: A camera may take so many times its time-out to prepare: it may have to cool, or to compile.
_PREPARES = 8


class CameraPreparation(CameraDocuments):
    """The part of `Camera` that has its source prepared, and makes the stream for its frames."""

    source: FrameSource
    _stream_address: str
    _ring_bytes: int
    _subscriber_timeout_s: float
    _frame_timeout_s: float
    _set_preview: Callable[[str], None]
    #: The stream made last; the next one takes its ring over.
    _last: FrameStream | None

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

    async def _settings(self, request: FrameRequest) -> CameraSettings:
        exposure, rate = await asyncio.gather(
            self.exposure.get_value(), self.frame_rate.get_value()
        )
        check_timing(self.name, request, exposure, rate)
        return CameraSettings(exposure, rate)

    async def _prepare_source(self, request: FrameRequest, settings: CameraSettings) -> None:
        within_s = _PREPARES * self._frame_timeout_s
        try:
            await called(lambda: self.source.prepare(request, settings), within_s)
        except TimeoutError as error:
            raise CameraError(
                f"Camera {self.name} was asked to prepare {request.kind} and has not done so within "
                f"{within_s:g} s. Check the detector and its driver, or give the camera a longer "
                "frame_timeout_s."
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
                Preview, self._stream_address, stream, request.retrospective.preview_hz
            )
        return Acquisition(
            self.name, self.source, stream, request, wake, preview,
            expected_s=settings.expected_s(request.trigger), patience_s=self._frame_timeout_s,
        )  # fmt: skip
