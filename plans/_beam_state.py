"""Whether a beam is on, as far as its own reading tells."""

import asyncio
import inspect
import time
from contextlib import suppress
from typing import Any

import numpy as np
from bluesky.utils import MsgGenerator

from ._deadlines import deadlines
from ._motor_facts import main_key
from ._questions import Errand, outcome

#: How long a beam's reading may lag behind what it says, in seconds.
LAG_S = 3.0
_LOOK_S = 0.02
_STATES = {"open": True, "on": True, "closed": False, "close": False, "off": False}


async def beam_reads(beam: Any) -> bool | None:
    """Return whether a beam reads as on; None when it cannot be read, or reads as neither on nor off.

    True and false count, and the words open, on, closed, close and off. A beam that reads as something else, or means
    something else by these, has a method ``state_of(value)``, which tells.
    """
    try:
        reading = beam.read()
        if inspect.isawaitable(reading):
            reading = await asyncio.wait_for(reading, LAG_S)
        key = main_key(beam, reading)
        value = None if key is None else reading[key]["value"]
        if hasattr(beam, "state_of"):
            told = beam.state_of(value)
            return None if told is None else bool(told)
    except Exception:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return _STATES.get(value.lower()) if isinstance(value, str) else None


async def comes_to_read(beam: Any, on: bool, within_s: float) -> bool:
    """Return whether a beam that was switched reads so in time, or does not tell."""
    until_s, look_s = time.monotonic() + within_s, _LOOK_S
    while (await beam_reads(beam)) is (not on):
        if time.monotonic() >= until_s:
            return False
        await asyncio.sleep(look_s)
        look_s = min(2 * look_s, 0.25)
    return True


async def lag_s(beam: Any, on: bool) -> float:
    """Return how long to wait for a beam to read as what it was switched to, in seconds."""
    limits, told = deadlines(), 0.0
    with suppress(Exception):
        answer = beam.set_duration_s(on)
        told = float(await answer if inspect.isawaitable(answer) else answer)
    return min(LAG_S, limits.on_s if on else limits.off_s) + told


def reads_as_switched(beam: Any, on: bool, most_s: float | None = None) -> MsgGenerator[bool]:
    """Tell whether a beam that says that it is on, or off, reads so too, or does not tell; one reading if it does.

    Parameters
    ----------
    beam : Beam
        Was switched.
    on : bool
        To what.
    most_s : float, optional
        Wait no longer than this for its reading to change, in s.
    """

    async def look() -> bool:
        if (await beam_reads(beam)) is not (not on):
            return True
        within_s = await lag_s(beam, on)
        return await comes_to_read(beam, on, within_s if most_s is None else min(most_s, within_s))

    # Nobody tells when nobody runs the plan.
    return (yield from outcome(Errand(look))) is not False
