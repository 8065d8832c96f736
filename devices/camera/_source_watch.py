"""How long a source has let its camera wait for a frame, and calls to it that may never return."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal, TypeVar, cast

from numpy.typing import NDArray

from concertino._clocks import CameraTimes, ClockCalibration, HostTimes
from concertino.frames import FrameRequest

from ._async_source import LoopSource
from ._frame_source import (
    BufferedFrameSource,
    FrameSource,
    Grab,
    TellsClock,
    first_number_of,
)
from ._grab_checks import GrabChecks

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)

#: How long the loop waits for a source to stop; one that needs longer goes on in a thread.
_STOPPED_S = 0.5
#: How long a thread waits for the next call, in s: less costs a thread a trigger, more is seen after the scan.
_IDLE_S = 0.05
#: How often a source's own clock is looked at, in s, and how many of the looks say how it goes.
_LOOKS_S, _LOOKS = 1.0, 120


class SourceWatch:
    """Passes calls on to a source, and keeps the time that goes by without a frame.

    The times of its frames are passed on by the computer's clock, whatever the source's shows.

    Only the time within `grab` and `record` counts: a camera that waits for a slow subscriber is not
    silent. With software triggers only the time counts in which a trigger is unanswered, and with pulses
    at the input none: who gives them knows when frames are due.

    Parameters
    ----------
    source : FrameSource
        The source.
    request : FrameRequest
        What it was prepared for.
    expected_s : float
        Time from frame to frame, or from a trigger to its frame, in seconds.
    """

    def __init__(self, source: FrameSource, request: FrameRequest, expected_s: float) -> None:
        self.expected_s = expected_s
        self._source = source
        self._trigger = request.trigger
        self._lock = threading.Lock()
        self._spent_s = 0.0
        self._since_s: float | None = None
        self._unanswered = 0
        self._triggered_s = 0.0
        self._stopping: threading.Thread | None = None
        self._clock = ClockCalibration(
            CameraTimes, source.clock if isinstance(source, TellsClock) else None, _LOOKS
        )
        self._looked_s = 0.0
        self._checks = GrabChecks(type(source).__name__, isinstance(source, TellsClock))
        #: Whether the thread that carries the frames is within a call to the source.
        self.busy = False
        #: When it had started, in s since the epoch.
        self.started_s = 0.0
        #: What the source was told to do by that thread, and since when it has not done so.
        self.told: tuple[Literal["start", "stop"], float] | None = None

    def start(self) -> None:
        """Start the source."""
        self._tell("start", self._begin)

    def end(self) -> None:
        """Stop the source from the thread that carries its frames."""
        self._tell("stop", self._source.stop)

    def _begin(self) -> None:
        self._look()
        self._source.start()
        self.started_s = time.time()
        self._checks.begin(first_number_of(self._source))

    def _tell(self, what: Literal["start", "stop"], work: Callable[[], None]) -> None:
        self.busy, self.told = True, (what, time.monotonic())
        try:
            work()
        finally:
            self.busy, self.told = False, None

    def grab(self, out: NDArray[Any]) -> tuple[Grab, HostTimes]:
        """Grab frames from the source; also return the middles of their exposures."""
        self._ask()
        grab = None
        try:
            grab = self._checks.checked(self._source.grab(out), len(out))
            if time.monotonic() - self._looked_s > _LOOKS_S:
                self._look()
            return grab, self._clock.to_host(CameraTimes(grab.timestamps))[0]
        finally:
            self._answered(0 if grab is None else len(grab.numbers) + len(grab.dropped))

    def shown(self, times: HostTimes) -> CameraTimes:
        """Return what the source's clock shows at times of the computer's."""
        return self._clock.of_host(times)[0]

    def record(self, before: int) -> int:
        """Have the source record; it had recorded `before` frames."""
        self._ask()
        recorded = before
        try:
            recorded = cast(BufferedFrameSource, self._source).record()
            return recorded
        finally:
            self._answered(recorded - before)

    def note_trigger(self) -> None:
        """Note that a frame was asked for by a software trigger."""
        with self._lock:
            if not self._unanswered:
                self._triggered_s = time.monotonic()
            self._unanswered += 1

    @property
    def silent_s(self) -> float:
        """For how long a frame has been asked for and none came, in seconds."""
        if self._trigger in ("edge", "level"):
            return 0.0
        with self._lock:
            now_s = time.monotonic()
            if self._trigger == "software":
                return now_s - self._triggered_s if self._unanswered else 0.0
            return self._spent_s + (0.0 if self._since_s is None else now_s - self._since_s)

    def stop(self) -> None:
        """Stop the source; one whose `stop` does not return is left to it, in a thread."""
        if self._stopping is not None and self._stopping.is_alive():
            return
        self._stopping = in_thread(self._stop, "source stops")
        if not isinstance(
            self._source, LoopSource
        ):  # That one stops in the loop, which may be this.
            self._stopping.join(_STOPPED_S)

    def _stop(self) -> None:
        # Who carries the frames stops it, too, and its run fails by what it raises then.
        try:
            self._source.stop()
        except BaseException as error:
            _LOG.warning(
                "%s was told to stop from another thread and raised %s: %s. See whether its camera is at rest.",
                type(self._source).__name__, type(error).__name__, error,
            )  # fmt: skip

    def _look(self) -> None:
        self._clock.look_now()
        self._looked_s = time.monotonic()

    def _ask(self) -> None:
        with self._lock:
            self.busy, self._since_s = True, time.monotonic()

    def _answered(self, frames: int) -> None:
        with self._lock:
            self._spent_s += time.monotonic() - (self._since_s or 0.0)
            self.busy, self._since_s = False, None
            if frames:
                self._spent_s = 0.0
                self._unanswered = max(0, self._unanswered - frames)
                self._triggered_s = time.monotonic()


def in_thread(work: Callable[[], object], name: str) -> threading.Thread:
    """Begin a call that may never return, in a thread that keeps no process alive."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


class _Calls:
    """Calls that a thread makes one after the other; it ends when none comes for a while."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._ended = False

    def add(self, make: Callable[[], None] | None) -> bool:
        """Add a call, or None to end the thread; False if it has ended."""
        with self._lock:
            if not self._ended:
                self._waiting.put(make)
            return not self._ended

    def make_all(self) -> None:
        """Make them, in the thread."""
        while (make := self._next()) is not None:
            make()
            del make  # or the thread would keep what it was asked for last

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._waiting.get(timeout=_IDLE_S)
        except queue.Empty:
            with self._lock:
                self._ended = self._waiting.empty()
            return None if self._ended else self._next()


class Caller:
    """Makes calls that may never return, one after the other, in a thread; one that does not return keeps it."""

    def __init__(self) -> None:
        self._calls: _Calls | None = None

    async def call(self, work: Callable[[], _T], within_s: float) -> _T:
        """Have a call made, and wait for what it returns.

        Raises
        ------
        TimeoutError
            If it has not returned within `within_s`.
        Exception
            What the call raised.
        """
        done: Future[_T] = Future()

        def make() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                # A future takes no StopIteration, a loop ends by what ends a process, and a TimeoutError is ours.
                plain = isinstance(error, Exception) and not isinstance(
                    error, StopIteration | TimeoutError
                )
                done.set_exception(error if plain else _ended_by(error))

        self._add(make)
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(done)), within_s)
        finally:
            if not done.done():
                self.leave()

    def leave(self) -> None:
        """Leave the thread to what it does; the next call has another one."""
        if self._calls is not None:
            self._calls.add(None)
            self._calls = None

    def _add(self, make: Callable[[], None]) -> None:
        if self._calls is None or not self._calls.add(make):
            self._calls = _Calls()
            self._calls.add(make)
            in_thread(self._calls.make_all, "source is called")


def _ended_by(error: BaseException) -> RuntimeError:
    told = RuntimeError(f"{type(error).__name__}: {error}")
    told.__cause__ = error
    return told
