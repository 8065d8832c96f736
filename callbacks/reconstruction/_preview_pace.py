"""How soon one look at a reconstruction follows another."""

import time
from collections import deque
from collections.abc import Callable
from statistics import median

from concertino.runtime._processors import Restraint, processor_times

_MOST, _LEAST = 3.0, 0.25  # so many times as long as a look took is waited for the next one
_REMEMBERED, _ENOUGH = 5, 3  # looks: the first loads code
_LATE = 1.2  # times what was asked


class PreviewPace:
    """Tells how long to wait between looks: as asked, but never so short that a scan is in need.

    While the computer has nothing to spare, looks take a quarter of the time. The more its processors
    idle, the less is waited after a look.

    Parameters
    ----------
    asked_s : float
        Seconds from one look to the next.
    times : callable
        Idle and total time of the processors so far, or None where it is unknown.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        asked_s: float,
        times: Callable[[], tuple[float, float] | None] = processor_times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.asked_s = asked_s
        self._rest = Restraint(_LEAST, _MOST, _MOST, times, clock)
        self._periods_s: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def period_s(self) -> float:
        """From one look to the next as it was lately, in seconds; as asked before there were some."""
        return median(self._periods_s) if len(self._periods_s) >= _ENOUGH else self.asked_s

    @property
    def late(self) -> bool:
        """Whether looks come later than asked."""
        return self.period_s > _LATE * self.asked_s

    def after(self, took_s: float) -> float:
        """Return the time from the begin of a look, which took so long, to the next one, in seconds."""
        period_s = max(self.asked_s, (1 + self._rest.factor()) * took_s)
        self._periods_s.append(period_s)
        return period_s
