"""What Ctrl-C does to a plan."""

import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from bluesky.utils import SigintHandler

from concertino.runtime._ending import LeaveWhenEnded, ended, on_interrupt
from concertino.runtime._last_words import say
from concertino.runtime._plan_end import end_plan

if TYPE_CHECKING:
    from bluesky import RunEngine


class AbortOnInterrupt:
    """While a plan runs, one Ctrl-C ends it: beam off first, then the run is aborted.

    Use it as a context manager of a RunEngine, where nobody sits at a prompt: the call then ends with
    KeyboardInterrupt. More of them change nothing. The RunEngine's own pauses at the first.

    Parameters
    ----------
    run_engine : bluesky.RunEngine
        Runs the plan.
    """

    def __init__(self, run_engine: "RunEngine") -> None:
        self._run_engine = run_engine
        self._previous: Any = None
        self._main = threading.current_thread() is threading.main_thread()
        self._interrupted = False
        self._first = threading.Lock()
        self._heard = on_interrupt(self._end_soon)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
            self._heard.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._main:
            self._heard.__exit__(None, None, None)
        if ended():
            return  # The process ends with another signal, and Ctrl-C does not hurry it.
        if self._main:
            signal.signal(signal.SIGINT, self._previous)
        if self._interrupted and str(self._run_engine.state) != "paused":
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._end_soon()

    def _end_soon(self) -> None:
        self._interrupted = True
        if self._first.acquire(blocking=False):
            say("\nInterrupted: the beam goes off, then the run ends.")
            # It waits for the RunEngine's loop, which a signal handler must not do.
            threading.Thread(target=self._end_plan, daemon=True).start()

    def _end_plan(self) -> None:
        # The RunEngine may be about to begin.
        while end_plan(self._run_engine, "ended by Ctrl-C") and not self._over.wait(0.02):
            pass


class PauseOnInterrupt(SigintHandler):
    """At a prompt, Ctrl-C pauses the plan; when another signal ends the process, it hurries nothing.

    Only the main thread takes signals: of a plan that another one runs, a run in the background, it does nothing.
    """

    def __enter__(self) -> Any:
        self._main = threading.current_thread() is threading.main_thread()
        return super().__enter__() if self._main else self  # type: ignore[no-untyped-call]

    def __exit__(self, *error: object) -> None:
        if not self._main:
            return
        if ended():
            self._original_handler = signal.getsignal(signal.SIGINT)
        super().__exit__(*error)


def interactive() -> bool:
    """Whether somebody sits at a prompt, who can resume what is paused."""
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return True
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def session_context_managers(known: list[Any]) -> list[Any]:
    """Return the context managers of a session's RunEngine, out of those that it has.

    At a prompt the first Ctrl-C pauses, as with every RunEngine; elsewhere it ends the plan.
    """
    if threading.current_thread() is not threading.main_thread():
        kept = [manager for manager in known if manager is not SigintHandler]
    else:
        ours = PauseOnInterrupt if interactive() else AbortOnInterrupt
        kept = [ours if one is SigintHandler else one for one in known]
    return [*kept, LeaveWhenEnded]
