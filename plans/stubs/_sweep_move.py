"""The steady move of one axis while frames are taken."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from concertino.plans.safety._safety import Cleanup

from ._velocity import set_velocity

_MARGIN_S = 0.5


@dataclass(frozen=True)
class SweepMove:
    """The steady move of one axis, in the axis' unit.

    Parameters
    ----------
    axis : device
        Has a ``velocity``.
    start : float
        Where the first frame is due.
    velocity : float
        With its sign, per second.
    before : float
        The axis' velocity before the plan, per second.
    ramp_s : float
        Time that the axis takes to reach its velocity, in seconds.
    lead_s : float
        Time from the beginning of the move to the first frame, in seconds: the longest ramp of all
        axes that move together, and what it takes to see that it is over.
    frames_s : float
        Time of all frames, in seconds.
    beyond : float
        How far the axis goes beyond its end to arrive from its own direction, as a backlash is taken up.
    """

    axis: Any
    start: float
    velocity: float
    before: float
    ramp_s: float
    lead_s: float
    frames_s: float
    beyond: float = 0.0

    @property
    def first(self) -> float:
        """Where it begins, so that the speed is reached at the start."""
        return self.start - self.velocity * (self.lead_s - self.ramp_s / 2)

    @property
    def last(self) -> float:
        """Where it ends: a camera that starts late has its last frame at full speed, too."""
        return self.start + self.velocity * (self.frames_s + _MARGIN_S + self.ramp_s / 2)

    @property
    def farthest(self) -> float:
        """How far it comes at its end."""
        return self.last + math.copysign(self.beyond, self.velocity)

    def part(self, first: int, count: int, number: int) -> Self:
        """Return the move for some of the frames.

        Parameters
        ----------
        first, count : int
            Index of the first of them, and how many.
        number : int
            Frames of the whole move.
        """
        period_s = self.frames_s / number
        start = self.start + self.velocity * first * period_s
        return replace(self, start=start, frames_s=count * period_s)

    def restore(self) -> Cleanup:
        """Return what gives the axis its velocity back."""
        return lambda: set_velocity(self.axis, self.before)
