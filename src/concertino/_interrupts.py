"""What Ctrl-C does to a plan."""

import contextlib
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from bluesky.utils import TransitionError  # type: ignore[attr-defined]


class AbortOnInterrupt:
    """While a plan runs, one Ctrl-C ends it: it cleans up, beam off first, and the run is aborted.

    Use it as a context manager of a RunEngine. The RunEngine's own needs two, and pauses.

    Parameters
    ----------
    run_engine : bluesky.RunEngine
        Runs the plan.
    """

    def __init__(self, run_engine: Any) -> None:
        self._run_engine = run_engine
        self._previous: Any = None
        self._main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        print("\nInterrupted: the beam goes off, then the run ends.", flush=True)
        # It waits for the RunEngine's loop, which a signal handler must not do.
        threading.Thread(target=self._end_plan, daemon=True).start()

    def _end_plan(self) -> None:
        with contextlib.suppress(TransitionError):  # It is ending already.
            if self._run_engine.state == "running":
                self._run_engine.abort("interrupted by Ctrl-C")
