"""Records by PV Access: p4p."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from concertino._extras import extra
from concertino.runtime._quiet_pv_access import quiet_pv_access

from ._records import RecordValue, refused, some_limits, text_of, unanswered

_NAME = "PV Access"


class PvAccess:
    """PVs by PV Access.

    Parameters
    ----------
    timeout_s : float
        How long a PV may take to answer, in seconds.

    Raises
    ------
    MissingExtraError
        If p4p is not installed.
    """

    def __init__(self, timeout_s: float) -> None:
        with extra("areadetector", "An areaDetector driven by PV Access"):
            from p4p.client.thread import Context, RemoteError
        quiet_pv_access()
        self._context = Context("pva")
        self._refused = RemoteError
        self._timeout_s = timeout_s

    def get(self, *names: str) -> list[RecordValue]:
        """Return what PVs hold; as `Records.get`."""
        found = zip(names, self._ask(names), strict=True)
        return [_plain(self._answered(name, value)) for name, value in found]

    def put(self, name: str, value: RecordValue, *, wait: bool = True) -> None:
        """Write a value; as `Records.put`."""
        sent: Any = value
        if isinstance(value, str):
            now = self._answered(name, self._ask([name])[0])
            if isinstance(now, np.ndarray):  # a waveform of characters
                sent = np.frombuffer(value.encode() + b"\0", np.uint8).astype(now.dtype)
        done = self._context.put(
            [name], [sent], timeout=self._timeout_s, wait=wait or None, throw=False
        )
        if isinstance(done[0], self._refused):
            raise refused(name, value, _NAME, done[0])
        self._answered(name, done[0])

    def choices(self, name: str) -> tuple[str, ...]:
        """Return the words of an enumeration; as `Records.choices`."""
        value = self._answered(name, self._ask([name])[0]).raw.value
        return () if np.isscalar(value) else tuple(value.choices)

    def limits(self, *names: str) -> list[tuple[float, float] | None]:
        """Return within which limits PVs can be set; as `Records.limits`."""
        found = []
        for name, value in zip(names, self._ask(names), strict=True):
            raw = self._answered(name, value).raw
            control = raw.control if "control" in raw else None
            found.append(control and some_limits(control.limitLow, control.limitHigh))
        return found

    def present(self, *names: str) -> frozenset[str]:
        """Return which of some PVs there are."""
        found = zip(names, self._ask(names), strict=True)
        return frozenset(name for name, one in found if not isinstance(one, Exception))

    def _ask(self, names: Any) -> list[Any]:
        found: list[Any] = self._context.get(list(names), timeout=self._timeout_s, throw=False)
        return found

    def _answered(self, name: str, found: Any) -> Any:
        if isinstance(found, Exception):
            why = str(found) or type(found).__name__
            raise unanswered(name, _NAME, self._timeout_s, searched(self._context), why)
        return found


class Configured(Protocol):
    """A context of p4p, which tells its configuration."""

    def conf(self) -> Mapping[str, str]:
        """Return it by the names of environment variables."""


def searched(context: Configured) -> str:
    """Return where a context of p4p looks for PVs."""
    asked = context.conf()
    places = ("EPICS_PVA_ADDR_LIST", "EPICS_PVA_NAME_SERVERS")
    told = [f"{asked[name]} ({name})" for name in places if asked.get(name)]
    return " and ".join(told) or "the broadcast addresses (EPICS_PVA_ADDR_LIST)"


def _plain(value: Any) -> RecordValue:
    if isinstance(value, str):
        return str.__str__(value)  # without what p4p shows beside it
    if isinstance(value, np.ndarray | bytes):
        return text_of(value)
    return float(value) if isinstance(value, float) else int(value)
