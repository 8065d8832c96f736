"""Bluesky's suspenders for imaging: no run begins while one is tripped."""

import asyncio
from types import SimpleNamespace
from typing import Any

import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import MsgGenerator


class _Gatekeeper:
    """What a suspender takes for the RunEngine: one in which nothing runs that it could suspend."""

    state = SimpleNamespace(is_running=False)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = self._loop = loop

    def request_suspend(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: a run that goes on is paused by a `Hold`, or not at all."""


class RunGate:
    """A preprocessor that holds each run before its beginning as long as a suspender is tripped.

    A suspender that interrupts a run would have frames taken twice, so it ends an imaging run. This
    has it wait instead, beam off, before the run.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The RunEngine's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._keeper = _Gatekeeper(loop)
        self._suspenders: list[Any] = []

    def add(self, suspender: Any) -> None:
        """Have a suspender of bluesky's watched from now on."""

        async def install() -> None:
            suspender.install(self._keeper)  # Signals of ophyd-async need the running loop.

        asyncio.run_coroutine_threadsafe(install(), self._keeper.loop).result()
        self._suspenders.append(suspender)

    def remove(self, suspender: Any) -> None:
        """Watch a suspender no more."""

        async def uninstall() -> None:
            suspender.remove()

        self._suspenders.remove(suspender)
        asyncio.run_coroutine_threadsafe(uninstall(), self._keeper.loop).result()

    def close(self) -> None:
        """Watch no suspender any more."""
        for suspender in list(self._suspenders):
            self.remove(suspender)

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on; before a run is opened, wait."""

        def hold(message: Msg) -> tuple[MsgGenerator[Any] | None, None]:
            if message.command != "open_run" or not self._suspenders:
                return None, None
            return self._wait_and(message), None

        return (yield from bpp.plan_mutator(plan, hold))

    def _wait_and(self, message: Msg) -> MsgGenerator[Any]:
        for suspender in self._suspenders:
            while suspender.tripped:
                waits, _ = suspender.get_futures()
                yield Msg("wait_for", None, waits)
        return (yield message)
