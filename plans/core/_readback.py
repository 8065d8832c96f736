"""Where an axis is, and when it was there, from a read-back that may be slow or by another clock."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bluesky.utils import maybe_await

from concertino import ConcertinoError, DeviceError, OverdueError
from concertino.guard import named_with_address

from ._deadlines import deadlines
from ._motor_facts import main_key
from ._offers import name_of

#: Times of a reading that are more than this from when it came are those of another clock, in s.
_PROMPT_S = 0.05
#: How exact the time is that a control system gives to a reading, in s.
_STAMP_S = 1e-3


@dataclass(frozen=True)
class TimedPosition:
    """Where an axis was, in its unit, when by the computer's clock, and how far off that may be, in s."""

    when_s: float
    position: float
    half_s: float


class Readback:
    """Watches the read-back of an axis; what counts is when it changes.

    A control system that polls its motor some times a second repeats a reading in between. If the repeated one has the
    time of the first, a new one's time is when the axis was there. If it has a new time each time, it is not: when
    the reading changed lies between the last look that had the old value and this one.

    Parameters
    ----------
    axis : device
        What moves.
    """

    def __init__(self, axis: Any) -> None:
        self._axis = axis
        self._looked_s = 0.0
        self._stamp_s = 0.0
        self._stamps_looks: bool | None = None  # Unknown as long as nothing was repeated.
        self.value: float | None = None
        self.changes: list[TimedPosition] = []
        #: When looks that had the same value as before were.
        self.repeats: list[float] = []

    async def look(self) -> bool:
        """Read once; tells whether the read-back has changed."""
        before_s = time.time()
        value, stamp_s = await read_back(self._axis)
        after_s = time.time()
        previous, since_s = self.value, self._looked_s
        if value == previous:
            self.repeats.append(before_s)
            self._stamps_looks = bool(self._stamps_looks) or stamp_s != self._stamp_s
        self.value, self._looked_s, self._stamp_s = value, before_s, stamp_s
        if previous is None or value == previous:
            return False
        self.changes.append(self._place(value, since_s, before_s, after_s))
        return True

    def here(self) -> TimedPosition:
        """Return the last reading, changed or not; its time as far as it is known."""
        assert self.value is not None
        return self._place(self.value, self._looked_s, self._looked_s, time.time())

    def _place(
        self, value: float, since_s: float, before_s: float, after_s: float
    ) -> TimedPosition:
        stamp_s = self._stamp_s
        if self._stamps_looks is None and before_s <= stamp_s <= after_s:
            half_s = (stamp_s - before_s) / 2  # It was read, and then stamped.
            return TimedPosition(before_s + half_s, value, half_s + 1e-5)
        if not self._stamps_looks and since_s - _PROMPT_S <= stamp_s <= after_s:
            return TimedPosition(stamp_s, value, _STAMP_S)
        half_s = (after_s - since_s) / 2
        return TimedPosition(since_s + half_s, value, half_s)


async def read_back(axis: Any) -> tuple[float, float]:
    """Return an axis' position, in its unit, and the time that its reading has, in s."""
    reading = await fresh_reading(axis)
    field = reading[main_key(axis, reading) or next(iter(reading))]
    return float(field["value"]), float(field["timestamp"])


async def fresh_reading(axis: Any) -> Mapping[str, Any]:
    """Return an axis' reading as its control system has it, not as it was kept when that was polled last.

    Raises
    ------
    OverdueError
        If it does not answer within `Deadlines.silent_s`: it may move, with beam.
    DeviceError
        If its library fails to read it.
    """
    signal = None
    with suppress(Exception):
        signal = (
            axis.movable_logic.readback
        )  # Of ophyd-async: polled while the axis moves, and kept.
    reading: Mapping[str, Any]
    try:
        async with asyncio.timeout(deadlines().silent_s):
            if signal is not None and _is_signal(signal):
                reading = await signal.read(cached=False)
            else:
                reading = await maybe_await(axis.read())
        return reading
    except ConcertinoError:
        raise
    except TimeoutError as error:
        raise OverdueError(_lost(axis, "does not answer")) from error
    except Exception as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise DeviceError(_lost(axis, f"failed: {type(error).__name__}: {why}")) from error


def _lost(axis: Any, what: str) -> str:
    return (
        f"{named_with_address(name_of(axis), axis)} was asked where it is and {what}. Check that its IOC or device server "
        "runs, the network, and where the motor is: it may still move."
    )


def _is_signal(thing: Any) -> bool:
    from ophyd_async.core import SignalR  # Imported with the axis, if it is of ophyd-async.

    return isinstance(thing, SignalR)
