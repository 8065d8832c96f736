"""The frames of a detector that writes its own files: controlled in the loop, read from the growing file."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from event_model import DataKey
from numpy.typing import NDArray
from ophyd_async.core import DetectorTrigger, SignalR, StandardDetector, TriggerInfo

from concertino import CameraError, StorageError
from concertino.devices.camera._frame_source import CameraSettings, ChooseRows, Grab
from concertino.frames import FrameRequest
from concertino.guard import address_of
from concertino.runtime._priority import make_way

from ._detector_documents import DetectorDocuments, frames_key
from ._exposure_counter import present_frames
from ._file_progress import FileProgress
from ._trigger_info import trigger_info

LOG = logging.getLogger(__name__)

#: How often the detector is asked how far it is, in s, its counter of exposures, and to flush its file.
_LOOK_S, _COUNT_S, _FLUSH_S = 0.02, 0.2, 0.1
#: By how much the thread that reads makes way for others: the writer may be on this computer.
_NICENESS = 10
#: Frames that are read later than this after they were counted, in s, are told of.
_BEHIND_S = 1.0


class DetectorSource:
    """An `AsyncFrameSource` over a `StandardDetector`.

    A frame can be read when the detector has counted it as written *and* its file holds it, after a flush. One
    that was counted as exposed, and that the file does not hold when neither has gone on for a while, is lost.

    Parameters
    ----------
    detector : StandardDetector
        The detector; it is staged again for each stream, so that each has a file of its own.
    counter : SignalR or None
        Counts its exposures; without one, those are what it has written.
    pixel_size_um : float
        Effective pixel size in um; 0 when unknown.
    patience_s : float
        How much later than expected a frame may come, in s; after half of it one that is not in the file is lost.
    data_key : str
        Which of its images are the frames, when several writers have some; see `frames_key`.
    """

    #: The first exposure of a stream has number 0.
    first_number: int | None = 0

    def __init__(
        self,
        detector: StandardDetector,
        counter: SignalR[int] | None,
        *,
        pixel_size_um: float,
        patience_s: float,
        data_key: str = "",
    ) -> None:
        self.detector = detector
        self._chosen = data_key
        #: Tells which rows of the next frames are needed.
        self.choose_rows: ChooseRows = lambda _count: None
        self.shape, self.dtype = (0, 0), np.dtype(np.uint8)
        self.pixel_size_um = pixel_size_um
        #: What the detector describes, its frames first.
        self.data_keys: dict[str, DataKey] = {}
        self.documents = DetectorDocuments(detector, patience_s / 2)
        self._counter, self._patience_s = counter, patience_s
        self._fresh = self._stopped = False
        self._software = False
        self._info = TriggerInfo()
        self._begun = 0
        self._progress = FileProgress(0.0, 0.0, patience_s / 2)
        self._failure: CameraError | None = None
        self._counted_s = self._flushed_s = 0.0
        self._reader: threading.Thread | None = None
        self._triggering: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._stopping = asyncio.Lock()
        self._reading = threading.Lock()

    @property
    def address(self) -> str:
        """Where its exposures are counted; empty when nothing counts them."""
        return "" if self._counter is None else address_of(self._counter)

    async def know_shape(self) -> None:
        """Take over what the detector's own signals say of its frames; unknown, (0, 0), where it has none."""
        found = await present_frames(self.detector)
        if found is not None:
            self.shape, self.dtype = found

    async def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Check what is asked, and have the detector make ready a file; one that is not begun is used again.

        Raises
        ------
        CameraError
            If the detector cannot do it, or writes no grey images.
        """
        info = await trigger_info(self.detector, request, settings, self._patience_s)
        found, _ = await self.detector.get_trigger_deadtime()
        ready = info
        if info.trigger is not DetectorTrigger.INTERNAL:
            # To be prepared for pulses is to be armed, which is for `start`.
            if DetectorTrigger.INTERNAL in found:
                ready = info.model_copy(update={"trigger": DetectorTrigger.INTERNAL})
            else:
                self._fresh = False
        if not self._fresh:
            await self.detector.stage()
            self._fresh, self._stopped = True, False
        await self.detector.prepare(ready)
        described = await self.detector.describe_collect()
        key, self.shape, self.dtype = frames_key(self.detector.name, described, self._chosen)
        self.data_keys = {
            name: what for name, what in described.items() if name == key or len(what["shape"]) < 3
        }
        self._info, self._software = info, request.trigger == "software"
        period_s = settings.expected_s(request.trigger)
        self._progress = FileProgress(period_s, settings.exposure_s, self._patience_s / 2)
        self.documents.begin(key, self.data_keys)
        self._failure = None

    async def start(self) -> None:
        """Have the detector expose at its own pace, or wait for triggers."""
        self._fresh = False
        self._begun = 0 if self._counter is None else int(await self._counter.get_value())
        if self._info.trigger is not DetectorTrigger.INTERNAL:
            await self.detector.prepare(self._info)
        if not self._software:
            await self.detector.kickoff()
        self._progress.begin()

    async def trigger(self) -> None:
        """Take one frame; a trigger that comes while the detector is busy waits for it."""
        if self._triggering is not None and self._progress.lost:
            self._triggering.cancel()  # It waits for a frame that does not come any more.
        async with self._one_at_a_time:
            if self._stopped:
                return
            self._triggering = asyncio.ensure_future(self._trigger())
            # The detector's own deadline is before this one.
            await asyncio.wait([self._triggering], timeout=2 * self._info.exposure_timeout)
            if not self._triggering.done():
                self._triggering.cancel()
            elif not self._triggering.cancelled() and (error := self._triggering.exception()):
                raise error

    async def wait(self) -> None:
        """Ask the detector, again and again, until it has counted more than was read, or is behind."""
        while True:
            if self._failure is not None:
                raise self._failure
            await asyncio.sleep(_LOOK_S)
            try:
                await asyncio.wait_for(self._look(), self._patience_s / 2)
            except Exception as error:
                progress = self._progress
                self._failure = CameraError(
                    f"Camera {self.detector.name} was asked how far it is and does not tell: "
                    f"{type(error).__name__}: {' '.join(str(error).split()) or 'no answer'}. It had written "
                    f"{progress.written} frames and exposed {progress.exposed}. Check that its process is alive."
                )
                self._failure.__cause__ = error
                progress.give_up("its process does not answer any more")
                return
            if self._progress.pending:
                return

    def grab(self, out: NDArray[Any]) -> Grab:
        """Read what is new in the file; say what is lost."""
        if self._reader is not threading.current_thread():
            self._reader = threading.current_thread()
            make_way(_NICENESS)
        with self._reading:
            if self._stopped:
                return Grab(np.empty(0, np.int64), np.empty(0, np.int64))
            try:
                return self._progress.grab(out, self.choose_rows)
            except StorageError as error:
                self._failure = CameraError(
                    f"Frames of camera {self.detector.name} cannot be read from its file: {error} Check its writer."
                )
                self._failure.__cause__ = error
                self._progress.give_up("it cannot be read")
                return self._progress.grab(out)

    async def stop(self) -> None:
        """Stop the detector, and have it end its file."""
        async with self._stopping:
            if self._stopped:
                return
            self._stopped, self._fresh = True, False
            if self._triggering is not None:
                self._triggering.cancel()
            try:
                await self._unstage()
            finally:
                await asyncio.to_thread(self._close)

    async def described(self, safe: int) -> AsyncIterator[tuple[str, Any]]:
        """Yield the detector's documents of the frames that are safe, up to one."""
        async for document in self.documents.up_to(safe):
            yield document

    async def _unstage(self) -> None:
        if self._failure is None:
            await self.detector.unstage()
            return
        try:  # It may be dead; what was lost by that is what is to be told.
            await asyncio.wait_for(self.detector.unstage(), self._patience_s / 4)
        except Exception as error:
            LOG.warning(
                "Camera %s was told to stop, and did not: %s: %s. %s",
                self.detector.name, type(error).__name__, error, self._failure,
            )  # fmt: skip

    async def _trigger(self) -> None:
        await self.detector.trigger()

    async def _look(self) -> None:
        progress = self._progress
        now_s = time.monotonic()
        written = await self.detector.get_index()
        exposed = progress.exposed
        if self._counter is not None and now_s - self._counted_s > _COUNT_S:
            self._counted_s = now_s
            exposed = int(await self._counter.get_value()) - self._begun
        progress.note(written, exposed)
        # Each flush costs the writer; the last frame, and one that was triggered, is waited for.
        due = now_s - self._flushed_s > _FLUSH_S or written >= self._info.number_of_events > 0
        if written > progress.flushed and due:
            # Only what was flushed can be read, and what was counted before is whole then.
            self._flushed_s = now_s
            resource = await self.documents.flush()
            if resource is not None:
                progress.open(resource)
            progress.flushed = written

    def _close(self) -> None:
        with self._reading:
            self._progress.close()
            behind_s = self._progress.behind_s
        if behind_s > _BEHIND_S:
            LOG.warning(
                "Frames of camera %s were looked at up to %.1f s after they had been written: reading them makes way "
                "for their writer. Its file has them all; give less to do to who looks, or read on another computer.",
                self.detector.name, behind_s,
            )  # fmt: skip
