"""Conditions that must hold while a run is recorded: when one does not, everything stops."""

import asyncio
import inspect
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import numpy as np
from bluesky import RunEngine
from bluesky.protocols import HasName
from bluesky.suspenders import SuspenderBase

from concertino import DeviceError, ParameterError
from concertino._bluesky_private import thread_of
from concertino.guard import named_with_address
from concertino.plans.core._offers import name_of
from concertino.plans.core._protocols import Beam

from ._stop_all import beams_of, stopped

LOG = logging.getLogger(__name__)
_INSTALL_S = 20.0


class Interlock(SuspenderBase):
    """Ends a run when a signal does not fulfil a condition, or does not answer: beam off, motors stopped.

    It is installed like bluesky's suspenders, with ``RE.install_suspender``, but nothing goes on afterwards by itself: the run is
    aborted, and its stop document says why. It acts while a run is open, and at its beginning. Several signals have an
    interlock each.

    Parameters
    ----------
    signal : signal
        Of ophyd or ophyd-async, which tells when it changes.
    low, high : float, optional
        Between which the value must be.
    equals : optional
        What the value must be.
    holds : callable, optional
        Takes the value and tells whether all is well.
    beam : Beam, optional
        What is switched off besides the beam of the plan, which goes off first.
    motors : iterable of device
        What is stopped besides the motors of the plan.
    silent_s : float
        How long the signal may not answer, in seconds.

    Raises
    ------
    ParameterError
        If there is no condition.

    Examples
    --------
    >>> from ophyd_async.core import soft_signal_rw
    >>> from concertino.plans import Interlock
    >>> pressure = soft_signal_rw(float, 1e-7, units="mbar", name="pressure")
    >>> interlock = Interlock(pressure, high=1e-5)
    >>> interlock.why_not(1e-3)
    'Interlock pressure: it is 0.001, and must be at most 1e-05.'
    """

    def __init__(
        self,
        signal: HasName,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        equals: object = None,
        holds: Callable[[Any], bool] | None = None,
        beam: Beam | None = None,
        motors: Iterable[Any] = (),
        silent_s: float = 5.0,
    ) -> None:
        super().__init__(signal)  # type: ignore[no-untyped-call]
        if (low, high) == (-math.inf, math.inf) and equals is None and holds is None:
            raise ParameterError(
                f"low, high, equals, holds: none was given for the interlock of {name_of(signal)}. Give one of them, such as "
                "high=1e-5."
            )
        self._low, self._high, self._equals, self._holds = low, high, equals, holds
        self._beam, self._motors, self._silent_s = beam, tuple(motors), silent_s
        self._why = ""
        self._runs: set[str] = set()
        self._token: int | None = None
        self._watch: asyncio.Future[None] | None = None
        self._acting: asyncio.Future[None] | None = None

    @property
    def name(self) -> str:
        """The signal's name and address."""
        return named_with_address(name_of(self._sig), self._sig)

    @property
    def tripped(self) -> bool:
        """Whether the condition does not hold now."""
        return bool(self._why)

    def why_not(self, value: object) -> str:
        """Return a sentence that says why a value is not well; empty if it is."""
        plain = value.item() if isinstance(value, np.generic) else value
        must = self._broken(plain)
        return f"Interlock {self.name}: it is {plain!r}, and must {must}." if must else ""

    def _broken(self, value: Any) -> str:
        """Return which condition a value does not fulfil; empty if it fulfils all."""
        if self._equals is not None and value != self._equals:
            return f"be {self._equals!r}"
        bounded = (self._low, self._high) != (-math.inf, math.inf)
        if bounded and not (isinstance(value, int | float) and not math.isnan(value)):
            return "be a number"
        if bounded and not value >= self._low:
            return f"be at least {self._low:g}"
        if bounded and not value <= self._high:
            return f"be at most {self._high:g}"
        try:
            well = self._holds is None or self._holds(value)
        except Exception as error:
            return f"fulfil its condition, which failed with {type(error).__name__}: {error}"
        return "" if well else "fulfil its condition"

    def _should_suspend(self, value: Any) -> bool:
        return bool(self.why_not(value))

    def _should_resume(self, value: Any) -> bool:
        return not self.why_not(value)

    def get_futures(self) -> tuple[list[Any], str]:
        """Return that no plan waits for it: one that moves things aside may be what helps."""
        return [], ""

    def install(self, RE: RunEngine, *, event_type: str | None = None) -> None:
        """Watch the signal from now on.

        Raises
        ------
        DeviceError
            If the RunEngine's loop does not come to it.
        """
        self.RE = RE
        self._token = RE.subscribe(self._note)
        self._in_loop(self._begin)

    def remove(self) -> None:
        """Watch it no more."""
        engine = self.RE
        if engine is None:
            return
        if self._token is not None:
            engine.unsubscribe(self._token)
        self._in_loop(self._end)
        self.RE = None

    def _in_loop(self, work: Callable[[], None]) -> None:
        engine = cast(RunEngine, self.RE)
        if threading.current_thread() is thread_of(engine):
            work()
            return

        async def do() -> None:
            work()

        doing = asyncio.run_coroutine_threadsafe(do(), engine.loop)
        try:
            doing.result(_INSTALL_S)
        except TimeoutError as error:
            doing.cancel()
            raise DeviceError(
                f"Interlock {self.name} was to be installed or removed, and that did not end within {_INSTALL_S:g} s. "
                "See what holds up the loop of the RunEngine."
            ) from error

    def _begin(self) -> None:
        # What tells nothing by itself is looked at once a second all the same.
        self._watch = asyncio.ensure_future(self._look())
        self._sig.subscribe(self)

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._sig.clear_sub(self)

    async def _look(self) -> None:
        """Read the signal again and again: one that is gone tells nothing."""
        heard_s = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(self._silent_s):
                    answer = await asyncio.to_thread(self._sig.read)
                    reading = await answer if inspect.isawaitable(answer) else answer
                self._judge(self.why_not(next(iter(reading.values()))["value"]))
                heard_s = time.monotonic()
            except Exception as error:
                if (silent_s := time.monotonic() - heard_s) >= self._silent_s:
                    self._judge(
                        f"Interlock {self.name}: it does not answer for {silent_s:.3g} s ({type(error).__name__}). Check "
                        "that its IOC or device server runs."
                    )
            await asyncio.sleep(min(1.0, self._silent_s / 4))

    def __call__(self, value: object, **more: object) -> None:
        """Take what the signal tells: a value, as of ophyd, or a reading, as of ophyd-async."""
        engine = self.RE
        if engine is None:
            return
        if isinstance(value, Mapping):
            value = next(iter(value.values()))["value"]
        engine.loop.call_soon_threadsafe(self._judge, self.why_not(value))

    def _note(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "start":
            self._runs.add(document["uid"])
        elif name == "stop":
            self._runs.discard(document["run_start"])
        if name == "start":
            self._act()

    def _judge(self, why: str) -> None:
        """Act on what was found, in the loop of the RunEngine."""
        if bool(why) != self.tripped:
            LOG.warning("%s", why or f"Interlock {self.name}: it is well again.")
        self._why = why
        self._act()

    def _act(self) -> None:
        engine = self.RE
        if not (self._why and self._runs and engine is not None):
            return
        self._runs.clear()  # Once: an abort in the midst of the clean-up would end that.
        if not engine.state.is_idle:
            self._acting = asyncio.ensure_future(self._stop(engine, self._why))

    async def _stop(self, engine: RunEngine, why: str) -> None:
        for failure in await stopped(engine, beams_of(self._beam), self._motors, why):
            LOG.critical("%s", failure)
