"""Cameras whose control is asynchronous: driven in the RunEngine's loop, their frames fetched in a thread."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino.frames import FrameRequest

from ._camera_checks import check_described
from ._frame_source import CameraSettings, FrameSource, Grab, ReadsRows, TellsFirstNumber

_SLICE_S = 0.25
#: How many times as long a source may take to prepare as to start: it may have to cool.
_PREPARES = 8
_T = TypeVar("_T")


@runtime_checkable
class AsyncFrameSource(Protocol):
    """A camera whose control is asynchronous, as that of ophyd-async's devices.

    Its coroutines run in the RunEngine's loop, where its signals live; `grab` alone is called from the thread
    that carries the frames, so that the loop never does. One with software triggers has a coroutine more, see
    `TriggeredAsyncSource`. What else a `FrameSource` may offer, such as `TellsFirstNumber`, it may offer, too.

    Attributes
    ----------
    shape : tuple of int
        Frame shape (height, width) in pixels; may change in `prepare`.
    dtype : dtype
        Type of a pixel.
    pixel_size_um : float
        Effective pixel size in micrometres; 0 when unknown.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    pixel_size_um: float

    async def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Check and take over what is asked, before anything moves; called at least twice a stream.

        Nothing is armed here: that belongs to `start`.

        Raises
        ------
        CameraError
            If it cannot be done; with what can.
        """

    async def start(self) -> None:
        """Begin to expose, or to wait for triggers."""

    async def wait(self) -> None:
        """Return when `grab` has something to give; it is cancelled when the camera is stopped.

        Raises
        ------
        CameraError
            If the camera died.
        """

    def grab(self, out: NDArray[Any]) -> Grab:
        """Write the frames that are there into `out`; at once, in the thread that carries them.

        Parameters
        ----------
        out : ndarray, shape (n, height, width)
            Slots of the ring.

        Returns
        -------
        Grab
            For the frames written; for none when there are none, and then `wait` is called.

        Raises
        ------
        CameraError
            If the camera died.
        """

    async def stop(self) -> None:
        """Stop exposing; harmless when stopped."""


@runtime_checkable
class TriggeredAsyncSource(AsyncFrameSource, Protocol):
    """An asynchronous camera that takes software triggers.

    Prepared with a request whose `trigger` is ``"software"`` it exposes one frame for each `trigger`.
    """

    async def trigger(self) -> None:
        """Start one exposure; may return when it is over."""


class LoopSource:
    """A `FrameSource` over one that is asynchronous: its coroutines run in a loop, and each has a deadline.

    Parameters
    ----------
    source : AsyncFrameSource
        The source.
    within_s : float
        How long `start` and `stop` may take, in s; `prepare` eight times as long.

    Attributes
    ----------
    loop : AbstractEventLoop or None
        Where the coroutines run; whoever prepares says so before.
    first_number : int or None
        As of `TellsFirstNumber`; None when the source does not tell.
    """

    def __init__(self, source: AsyncFrameSource, within_s: float) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._asked = source
        self._within_s = within_s
        self._stopping = threading.Event()
        self._waiting: Future[None] | None = None
        self._failed: BaseException | None = None
        self._take_over()

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Have the source prepare."""
        self._done(self._asked.prepare(request, settings), "prepare", _PREPARES * self._within_s)
        self._take_over()

    def start(self) -> None:
        """Have the source start.

        Raises
        ------
        CameraError
            If it takes too long, or does not start.
        """
        self._failed = None
        self._stopping.clear()
        self._done(self._asked.start(), "start", self._within_s)

    def grab(self, out: NDArray[Any]) -> Grab:
        """Fetch frames; wait in the loop for the next ones when there are none."""
        while not self._stopping.is_set():
            if self._failed is not None:
                raise self._failed
            grab = self._asked.grab(out)
            if len(grab.numbers) or grab.dropped:
                return grab
            self._wait()
        return Grab(np.empty(0, np.int64), np.empty(0, np.int64))

    def stop(self) -> None:
        """Have the source stop, and a waiting `grab` return.

        Raises
        ------
        CameraError
            If it takes too long, or cannot.
        """
        self._stopping.set()
        waiting = self._waiting
        if waiting is not None:
            waiting.cancel()
        self._done(self._asked.stop(), "stop", self._within_s)

    def _wait(self) -> None:
        """Wait until the source has something; in slices, as what waits for ever would keep Python from ending."""
        self._waiting = waiting = self._schedule(self._asked.wait())
        try:
            while not self._stopping.is_set() and self._failed is None:
                try:
                    return waiting.result(_SLICE_S)
                except TimeoutError:
                    if waiting.done():
                        raise  # It is the source's own.
        except CancelledError:
            return
        finally:
            waiting.cancel()
            self._waiting = None

    def _done(self, call: Coroutine[Any, Any, None], what: str, within_s: float) -> None:
        done = self._schedule(call)
        try:
            done.result(within_s)
        except TimeoutError as error:
            if done.done() and not done.cancelled():
                raise
            done.cancel()
            raise CameraError(
                f"A camera was told to {what} and has not within {within_s:g} s. Check the detector and its "
                "driver, and restart them, or give the camera a longer frame_timeout_s."
            ) from error

    def _schedule(self, call: Coroutine[Any, Any, _T]) -> Future[_T]:
        loop = self.loop
        if loop is None or not loop.is_running():
            call.close()
            raise CameraError(
                "A camera whose control is asynchronous was driven outside of a loop. Prepare it by a plan that a "
                "running RunEngine has, or await its prepare() in the loop of its signals."
            )
        return asyncio.run_coroutine_threadsafe(call, loop)

    def _take_over(self) -> None:
        source = self._asked
        self.shape, self.dtype = source.shape, source.dtype
        self.pixel_size_um = source.pixel_size_um
        self.first_number = source.first_number if isinstance(source, TellsFirstNumber) else None


class TriggeredLoopSource(LoopSource):
    """A `LoopSource` whose source takes software triggers."""

    def __init__(self, source: TriggeredAsyncSource, within_s: float) -> None:
        super().__init__(source, within_s)
        self._triggered = source

    def trigger(self) -> None:
        """Start one exposure; returns at once, as the loop itself calls it. What fails is told by `grab`."""
        self._schedule(self._triggered.trigger()).add_done_callback(self._note)

    def _note(self, done: Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._stopping.is_set():
            self._failed = error
            waiting = self._waiting
            if waiting is not None:
                waiting.cancel()


def reads_rows(source: FrameSource) -> ReadsRows | None:
    """Return what can be told which rows are needed: the source, or the asynchronous one behind it; or None."""
    asked = source._asked if isinstance(source, LoopSource) else source
    return asked if isinstance(asked, ReadsRows) else None


def _named(given: object) -> str:
    if isinstance(given, type):
        return f"the class {given.__name__}"
    return f"{given!r}, of the class {type(given).__name__},"


def as_frame_source(source: FrameSource | AsyncFrameSource, within_s: float) -> FrameSource:
    """Return a source that a thread can drive: the one that was given, or a bridge to one that is asynchronous.

    Raises
    ------
    CameraError
        If it is no source, or says nothing sensible of its frames.
    """
    if isinstance(source, type) or not isinstance(source, FrameSource):
        raise CameraError(
            f"A camera was given {_named(source)} as its source. Give an object with shape, dtype, pixel_size_um, prepare, "
            "start, grab and stop, such as YourSource()."
        )
    check_described(source)
    if isinstance(source, TriggeredAsyncSource):
        return TriggeredLoopSource(source, within_s)
    if isinstance(source, AsyncFrameSource):
        return LoopSource(source, within_s)
    return source
