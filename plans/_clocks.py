"""What one clock shows when another one does, and how sure that is."""

import inspect
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TRIES = 8
_GOOD_S = 20e-6
_DRIFT = 2e-4  # of a clock of which one reading is known; quartz is ten times better


async def answered(answer: Any) -> Any:
    """Return an answer, waiting for it if it is awaitable."""
    return await answer if inspect.isawaitable(answer) else answer


class ClockRelation:
    """Relates a device's clock to the computer's, by readings between two looks at the latter.

    Parameters
    ----------
    read : callable, optional
        Returns what the device's clock shows, in s, or an awaitable of that. None: it shows the
        computer's time.

    Notes
    -----
    Each reading happened somewhere between the looks before and after it: half of what they are apart is its
    uncertainty. Through the readings goes a straight line of weighted least squares: offset and drift. Of
    several tries in a row the best counts, as the computer may have done something else in between.
    """

    def __init__(self, read: Callable[[], Any] | None) -> None:
        self._read = read
        self._host: list[float] = []
        self._offset: list[float] = []
        self._half: list[float] = []

    async def look(self) -> None:
        """Read the device's clock once more."""
        if self._read is None:
            return
        best: tuple[float, float, float] | None = None
        for _ in range(_TRIES):
            before = time.time()
            shown = float(await answered(self._read()))
            after = time.time()
            half = max(0.0, after - before) / 2
            if best is None or half < best[2]:
                best = (before + half, shown, half)
            if half < _GOOD_S / 2:
                break
        assert best is not None
        self._host.append(best[0])
        self._offset.append(best[1] - best[0])
        self._half.append(best[2])

    def of_host(
        self, host_s: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what the device's clock shows at times of the computer's, and its uncertainty, in s."""
        offset, spread = self._offset_at(host_s)
        return host_s + offset, spread

    def to_host(
        self, shown_s: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the computer's times at which the device's clock shows times, and their uncertainty, in s."""
        host = shown_s - (self._offset[-1] if self._offset else 0.0)
        for _ in range(2):  # the offset changes by parts per million
            offset, spread = self._offset_at(host)
            host = shown_s - offset
        return host, spread

    def _offset_at(
        self, host_s: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not self._host:
            return np.zeros_like(host_s), np.zeros_like(host_s)
        host, offset, half = (np.array(part) for part in (self._host, self._offset, self._half))
        sigma = half / math.sqrt(3) + 1e-7
        if len(host) == 1:
            away = np.abs(host_s - host[0])
            return np.full_like(host_s, offset[0]), np.hypot(sigma[0], _DRIFT * away)
        weight = 1 / sigma**2
        middle = float((weight * host).sum() / weight.sum())
        x = host - middle
        width = float((weight * x**2).sum())
        mean = float((weight * offset).sum() / weight.sum())
        slope = float((weight * x * (offset - mean)).sum() / width) if width else 0.0
        away = host_s - middle
        variance = 1 / weight.sum() + (away**2 / width if width else (_DRIFT * away) ** 2)
        return mean + slope * away, np.sqrt(variance)
