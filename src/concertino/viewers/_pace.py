"""How often pictures are shown, so that watching a scan takes no time from it."""

from __future__ import annotations

import time
from collections.abc import Callable

from concertino.runtime._processors import Restraint, processor_times

_SLOWEST = 5.0


class PagePace:
    """Lets a task through at most so often; less often while the computer has nothing to spare.

    A browser on the scan's computer needs some 40 ms of a processor for a picture. When all processors
    are busy the rate is halved each second, down to a fifth; it grows again when they idle.

    Parameters
    ----------
    rate_hz : float
        Times a second at most.
    times : callable
        Idle and total time of the processors so far, or None; `processor_times`.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        rate_hz: float,
        times: Callable[[], tuple[float, float] | None] = processor_times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shortest_s = 1 / rate_hz
        self._clock = clock
        self._restraint = Restraint(1.0, _SLOWEST, 1.0, times, clock)
        self._passed_s = float("-inf")

    @property
    def rate_hz(self) -> float:
        """Times a second now."""
        return 1 / (self._shortest_s * self._restraint.factor())

    def due(self) -> bool:
        """Tell whether it is time again."""
        now_s = self._clock()
        # A tenth early is in time: a viewer that asks at a period of its own would miss every second turn.
        if now_s - self._passed_s < 0.9 / self.rate_hz:
            return False
        self._passed_s = now_s
        return True
