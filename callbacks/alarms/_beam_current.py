"""Watches a signal without which there is no beam, such as a storage ring's current."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from bluesky.protocols import HasName
from numpy.typing import NDArray

from concertino import ParameterError
from concertino._clocks import HostTimes
from concertino.documents import TomoBlock

from ._alarm import Alarm, Level, check_level, check_positive
from ._alarm_checks import Examiner, Idle

_NEVER_S = 9e9  # the year 2255
#: A reading's time that is more than this from its event's is by another clock, in s, or of long before.
_PROMPT_S = 1.0


@dataclass(frozen=True)
class BeamCurrent:
    """Watches a signal that must not fall below a limit.

    It is told by the documents of the run, in which the signal must be monitored: the session does so
    when `ScanAlarms` is subscribed to it. So a replay sees what was seen live.

    Parameters
    ----------
    signal : device or str
        The signal, such as ``beamline.ring.current``, or its name, which is enough for a replay.
    minimum : float
        The limit, in the signal's unit.
    recovered_s : float
        How long it must be back at the limit or above before the scan goes on, in seconds.
    lag_s : float
        How long before the first reading below the limit it may have been so, in seconds.
    level : {"note", "warn", "pause", "fail"}
        What the alarm does. ``pause``: a scan that can pause goes on when the signal has recovered, and
        takes the frames exposed meanwhile again.
    """

    signal: Any
    minimum: float
    recovered_s: float = 5.0
    lag_s: float = 0.5
    level: Level = "pause"

    def __post_init__(self) -> None:
        check_level(self.level)
        check_positive("minimum", self.minimum, "the least value, in the signal's unit")
        for name, value in (("recovered_s", self.recovered_s), ("lag_s", self.lag_s)):
            if not value >= 0:
                raise ParameterError(f"{name}: {value!r} was given; give a time in s, 0 or more.")
        if not isinstance(self.signal, str | HasName):
            raise ParameterError(
                f"signal: {self.signal!r} has no name. Give a signal such as beamline.ring.current, or "
                "its name."
            )

    @property
    def key(self) -> str:
        """Name of the signal, which is its data key."""
        return self.signal if isinstance(self.signal, str) else str(self.signal.name)

    @property
    def reason(self) -> str:
        """Why a scan pauses."""
        return f"{self.key} is below {self.minimum:g}"

    def examiner(self, start: Mapping[str, Any], tomo: TomoBlock) -> Examiner:
        """Return what examines a run."""
        return BeamDips(self)


class BeamDips(Idle):
    """Notes when the signal was below its limit, and which frames were exposed then.

    Attributes
    ----------
    below_since_s : float or None
        Since when it is below the limit, in seconds since the epoch.
    """

    def __init__(self, asked: BeamCurrent) -> None:
        self.asked = asked
        self.below_since_s: float | None = None
        self._units: dict[str, str] = {}
        self._dips: list[tuple[float, float]] = []
        self._times: list[tuple[str, int, HostTimes]] = []

    def exposures(
        self, stream: str, first: int, numbers: NDArray[np.int64], times_ns: NDArray[np.int64]
    ) -> Iterator[Alarm]:
        self._times.append((stream, first, HostTimes(times_ns.copy())))
        yield from ()

    def document(self, name: str, document: Mapping[str, Any]) -> Iterator[Alarm]:
        key = self.asked.key
        if name == "descriptor":
            # What is only read at the start and the end of a run is no monitor of it.
            if key in document["data_keys"] and document.get("name") != "baseline":
                self._units[document["uid"]] = str(document["data_keys"][key].get("units") or "")
            return
        if name != "event" or document["descriptor"] not in self._units:
            return
        value, time_s = float(document["data"][key]), _happened_s(document, key)
        below = not value >= self.asked.minimum
        if below and self.below_since_s is None:
            self.below_since_s = time_s
            yield self._alarm(document["descriptor"], value)
        elif not below and self.below_since_s is not None:
            self._dips.append((self.below_since_s, time_s))
            self.below_since_s = None

    def end(self) -> Iterator[Alarm]:
        if self.below_since_s is not None:
            self._dips.append((self.below_since_s, _NEVER_S))
        for since_s, until_s in self._dips:
            since = HostTimes.of_seconds(since_s - self.asked.lag_s)
            until = HostTimes.of_seconds(until_s)
            found: dict[str, list[int]] = {}
            for stream, first, times in self._times:
                inside = (times >= since) & (times < until)
                found.setdefault(stream, []).extend((first + np.flatnonzero(inside)).tolist())
            for stream, indices in found.items():
                if indices:
                    yield Alarm(
                        "beam current", "note", stream, indices[0], float(len(indices)), 0.0, "frame",
                        f"{len(indices)} frames of {stream} were exposed while {self.asked.reason}: "
                        f"{_ranges(indices)}.",
                    )  # fmt: skip

    def _alarm(self, descriptor: str, value: float) -> Alarm:
        asked, unit = self.asked, self._units[descriptor]
        space = f" {unit}" if unit else ""
        return Alarm(
            "beam current", asked.level, "", -1, value, asked.minimum, unit,
            f"{asked.key} fell to {value:.4g}{space}; at least {asked.minimum:g}{space} are wanted.",
        )  # fmt: skip


def _happened_s(event: Mapping[str, Any], key: str) -> float:
    """Return when a signal became what an event tells, by the computer's clock, in s since the epoch."""
    stamp_s, told_s = float(event["timestamps"][key]), float(event["time"])
    return stamp_s if abs(stamp_s - told_s) <= _PROMPT_S else told_s


def _ranges(indices: list[int]) -> str:
    """Return indices in words, runs of them shortened."""
    values = np.unique(indices)
    parts = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(f"{p[0]}" if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in parts)
