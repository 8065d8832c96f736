"""What the computer's processors have to spare."""

from __future__ import annotations

import time
from collections.abc import Callable

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


class Restraint:
    """A factor that who lives on what the processors spare waits longer by, while they are busy.

    It is doubled each second in which they were busy, and halved when they idled.

    Parameters
    ----------
    least, most : float
        Its bounds.
    first : float
        What it begins with.
    times : callable
        Idle and total time of the processors so far, or None; `processor_times`.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        least: float,
        most: float,
        first: float,
        times: Callable[[], tuple[float, float] | None] = processor_times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._least, self._most, self._factor = least, most, first
        self._times, self._clock = times, clock
        self._last, self._looked_s = times(), clock()

    def factor(self) -> float:
        """Return it as it is now; it stays as it is where nothing is known of the processors."""
        now_s = self._clock()
        if now_s - self._looked_s >= _PERIOD_S:
            self._looked_s = now_s
            before, self._last = self._last, self._times()
            if before is not None and self._last is not None and self._last[1] > before[1]:
                idle = (self._last[0] - before[0]) / (self._last[1] - before[1])
                if idle < _BUSY:
                    self._factor = min(2 * self._factor, self._most)
                elif idle > _IDLE:
                    self._factor = max(self._factor / 2, self._least)
        return self._factor
