"""Cameras as bluesky devices: they declare a frame stream and document what is safe."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import cast

import numpy as np
from bluesky.protocols import Flyable, Preparable, Stageable, Stoppable, Triggerable
from numpy.typing import NDArray
from ophyd_async.core import (
    AsyncStatus,
    TriggerInfo,
    WatchableAsyncStatus,
    WatcherUpdate,
    soft_signal_r_and_setter,
)

from concertino import CameraError
from concertino.documents import UNKNOWN_NUMBER
from concertino.frames import FrameRequest, FrameStream, StreamAssets

from ._acquisition import PATIENCE_S
from ._async_source import AsyncFrameSource, LoopSource, as_frame_source
from ._camera_preparation import CameraPreparation
from ._frame_source import (
    FrameSource,
    TellsClock,
    TellsReadoutRate,
    TriggeredFrameSource,
    first_number_of,
)
from ._held_settings import HeldSettings
from ._ledger_collector import LedgerCollector
from ._remote_acquisition import AnyAcquisition
from ._setting_signals import timing_signal
from ._source_watch import Caller

_PROGRESS_S = 0.02


class Camera(CameraPreparation, Triggerable, Preparable, Flyable, Stageable, Stoppable):
    """A camera over a `FrameSource`.

    ``prepare(FrameRequest(…))`` makes the frame stream, whose address the configuration signal
    ``frames`` shows. Then either ``kickoff`` and ``complete`` for frames at the camera's own pace, or
    ``trigger`` for each frame. A frame stands in the documents when every subscriber that wants
    each frame has declared it safe.

    Parameters
    ----------
    source : FrameSource or AsyncFrameSource
        What takes the frames: from a thread, or in the RunEngine's loop.
    exposure : float
        Initial exposure time in seconds, or with a unit, such as ``"4 ms"``; the signal ``exposure`` changes it, and
        takes both, too.
    frame_rate : float
        Initial frame rate in Hz, 0 for as fast as possible; the signal ``frame_rate`` changes it.
    ring_bytes : int
        Memory for frames on their way to the subscribers, in bytes.
    subscriber_timeout_s : float
        How long a subscriber may be silent, in seconds.
    frame_timeout_s : float
        How much later than expected a frame may come before the camera counts as dead, in seconds; its
        source may take as long to stop, and eight times as long to prepare or to start.
    stream_address : str
        Where subscribers find the frames: by default on this computer only, in whatever process they live;
        ``"tcp://host:0"``, with the name or number of this one, for those on other computers, too.
    name : str
        Name of the device, which is also the data key of its frames.
    """

    def __init__(
        self,
        source: FrameSource | AsyncFrameSource,
        *,
        exposure: float = 0.01,
        frame_rate: float = 0.0,
        ring_bytes: int = 256 * 2**20,
        subscriber_timeout_s: float = 30.0,
        frame_timeout_s: float = PATIENCE_S,
        stream_address: str = "tcp://127.0.0.1:0",
        name: str = "camera",
    ) -> None:
        self.source = as_frame_source(source, frame_timeout_s)
        self._stream_address = stream_address
        self._ring_bytes = ring_bytes
        self._subscriber_timeout_s = subscriber_timeout_s
        self._frame_timeout_s = frame_timeout_s
        self._hung = None
        self._caller = Caller()
        self._acquisition = self._assets = None
        self._last: FrameStream | None = None
        self._preparing = asyncio.Lock()
        self._wanted: object = None  # what was asked last, until it is given up
        self.exposure = timing_signal(lambda: self.name or name, "exposure", exposure, "s")
        self.frame_rate = timing_signal(lambda: self.name or name, "frame_rate", frame_rate, "Hz")
        self.frames, self._set_frames = soft_signal_r_and_setter(str, "")
        self.preview, self._set_preview = soft_signal_r_and_setter(str, "")
        self.pixel_size, self._set_pixel_size = soft_signal_r_and_setter(
            float, source.pixel_size_um, units="um"
        )
        self.first_number, self._set_first_number = soft_signal_r_and_setter(int, 0)
        self.start_time, self._set_start_time = soft_signal_r_and_setter(float, 0.0, units="s")
        self._have_settings(self._settings_of(self.source))
        self.ledger = LedgerCollector(f"{name}-ledger")
        super().__init__(name)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device, its signals and what collects its ledgers."""
        super().set_name(name, child_name_separator=child_name_separator)
        self.ledger.set_name(f"{name}-ledger")

    def _settings_of(self, source: FrameSource) -> HeldSettings:
        return HeldSettings(source)

    @property
    def ring_bytes(self) -> int:
        """Most memory that frames on their way to the subscribers take, in bytes."""
        return self._ring_of(self.frame_bytes)

    @property
    def ring_held_bytes(self) -> int:
        """How much of `ring_bytes` the last stream has taken already; the next one takes it over."""
        ring = None if self._last is None else self._last.ring
        return 0 if ring is None else ring.capacity * ring.frame_bytes

    @property
    def memory_rate_hz(self) -> float:
        """Frames that it reads out of a memory of its own in a second; 0 for as fast as it can."""
        source = self.source
        return float(source.readout_rate_hz) if isinstance(source, TellsReadoutRate) else 0.0

    @property
    def exposed(self) -> bool:
        """Whether all frames asked for are exposed, be they safe or not; the beam is not needed."""
        acquisition = self._acquisition
        if acquisition is None or acquisition.wanted is None:
            return False
        return acquisition.exposed >= acquisition.wanted

    @property
    def num_exposed(self) -> int:
        """Frames of the present stream that are exposed, be they safe or not."""
        return 0 if self._acquisition is None else self._acquisition.exposed

    @property
    def ended_early(self) -> bool:
        """Whether `stop` ended the present stream before all frames asked for were exposed."""
        return self._acquisition is not None and self._acquisition.ended_early

    async def wait_exposed(self) -> None:
        """Wait until all frames asked for are exposed, be they read out or not.

        Raises
        ------
        CameraError
            If the camera was not prepared, failed, or was stopped before that.
        """
        acquisition = self._prepared("wait for its exposures")
        await self._until(lambda: self.exposed or acquisition.error is not None or acquisition.done)
        if acquisition.error is not None:
            raise acquisition.error

    @AsyncStatus.wrap
    async def stage(self) -> None:
        """Make the camera idle, and forget what it was prepared for."""
        self._wanted = None
        await self._stop()
        self._acquisition = self._assets = None
        self._set_frames("")
        self._set_preview("")

    async def stop(self, success: bool = True) -> None:
        """End the stream early, in good order: the frames exposed until now are all that is wanted.

        Returns when nothing is exposed any more; `complete` waits until the frames are safe.

        Parameters
        ----------
        success : bool
            False: as `unstage`.
        """
        if self._acquisition is None:
            return
        if not success:
            self._acquisition.request_stop()
            return
        self._acquisition.end()
        await self._acquisition.ended()

    def unstage(self) -> AsyncStatus[None]:
        """Stop exposing, end the frame stream and wait until its subscribers are done."""
        # At once: after a halt the RunEngine calls this and does not wait for it.
        self._wanted = None
        if self._acquisition is not None:
            self._acquisition.request_stop()
        return AsyncStatus(self._stop())

    @AsyncStatus.wrap
    async def prepare(self, value: FrameRequest | TriggerInfo) -> None:
        """Make the frame stream for a request.

        Raises
        ------
        CameraError
            If the camera cannot do what is asked, or is busy.
        """
        self._wanted = wanted = object()
        async with self._preparing:  # One whose asker has left may still be under way.
            await self._prepare(await self._as_request(value), wanted)

    async def _prepare(self, request: FrameRequest, wanted: object) -> None:
        if self._acquisition is not None:
            self._acquisition.check_free(self.name, request)
        await self._stop()
        await self.check_request(request)
        if self._wanted is not wanted:  # Whoever asked has left meanwhile.
            return
        self._changed = asyncio.Event()
        self._stepping = False
        loop = asyncio.get_running_loop()
        event = self._changed
        acquisition = await self._acquire(request, lambda: _set_soon(loop, event))
        if self._wanted is not wanted:  # Nobody else would end it.
            await acquisition.stop()
            await self._stop()
            return
        self._acquisition = acquisition
        self._assets = StreamAssets(self.name, acquisition.stream)
        self.ledger.watch(self._acquisition)
        self._set_frames(acquisition.stream.address)
        self._set_preview(acquisition.preview)
        declared = first_number_of(self.source)
        self._set_first_number(UNKNOWN_NUMBER if declared is None else declared)

    async def exposures(self, since: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return when the frames of the present stream were exposed.

        Parameters
        ----------
        since : int
            Index of the first frame to return.

        Returns
        -------
        numbers, times_ns : ndarray of int64, shape (n,)
            The camera's frame numbers, counted from 0 for the first exposure, so that a frame which was
            lost leaves a gap; and the middle of each exposure in ns by the camera's clock.
        """
        return self._prepared("tell its exposures").exposures(since)

    async def clock(self) -> float:
        """Return what the clock of the time stamps shows now, in seconds since the epoch."""
        if isinstance(source := self.source, TellsClock):
            return await self._asked_clock(source.clock)
        return time.time()

    @AsyncStatus.wrap
    async def kickoff(self) -> None:
        """Start exposing; done when the camera does."""
        acquisition = self._prepared("kickoff")
        await self.warn_unless_stored()
        await self._start(acquisition)
        await self._until(lambda: acquisition.started)
        if acquisition.error is not None and not acquisition.start_s:
            raise acquisition.error  # What goes wrong later fails `complete`.
        self._set_start_time(acquisition.start_s)

    @WatchableAsyncStatus.wrap
    async def complete(self) -> AsyncIterator[WatcherUpdate[int]]:
        """Wait until every subscriber has declared every frame safe.

        Raises
        ------
        SubscriberFailedError, SubscriberSilentError
            If a subscriber that wants every frame failed.
        CameraError
            If the camera failed.
        FramesLostError
            If the ledger's counts differ.
        """
        acquisition = self._prepared("complete")
        count = acquisition.request.count
        if count is None:
            await acquisition.stop()
        while True:
            self._changed.clear()
            _ = acquisition.stream.error  # to look at a stream is to notice who is silent in it
            yield WatcherUpdate(
                current=acquisition.stream.acknowledged,
                initial=0,
                target=acquisition.stream.published if count is None else count,
                name=f"{self.name} {acquisition.request.kind}",
                unit="frame",
                precision=0,
            )
            if acquisition.done or acquisition.error is not None:
                break
            await asyncio.sleep(_PROGRESS_S)
            await self._wait_for_change()
        acquisition.check()

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Take one frame; done when it is exposed and published.

        Prepared for pulses at its input, and kicked off, the camera waits for the next one.

        Raises
        ------
        CameraError
            If the camera was not prepared for software triggers, or failed.
        """
        acquisition = self._prepared("trigger")
        self._stepping = True
        if acquisition.request.trigger == "internal":
            raise CameraError(
                f"Camera {self.name} was triggered but prepared for {acquisition.request.trigger} "
                "triggers; prepare it with FrameRequest(…, trigger='software')."
            )
        if not acquisition.running and not acquisition.done:
            # Of a stream without end, as in plans of bluesky, who stores it may hear after the first frame.
            self._unasked = acquisition.request.count is None
            if not self._unasked:
                await self.warn_unless_stored()
            await self._start(acquisition)
            await self._until(lambda: acquisition.started)
        before = acquisition.exposed
        if acquisition.request.trigger == "software":
            acquisition.note_trigger()
            await self._fire()
        await self._until(
            lambda: (
                acquisition.exposed > before or acquisition.error is not None or acquisition.done
            )
        )
        if acquisition.error is not None:
            raise acquisition.error
        if acquisition.exposed == before:
            raise CameraError(
                f"Camera {self.name} was triggered after it had taken the {before} frames of "
                f"{acquisition.request.kind} or was stopped; prepare it again for more."
            )

    async def _start(self, acquisition: AnyAcquisition) -> None:
        """Have the frames begin to come; short, as the RunEngine's loop does it."""
        acquisition.start()

    async def _fire(self) -> None:
        """Give a software trigger."""
        source = cast(TriggeredFrameSource, self.source)  # as `check_request` saw
        if isinstance(source, LoopSource):
            source.trigger()  # in this loop
            return
        within_s = 2 * await self.exposure.get_value() + self._frame_timeout_s
        # Not by the RunEngine's loop: a vendor's call may not come back.
        await self._called(source.trigger, "take a frame by a software trigger", within_s)

    async def _be_prepared(self) -> None:
        """Prepare an endless stream of software triggers when nothing is, for plans of bluesky."""
        async with self._preparing:
            if self._acquisition is None:
                self._wanted = wanted = object()
                request = FrameRequest(None, kind="primary", trigger="software")
                await self._prepare(request, wanted)

    async def _stop(self) -> None:
        if self._acquisition is not None:
            await self._acquisition.stop()
            if self._acquisition.hangs:
                self._hung = self._acquisition


def _set_soon(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not event.is_set() and not loop.is_closed():
        loop.call_soon_threadsafe(event.set)
