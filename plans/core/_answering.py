"""What a control system answers now: what a client keeps of a value tells nothing of an IOC that is gone."""

import asyncio
import sys
from functools import partial
from typing import Any

from bluesky.utils import maybe_await

from ._offers import Reads
from ._optional_attribute import optional_attribute

#: How long a PV of ophyd may take to be connected, and to be got, in s each; it is asked again.
_CLASSIC_S = 1.0
_READBACKS = ("user_readback", "readback")


async def answer_of(axis: object) -> Any:
    """Return the value of an axis or a signal as its control system has it now, not as a client keeps it.

    Raises
    ------
    Exception
        Of the device's library, if it does not answer.
    """
    signal = _signal_of(axis)
    if (classic := _classic(signal)) is not None:
        got = partial(
            classic.get, use_monitor=False, timeout=_CLASSIC_S, connection_timeout=_CLASSIC_S
        )
        return await asyncio.to_thread(got)
    fresh = {"cached": False} if _is_async(signal) else {}
    assert isinstance(signal, Reads)
    reading = await maybe_await(signal.read(**fresh))
    field = reading.get(optional_attribute(axis, "name", "")) or next(iter(reading.values()))
    return field["value"]


def _signal_of(axis: object) -> object:
    """Return what tells where an axis is; the axis itself if it has no such part."""
    logic = optional_attribute(axis, "movable_logic", None)
    parts = [optional_attribute(logic, "readback", None)]
    parts += [optional_attribute(axis, name, None) for name in _READBACKS]
    return next((part for part in parts if _is_async(part) or _classic(part) is not None), axis)


def _classic(signal: object) -> Any:
    """Return a PV of ophyd; None for anything else. Whoever has one has imported its module."""
    signals = sys.modules.get("ophyd.signal")
    return signal if signals and isinstance(signal, signals.EpicsSignalBase) else None


def _is_async(signal: object) -> bool:
    core = sys.modules.get("ophyd_async.core")
    return core is not None and isinstance(signal, core.SignalR)
