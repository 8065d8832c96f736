"""Where a simulated axis is at a given time: motion at limited speed and acceleration."""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from math import copysign, sqrt

_REMEMBERED = 64  # moves


@dataclass(frozen=True)
class Move:
    """One move from rest to rest with a trapezoidal or triangular speed profile.

    Parameters
    ----------
    start_s : float
        When it starts, in seconds since the epoch.
    origin, target : float
        Where it starts and ends, in the axis' unit.
    speed : float
        Greatest speed, in unit/s.
    acceleration : float
        In unit/s².
    """

    start_s: float
    origin: float
    target: float
    speed: float
    acceleration: float

    @property
    def distance(self) -> float:
        """Length of the way, in the axis' unit."""
        return abs(self.target - self.origin)

    @property
    def peak_speed(self) -> float:
        """Speed that is reached, in unit/s."""
        return min(self.speed, sqrt(self.distance * self.acceleration))

    @property
    def ramp_s(self) -> float:
        """Time spent accelerating, in seconds; as long is spent braking."""
        return self.peak_speed / self.acceleration

    @property
    def duration_s(self) -> float:
        """Time of the whole move, in seconds."""
        if not self.peak_speed:  # no way at all, or one too small for a float's square root
            return 0.0
        return self.ramp_s + self.distance / self.peak_speed

    @property
    def stop_s(self) -> float:
        """When the axis is at rest again, in seconds since the epoch."""
        return self.start_s + self.duration_s

    def position(self, time_s: float) -> float:
        """Return the position at a time, in the axis' unit."""
        elapsed = min(max(time_s - self.start_s, 0.0), self.duration_s)
        remaining = self.duration_s - elapsed
        if remaining <= 0:
            return self.target
        if elapsed < self.ramp_s:
            way = 0.5 * self.acceleration * elapsed**2
        elif remaining < self.ramp_s:
            way = self.distance - 0.5 * self.acceleration * remaining**2
        else:
            way = self.peak_speed * (elapsed - 0.5 * self.ramp_s)
        return self.origin + copysign(way, self.target - self.origin)

    def velocity(self, time_s: float) -> float:
        """Return the signed speed at a time, in unit/s."""
        elapsed = time_s - self.start_s
        remaining = self.stop_s - time_s
        if elapsed <= 0 or remaining <= 0:
            return 0.0
        return copysign(
            min(self.peak_speed, self.acceleration * min(elapsed, remaining)),
            self.target - self.origin,
        )


@dataclass(frozen=True)
class Braking:
    """An axis that brakes to rest from some speed.

    Parameters
    ----------
    start_s : float
        When it begins to brake, in seconds since the epoch.
    origin : float
        Where, in the axis' unit.
    initial_velocity : float
        With its sign, in unit/s.
    acceleration : float
        In unit/s².
    """

    start_s: float
    origin: float
    initial_velocity: float
    acceleration: float

    @property
    def stop_s(self) -> float:
        """When the axis is at rest, in seconds since the epoch."""
        return self.start_s + abs(self.initial_velocity) / self.acceleration

    @property
    def target(self) -> float:
        """Where the axis comes to rest, in its unit."""
        return self.position(self.stop_s)

    def position(self, time_s: float) -> float:
        """Return the position at a time, in the axis' unit."""
        elapsed = min(max(time_s, self.start_s), self.stop_s) - self.start_s
        brake = copysign(self.acceleration, self.initial_velocity)
        return self.origin + self.initial_velocity * elapsed - 0.5 * brake * elapsed**2

    def velocity(self, time_s: float) -> float:
        """Return the signed speed at a time, in unit/s."""
        if not self.start_s < time_s < self.stop_s:
            return 0.0
        brake = copysign(self.acceleration, self.initial_velocity)
        return self.initial_velocity - brake * (time_s - self.start_s)


class Trajectory:
    """The recent moves of an axis; answers for the past, so that late readers see the truth."""

    def __init__(self, position: float) -> None:
        self._moves: deque[Move | Braking] = deque(maxlen=_REMEMBERED)
        self._moves.append(Move(0.0, position, position, 1.0, 1.0))

    @property
    def last(self) -> Move | Braking:
        """The move that is being made or was made last."""
        return self._moves[-1]

    def append(self, move: Move | Braking) -> None:
        """Begin a move; what was going on before ends there."""
        self._moves.append(move)

    def position(self, time_s: float) -> float:
        """Return where the axis was at a time, in its unit."""
        moves = list(self._moves)
        index = bisect_right([move.start_s for move in moves], time_s) - 1
        return moves[max(index, 0)].position(time_s)

    def velocity(self, time_s: float) -> float:
        """Return the signed speed that the axis had at a time, in unit/s."""
        moves = list(self._moves)
        index = bisect_right([move.start_s for move in moves], time_s) - 1
        return moves[max(index, 0)].velocity(time_s)
