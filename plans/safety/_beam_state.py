"""Whether a beam is on, as far as its own reading tells."""

import asyncio
import inspect
import time
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from bluesky.utils import MsgGenerator

from concertino.plans.core._deadlines import deadlines
from concertino.plans.core._device_queries import LoopTask, outcome
from concertino.plans.core._motor_facts import main_key
from concertino.plans.core._offers import TellsState
from concertino.plans.core._protocols import Beam

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
        if isinstance(beam, TellsState):
            told = beam.state_of(value)
            return None if told is None else bool(told)
    except Exception:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return _STATES.get(value.lower()) if isinstance(value, str) else None


async def comes_to_read(beam: Beam, on: bool, most_s: float | None = None) -> bool:
    """Return whether a beam that was switched reads so in time, or does not tell."""
    if (await beam_reads(beam)) is not (not on):
        return True
    within_s = await _lag_s(beam, on)
    until_s = time.monotonic() + (within_s if most_s is None else min(most_s, within_s))
    look_s = _LOOK_S
    while time.monotonic() < until_s:
        await asyncio.sleep(look_s)
        look_s = min(2 * look_s, 0.25)
        if (await beam_reads(beam)) is not (not on):
            return True
    return False


async def _lag_s(beam: Any, on: bool) -> float:
    """Return how long to wait for a beam to read as what it was switched to, in seconds."""
    limits, told = deadlines(), 0.0
    with suppress(Exception):
        answer = beam.set_duration_s(on)
        told = float(
            await asyncio.wait_for(answer, LAG_S) if inspect.isawaitable(answer) else answer
        )
    return min(LAG_S, limits.on_s if on else limits.off_s) + told


def reads_as_switched(beam: Beam, on: bool, most_s: float | None = None) -> MsgGenerator[bool]:
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
    # Nobody tells when nobody runs the plan.
    return (
        yield from outcome(
            LoopTask(
                partial(comes_to_read, beam, on, most_s),
                f"{beam.name} was asked whether it is {'on' if on else 'off'}",
            )
        )
    ) is not False
