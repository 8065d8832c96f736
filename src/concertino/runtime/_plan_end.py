"""End the plan of a RunEngine from outside of it: safely, in any state, and only once."""

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky import RunEngine


#: How long a plan may take to clean up before it is said that it does not, in seconds.
PLAN_END_S = 120.0
_LOOK_S = 0.02
_ENDING = ("aborting", "stopping", "halting")


def end_plan(run_engine: "RunEngine", reason: str) -> bool:
    """Abort what runs or is paused, and wait until it has cleaned up: beam off first.

    A plan that is ending already is left to it: another abort would break off the clean-up's waits.
    May be called from any thread but the RunEngine's own.

    Parameters
    ----------
    run_engine : RunEngine
        Runs the plan, or nothing.
    reason : str
        Stands in the run's stop document.

    Returns
    -------
    bool
        Whether the RunEngine is idle now; two minutes are waited for it.
    """
    import asyncio  # Commands that run no plan do without.

    until_s = time.monotonic() + PLAN_END_S
    asked = None
    while (state := str(run_engine.state)) != "idle":
        if state == "panicked" or time.monotonic() > until_s:
            return False
        if asked is None or asked.done():
            # Not RE.abort(): it has no deadline, and enters context managers for the main thread only.
            asked = asyncio.run_coroutine_threadsafe(_abort(run_engine, reason), run_engine.loop)
        time.sleep(_LOOK_S)
    return True


def in_own_thread(run_engine: "RunEngine") -> bool:
    """Whether this is the thread in which a RunEngine runs plans and calls callbacks."""
    from concertino._bluesky_private import thread_of

    return threading.current_thread() is thread_of(run_engine)


async def _abort(run_engine: "RunEngine", reason: str) -> None:
    import asyncio

    from concertino._bluesky_private import abort_for_certain

    state = str(run_engine.state)
    if state in ("running", "paused"):
        await abort_for_certain(run_engine, reason)
    elif state not in _ENDING:
        await asyncio.sleep(_LOOK_S)  # It is about to pause, or to be idle.
