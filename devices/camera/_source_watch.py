"""How long a source has let its camera wait for a frame, and calls to it that may never return."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

from numpy.typing import NDArray

from concertino._clocks import CameraTimes, ClockCalibration, HostTimes
from concertino.frames import FrameRequest

from ._frame_source import BufferedFrameSource, FrameSource, Grab, TellsClock

#: How long the loop waits for a source to stop; one that needs longer goes on in a thread.
_STOPPED_S = 0.5
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
        #: Whether the thread that carries the frames is within a call to the source.
        self.busy = False

    def start(self) -> None:
        """Start the source."""
        self.busy = True
        self._look()
        self._source.start()
        self.busy = False

    def end(self) -> None:
        """Stop the source from the thread that carries its frames."""
        self.busy = True
        self._source.stop()
        self.busy = False

    def grab(self, out: NDArray[Any]) -> tuple[Grab, HostTimes]:
        """Grab frames from the source; also return the middles of their exposures."""
        self._ask()
        grab = None
        try:
            grab = self._source.grab(out)
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
        if self._trigger == "edge":
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
        self._stopping = in_thread(self._source.stop, "source stops")
        self._stopping.join(_STOPPED_S)

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


async def called(work: Callable[[], object], within_s: float) -> None:
    """Have a call that may never return made in a thread, and wait for it.

    Raises
    ------
    TimeoutError
        If it has not returned within `within_s`.
    Exception
        What the call raised.
    """
    done: Future[None] = Future()

    def call() -> None:
        try:
            work()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    in_thread(call, "source prepares")
    await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(done)), within_s)
