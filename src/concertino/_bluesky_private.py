"""All that is used of bluesky and is not offered by it: each with the reason, and nowhere else.

A test runs each on bluesky's own RunEngine and fails when a new version does it otherwise; another fails when a
private name of bluesky's stands in any other module.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from bluesky import Msg, RunEngine
from bluesky.run_engine import Dispatcher
from bluesky.suspenders import SuspenderBase
from bluesky.utils import RequestAbort
from event_model import DocumentNames


class HookedRunEngine(RunEngine):
    """A RunEngine that asks a subclass before it pauses.

    All ways to a pause lead through one private method: Ctrl-C, `request_pause`, and the queue server's worker. Bluesky
    offers to be told of a pause only when it has happened.
    """

    async def asked_to_pause(self, defer: bool) -> None:
        """Pause, or do what is to be done instead."""
        await self.pause_as_bluesky(defer)

    async def pause_as_bluesky(self, defer: bool) -> None:
        """Pause as every RunEngine does."""
        await super()._request_pause_coro(defer)  # type: ignore[no-untyped-call]

    async def _request_pause_coro(self, defer: bool = False) -> None:
        await self.asked_to_pause(defer)


def thread_of(run_engine: RunEngine) -> threading.Thread | None:
    """Return the thread of its loop, in which plans and callbacks run: who waits for their end there waits for itself."""
    thread: threading.Thread | None = run_engine._th
    return thread


async def abort_for_certain(run_engine: RunEngine, reason: str) -> None:
    """Abort a plan that runs or is paused; to be called in the RunEngine's loop.

    `RunEngine.abort` has no deadline, and enters context managers for the main thread only. Besides, its cancellation gets
    lost in an await that ends at that moment (asyncio.wait_for does so before Python 3.12), and the plan would go on: here
    the next message gets it for certain. Nothing happens between these in the loop, so it cannot come to pause.
    """
    engine: Any = run_engine
    await engine._abort_coro(reason)
    with engine._state_lock:
        engine._exception = engine._exception or RequestAbort()
    engine._run_permit.set()


def metadata_of_call(run_engine: RunEngine) -> Mapping[str, Any]:
    """Return the metadata that were given with the plan, ``RE(plan, sample="tooth")``: they are no part of any message."""
    return dict(run_engine._metadata_per_call)


def name_of_plan(run_engine: RunEngine) -> str:
    """Return the name of the plan that runs or is paused, to tell who gives another one; empty if there is none."""
    return str(getattr(run_engine._plan, "__name__", ""))


def reason_of_end(run_engine: RunEngine) -> str:
    """Return what was given as reason for the end of a plan: bluesky tells it in documents only."""
    return str(run_engine._reason)


def forget_deferred_pause(run_engine: RunEngine) -> None:
    """Have no pause at the next checkpoint: who asked for it takes it back, which bluesky does not offer."""
    run_engine._deferred_pause_requested = False


def keep_messages_again(run_engine: RunEngine) -> None:
    """Let a pause rewind again, after ``clear_checkpoint``: bluesky knows no way back before the whole plan has ended.

    It is what its own checkpoint does when there is one already, and its only sign of that.
    """
    if not run_engine.resumable:
        run_engine._msg_cache = deque()
        run_engine._reset_checkpoint_state()


async def make_checkpoint(run_engine: RunEngine, message: Msg, anew: bool) -> None:
    """Do what a ``checkpoint`` says; if it says so also after ``clear_checkpoint``, where bluesky's does nothing.

    The method is bluesky's for the message, which another one is registered for here.
    """
    if anew and run_engine._msg_cache is None:
        run_engine._msg_cache = deque()
    await run_engine._checkpoint(message)


def pardon_failures(run_engine: RunEngine) -> None:
    """Have no failure of what was begun until now reach the plan.

    Each status looks at the event that there was when it was begun. At the end of a whole plan bluesky pardons all by it;
    within a plan that goes on after a run that failed, nothing else does.
    """
    engine: Any = run_engine
    engine._pardon_failures.set()
    engine._pardon_failures = asyncio.Event()


def have_run_engines_stop(
    in_turn: Callable[[Iterable[Any]], list[Any]],
    stopped: Callable[[Iterable[Any], Iterable[Any]], None],
) -> None:
    """Have every RunEngine stop what a plan has set as one wants, once for the process.

    Bluesky stops it one after the other, in any order, and waits for each without a deadline. No message of a plan can
    change that, so the method itself is wrapped.

    Parameters
    ----------
    in_turn : callable
        Takes what the plan has set, and returns what is to be stopped instead, in this order.
    stopped : callable
        Takes what the plan has set, and the bundlers of the runs that are open still, when it was stopped.
    """
    stop_all: Any = RunEngine._stop_movable_objects
    if hasattr(stop_all, "__wrapped__"):
        return

    @wraps(stop_all)
    async def stop_in_turn(self: Any, *, success: bool = True) -> None:
        touched = self._movable_objs_touched
        self._movable_objs_touched = in_turn(touched)
        try:
            await stop_all(self, success=success)
        finally:
            self._movable_objs_touched = touched
        stopped(touched, self._run_bundlers.values())

    RunEngine._stop_movable_objects = stop_in_turn  # type: ignore[method-assign]


def callbacks_of(dispatcher: Dispatcher, kind: str) -> list[Any]:
    """Return what was subscribed to a kind of documents, in that order.

    Bluesky has no list of it, and keeps proxies. For a method its object is returned.
    """
    for name, subscribed in dispatcher.cb_registry.callbacks.items():
        if name.name == kind:
            there = [(proxy.func, proxy.inst) for proxy in list(subscribed.values())]
            return [function if inst is None else inst() for function, inst in there]
    return []


def proxies_of(dispatcher: Dispatcher, kind: DocumentNames) -> list[Callable[[str, Any], object]]:
    """Return what bluesky calls with a kind of documents, to give each to all before an error of one is raised."""
    return list(dispatcher.cb_registry.callbacks.get(kind, {}).values())


def forget_proxy(dispatcher: Dispatcher, proxy: Callable[..., object]) -> None:
    """Subscribe a method no more whose object is gone, as bluesky itself does when it calls it."""
    dispatcher.cb_registry._remove_proxy(proxy)


def signal_name_of(suspender: SuspenderBase) -> str:
    """Return the name of a suspender's signal, for a sentence; empty if it tells none."""
    return str(getattr(suspender._sig, "name", "") or "")
