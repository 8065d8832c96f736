"""How a Tango motor moves: it is done when its State says so, and it is where it was sent."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from ophyd_async.core import MovableLogic, SignalR, TimeoutCalculator, TriggerableCommand

from concertino import DeviceError, ParameterError
from concertino.units import convert, meant_unit

from ._interface import TangoLostError

#: Parts of its way, and at least so much of its unit, by which a motor may be off that has arrived.
_OF_ITS_WAY = 0.01
_ALWAYS = 0.01
#: A position that is polled, or a State, comes so long after the move, in s, at most.
_LATE_S = 2.0
_STOPS_S = 5.0
#: States in which a motor moves, and those that end a move at once, in Tango's words.
_MOVES = ("MOVING", "RUNNING", "INIT")
_BROKEN = ("FAULT", "DISABLE", "OFF")
#: How often a State that is told by event is asked for nevertheless, in s: who is dead pushes none.
_ASKS_S = 1.0
_REMEDY = "Check that it is switched on and free to move, its limit switches, and its device server's log."


class Place(Protocol):
    """Where a device is, and what it says of its state."""

    poll_s: float

    @property
    def where(self) -> str: ...

    async def status(self) -> str: ...


@dataclass
class TangoMove(MovableLogic[float]):
    """The logic of a motor's moves.

    Attributes
    ----------
    state : SignalR
        Its State.
    place : Place
        The device.
    by_events : bool
        Whether the State is told by event.
    still_s : float
        A motor that says that it moves and does not for so long has stalled, in s.
    stop_command : TriggerableCommand or None
        Stops it; known when it is connected.
    """

    state: SignalR[str]
    place: Place
    by_events: bool
    still_s: float
    stop_command: TriggerableCommand | None = field(default=None)

    async def check_move(self, new_position: float) -> None:
        """Check that a position is within the limits of the attribute.

        Raises
        ------
        DeviceError
            If it is not.
        """
        (key,) = (await self.setpoint.describe()).values()
        limits = key.get("limits") or {}
        control = limits.get("control") or {"low": None, "high": None}
        low = -math.inf if control["low"] is None else control["low"]
        high = math.inf if control["high"] is None else control["high"]
        if not low <= new_position <= high:
            raise DeviceError(
                f"{self.place.where} was sent to {new_position:g}; its limits are {low:g} to {high:g}. Send it elsewhere."
            )

    async def move(self, new_position: float, timeout: TimeoutCalculator) -> None:
        """Send the motor somewhere, and wait until it is there.

        Raises
        ------
        DeviceError
            If it does not get there, or does not answer.
        """
        begin = await self.readback.get_value(cached=False)
        unit = meant_unit(str((await self.get_units_precision())[0] or ""))
        journey = _Journey(begin, new_position, unit, self.still_s)
        await self.setpoint.set(new_position, timeout=None)
        with self._news() as news:
            while True:
                (state_now,) = (await self.state.read(cached=False)).values()
                (readback,) = (await self.readback.read(cached=False)).values()
                state, where = str(state_now["value"]), readback["value"]
                if journey.arrived(state, state_now["timestamp"], where, readback["timestamp"]):
                    return
                if said := journey.failed:
                    raise DeviceError(
                        f"{self.place.where} was sent to {new_position:g} {unit} and {said}, at {where:g} {unit}; its State "
                        f"is {state}{await self.place.status()}. {_REMEDY}"
                    )
                await news()

    async def stop(self) -> None:
        """Stop the motor, and wait until it is at rest.

        Raises
        ------
        DeviceError
            If it does not stop.
        """
        if self.stop_command is None:
            return
        try:
            await self.stop_command.trigger()
        except TangoLostError:
            raise
        except DeviceError:
            # Some servers allow to stop only what moves.
            if str(await self.state.get_value(cached=False)) in _MOVES:
                raise
            return
        until_s = time.monotonic() + _STOPS_S
        while (state := str(await self.state.get_value(cached=False))) in _MOVES:
            if time.monotonic() > until_s:
                raise DeviceError(
                    f"{self.place.where} was told to stop, and after {_STOPS_S:g} s its State is {state}"
                    f"{await self.place.status()}. Stop it by hand, and check its device server."
                )
            await asyncio.sleep(self.place.poll_s)

    @contextmanager
    def _news(self) -> Iterator["_News"]:
        """Subscribe to the State's events, if there are any."""
        news = _News(self.place.poll_s)
        if not self.by_events:
            yield news
            return
        news.within_s = _ASKS_S
        self.state.subscribe_reading(news.heard)
        try:
            yield news
        finally:
            with suppress(Exception):
                self.state.clear_sub(news.heard)


class _News:
    """Waits for the next event, or some time."""

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self._came = asyncio.Event()

    def heard(self, reading: object) -> None:
        self._came.set()

    async def __call__(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), self.within_s)
        self._came.clear()


class _Journey:
    """One move, judged by what the motor tells on its way."""

    def __init__(self, begin: float, target: float, unit: str, still_s: float) -> None:
        self._target, self._still_s = target, still_s
        way = abs(target - begin)
        self._near = max(_OF_ITS_WAY * way, _ALWAYS)
        #: So near it has arrived even if nobody saw it move.
        self._there = min(self._near, way / 4)
        self._turn = math.inf
        with suppress(ParameterError):
            self._turn = convert({"value": 360.0, "unit": "deg"}, unit, parameter="")
        self._moved = False
        self._rests_s: float | None = None
        self._told_s = math.inf
        self._last, self._changed_s = begin, time.monotonic()
        self.failed = ""

    def arrived(self, state: str, told_s: float, where: float, read_s: float) -> bool:
        """Tell whether it is there, by State and position and the server's times of both; `failed` says why not."""
        now_s = time.monotonic()
        if where != self._last:
            self._last, self._changed_s = where, now_s
        off = abs(where - self._target)
        if math.isfinite(self._turn):
            off = min(off, abs(math.remainder(where - self._target, self._turn)))
        if state in _MOVES:
            self._moved, self._rests_s = True, None
            if now_s - self._changed_s > self._still_s:
                self.failed = f"has not moved for {self._still_s:g} s"
            return False
        if state in _BROKEN:
            self.failed = "failed"
            return False
        if self._rests_s is None:
            self._rests_s, self._told_s = now_s, told_s
        # A position that Tango keeps from when it polled last may be of before the motor was at rest.
        if read_s >= self._told_s and off <= (self._near if self._moved else self._there):
            return True
        if now_s - self._rests_s < _LATE_S:
            return False
        if off <= self._near:
            return True
        self.failed = "stopped short of it" if self._moved else "has not moved"
        return False
