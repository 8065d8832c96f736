"""Records by Channel Access: aioca, in an event loop of its own that all cameras share."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

import numpy as np

from concertino._extras import extra

from ._records import RecordValue, refused, some_limits, text_of, unanswered

T = TypeVar("T")

_NAME = "Channel Access"
_MARGIN_S = 5.0


class ChannelAccess:
    """PVs by Channel Access.

    Parameters
    ----------
    timeout_s : float
        How long a PV may take to answer, in seconds.

    Raises
    ------
    MissingExtraError
        If aioca is not installed.
    """

    def __init__(self, timeout_s: float) -> None:
        with extra("areadetector", "An areaDetector driven by Channel Access"):
            import aioca
        self._ca = aioca
        self._timeout_s = timeout_s
        self._hosts: dict[str, str] = {}

    def get(self, *names: str) -> list[RecordValue]:
        """Return what PVs hold; as `Records.get`."""
        found = self._run(self._ca.caget(list(names), timeout=self._timeout_s, throw=False))
        return [self._value(name, value) for name, value in zip(names, found, strict=True)]

    def put(self, name: str, value: RecordValue, *, wait: bool = True) -> None:
        """Write a value; as `Records.put`."""
        kind = self._ca.DBR_CHAR_STR if isinstance(value, str) and self._is_long(name) else None
        done = self._run(
            self._ca.caput(
                name, value, datatype=kind, wait=wait, timeout=self._timeout_s, throw=False
            )
        )
        if not done.ok:
            if name in self.present(name):
                raise refused(name, value, _NAME, done)
            raise self._unanswered(name, done)

    def choices(self, name: str) -> tuple[str, ...]:
        """Return the words of an enumeration; as `Records.choices`."""
        found = self._run(
            self._ca.caget(name, format=self._ca.FORMAT_CTRL, timeout=self._timeout_s, throw=False)
        )
        if not found.ok:
            raise self._unanswered(name, found)
        enumeration = found.datatype == self._ca.DBR_ENUM
        return tuple(found.enums) if enumeration else ()

    def limits(self, *names: str) -> list[tuple[float, float] | None]:
        """Return within which limits PVs can be set; as `Records.limits`."""
        found = self._run(
            self._ca.caget(
                list(names), format=self._ca.FORMAT_CTRL, timeout=self._timeout_s, throw=False
            )
        )
        for name, one in zip(names, found, strict=True):
            if not one.ok:
                raise self._unanswered(name, one)
        texts = (self._ca.DBR_ENUM, self._ca.DBR_STRING)
        return [
            None
            if one.datatype in texts
            else some_limits(float(one.lower_ctrl_limit), float(one.upper_ctrl_limit))
            for one in found
        ]

    def present(self, *names: str) -> frozenset[str]:
        """Return which of some PVs there are."""
        found = self._run(self._ca.cainfo(list(names), timeout=self._timeout_s, throw=False))
        self._hosts.update(
            {name: one.host for name, one in zip(names, found, strict=True) if one.ok}
        )
        return frozenset(name for name, one in zip(names, found, strict=True) if one.ok)

    def _is_long(self, name: str) -> bool:
        """Whether a text is in a waveform of characters."""
        found = self._run(self._ca.cainfo(name, timeout=self._timeout_s, throw=False))
        return bool(found.ok and found.datatype == self._ca.DBR_CHAR and found.count > 1)

    def _value(self, name: str, found: Any) -> RecordValue:
        if isinstance(found, self._ca.CANothing):
            raise self._unanswered(name, found)
        if isinstance(found, np.ndarray):
            return text_of(found)
        if isinstance(found, str):
            return str.__str__(found)
        return float(found) if isinstance(found, float) else int(found)

    def _unanswered(self, name: str, why: object) -> Exception:
        told = os.environ.get("EPICS_CA_ADDR_LIST", "") or "the broadcast addresses"
        known = self._hosts.get(name) or next(iter(self._hosts.values()), "")
        searched = (
            f"{known} (EPICS_CA_ADDR_LIST: {told})" if known else f"{told} (EPICS_CA_ADDR_LIST)"
        )
        return unanswered(name, _NAME, self._timeout_s, searched, why)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, _loop())
        return future.result(self._timeout_s + _MARGIN_S)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop in which aioca lives: it keeps the connections of each loop apart, and for ever."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="Channel Access", daemon=True).start()
    return loop
