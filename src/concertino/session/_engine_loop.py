"""The event loop of a RunEngine that a session made: it ends with the session."""

import asyncio
from contextlib import suppress

from bluesky import RunEngine
from bluesky.run_engine import get_bluesky_event_loop, set_bluesky_event_loop

from concertino import SessionError
from concertino._bluesky_private import thread_of
from concertino.runtime._ending import open_sessions

from ._run_engine import SessionRunEngine

_TASKS_S, _END_S = 2.0, 5.0
#: How long all of it takes at most, in seconds.
LOOP_END_S = 15.0


class EngineLoop:
    """The loop of a session's RunEngine: a thread and three descriptors, which bluesky leaves to the process.

    Parameters
    ----------
    given : RunEngine, optional
        One that somebody else made, and goes on; a new one by default.

    Attributes
    ----------
    run_engine : RunEngine
        Has the loop.
    """

    def __init__(self, given: RunEngine | None) -> None:
        self._before = get_bluesky_event_loop()
        self._own = given is None
        self.run_engine: RunEngine = SessionRunEngine({}) if given is None else given

    def refuse_plans(self, directory: str) -> None:
        """Have a RunEngine of our own take no plan any more, and say that its session was closed."""
        if self._own and isinstance(self.run_engine, SessionRunEngine):
            self.run_engine.closed = directory

    def end(self) -> None:
        """End the loop, if it is our own; one whose plan goes on is left to it.

        Raises
        ------
        SessionError
            If something in the loop does not let it end.
        """
        loop, thread = self.run_engine.loop, thread_of(self.run_engine)
        if (
            not self._own
            or loop.is_closed()
            or thread is None
            or str(self.run_engine.state) != "idle"
        ):
            return
        if get_bluesky_event_loop() is loop:
            set_bluesky_event_loop(self._another())
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(2 * _TASKS_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_END_S)
        if thread.is_alive():
            raise SessionError(
                f"The loop of the session's RunEngine did not end within {_END_S:g} s; its thread stays. See which "
                "device or callback blocks it."
            )
        loop.close()

    def _another(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop in which devices are connected from now on: who else has one."""
        sessions = [one.RE.loop for one in open_sessions() if one.RE is not self.run_engine]
        known = [loop for loop in (self._before, *sessions) if loop is not None]
        return next((loop for loop in known if loop.is_running()), None)


async def _end_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_TASKS_S)
    await asyncio.get_running_loop().shutdown_asyncgens()
