"""Repeat what happened at the times at which it happened."""

import time


class ReplayPace:
    """Wait as long as things took the first time.

    Parameters
    ----------
    speed
        1: as long, 2: half as long; None: do not wait at all.
    origin_s
        Time at which it began the first time, in s since the epoch.
    """

    def __init__(self, speed: float | None, origin_s: float) -> None:
        self._speed = speed
        self._origin_s = origin_s
        self._begun_s = time.monotonic()

    @property
    def waits(self) -> bool:
        """Whether it waits at all."""
        return self._speed is not None

    def wait_until(self, then_s: float | None) -> None:
        """Return when the moment has come that was `then_s` (s since the epoch) the first time."""
        if self._speed is None or then_s is None:
            return
        due_s = self._begun_s + (then_s - self._origin_s) / self._speed
        time.sleep(max(0.0, due_s - time.monotonic()))
