"""Bluesky's suspenders for imaging: no run begins while one is tripped."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

from bluesky import Msg
from bluesky.suspenders import SuspenderBase
from bluesky.utils import MsgGenerator

from concertino import ParameterError, SessionError
from concertino._bluesky_private import signal_name_of
from concertino.plans import passed_on


class _Gatekeeper:
    """What a suspender takes for the RunEngine: one in which nothing runs that it could suspend."""

    state = SimpleNamespace(is_running=False)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = self._loop = loop

    def request_suspend(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: a run that goes on is paused by a `PauseRequest`, or not at all."""


class RunStartSuspender:
    """A preprocessor that holds each run before its beginning as long as a suspender is tripped.

    A suspender that interrupts a run would have frames taken twice, so it ends an imaging run. This
    has it wait instead, beam off, before the run.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The RunEngine's.
    within_s : float
        How long a suspender may take to be installed or removed in that loop, in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, within_s: float = 20.0) -> None:
        self._keeper = _Gatekeeper(loop)
        self._within_s = within_s
        self._suspenders: list[SuspenderBase] = []

    def add(self, suspender: SuspenderBase) -> None:
        """Have a suspender of bluesky's watched from now on.

        Raises
        ------
        SessionError
            If it cannot be installed in time: its signal does not answer, or the RunEngine's loop is held up.
        """
        # Signals of ophyd-async need the running loop.
        self._in_loop(lambda: suspender.install(self._keeper), suspender, "watched")
        self._suspenders.append(suspender)

    def remove(self, suspender: SuspenderBase) -> None:
        """Watch a suspender no more.

        Raises
        ------
        ParameterError
            If it is not watched.
        SessionError
            If it cannot be removed in time; runs do not wait for it any more nevertheless.
        """
        if suspender not in self._suspenders:
            raise ParameterError(
                f"suspender: {suspender!r} was given, for which no run waits; give one that "
                "wait_before_runs was given."
            )
        self._suspenders.remove(suspender)
        self._in_loop(suspender.remove, suspender, "watched no more")

    def _in_loop(self, work: Callable[[], object], suspender: SuspenderBase, what: str) -> None:
        begun = asyncio.run_coroutine_threadsafe(_call(work), self._keeper.loop)
        try:
            begun.result(self._within_s)
        except TimeoutError:
            if begun.done():
                raise  # Its own.
            begun.cancel()
            signal = signal_name_of(suspender)
            raise SessionError(
                f"{type(suspender).__name__} of {signal or 'its signal'} was to be {what}, and that did not end within "
                f"{self._within_s:g} s. Check that its device answers, and that no callback holds up the RunEngine."
            ) from None

    def close(self) -> None:
        """Watch no suspender any more; one that cannot be removed keeps no other from it."""
        with ExitStack() as ends:
            for suspender in list(self._suspenders):
                ends.callback(self.remove, suspender)

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on; before a run is opened, wait."""

        def hold(message: Msg) -> MsgGenerator[Any] | None:
            if message.command != "open_run" or not self._suspenders:
                return None
            return self._wait_and(message)

        return passed_on(plan, hold)

    def _wait_and(self, message: Msg) -> MsgGenerator[Any]:
        for suspender in self._suspenders:
            while suspender.tripped:
                waits, _ = suspender.get_futures()
                yield Msg("wait_for", None, waits)
        return (yield message)


async def _call(work: Callable[[], object]) -> None:
    work()
