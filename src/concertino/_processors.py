"""What the computer's processors have to spare."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

_PERIOD_S = 1.0
_BUSY, _IDLE = 0.06, 0.25  # of the time of all processors


def processor_times() -> tuple[float, float] | None:
    """Return the time that all processors idled and the time there was; None where unknown."""
    try:
        with open("/proc/stat") as stat:
            times = [float(value) for value in stat.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    return times[3] + times[4], sum(times)


class ProcessorLoad:
    """Tells once a second whether the processors are busy or idle, for who lives on what they spare.

    Parameters
    ----------
    times : callable
        Idle and total time of the processors so far, or None; `processor_times`.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        times: Callable[[], tuple[float, float] | None] = processor_times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._times, self._clock = times, clock
        self._last, self._looked_s = times(), clock()

    def news(self) -> Literal["busy", "idle"] | None:
        """Return how they were since the last time; None between the two, within a second, or where unknown."""
        now_s = self._clock()
        if now_s - self._looked_s < _PERIOD_S:
            return None
        self._looked_s = now_s
        before, self._last = self._last, self._times()
        if before is None or self._last is None or self._last[1] <= before[1]:
            return None
        idle = (self._last[0] - before[0]) / (self._last[1] - before[1])
        if idle < _BUSY:
            return "busy"
        return "idle" if idle > _IDLE else None
