"""What goes wrong with a simulated camera, on demand."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from concertino import ParameterError


@dataclass(frozen=True)
class Faults:
    """Faults that a simulated camera plays; the indices count its exposures of one acquisition.

    Parameters
    ----------
    drop_frames : collection of int
        Exposures that are made and lost.
    drop_probability : float
        Chance, 0 to 1, that any other exposure is lost; which ones depends on `seed` alone.
    die_at : int, optional
        The camera stops answering at this exposure.
    die_in_readout_at : int, optional
        A camera with a memory stops answering when this frame is read out of it.
    slow_s : float
        Delay added to each frame, in s.
    slow_from : int
        First exposure that is delayed.
    seed : int
        Seed of the lost frames.

    Examples
    --------
    >>> from concertino.simulation import Faults
    >>> faults = Faults(drop_frames=[3], die_at=10)
    >>> [index for index in range(6) if not faults.drops(index)]
    [0, 1, 2, 4, 5]
    >>> faults.dies(9), faults.dies(10)
    (False, True)
    """

    drop_frames: Collection[int] = frozenset()
    drop_probability: float = 0.0
    die_at: int | None = None
    slow_s: float = 0.0
    slow_from: int = 0
    seed: int = 0
    die_in_readout_at: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "drop_frames", frozenset(self.drop_frames))
        if not 0.0 <= self.drop_probability <= 1.0:
            raise ParameterError(
                f"drop_probability: {self.drop_probability} was given; give a chance, 0 to 1."
            )
        if not (math.isfinite(self.slow_s) and self.slow_s >= 0):
            raise ParameterError(f"slow_s: {self.slow_s} was given; give 0 s or more.")

    def drops(self, index: int) -> bool:
        """Say whether this exposure is lost."""
        if index in self.drop_frames:
            return True
        if not self.drop_probability:
            return False
        return _uniform(self.seed, index) < self.drop_probability

    def dies(self, index: int) -> bool:
        """Say whether the camera is dead at this exposure."""
        return self.die_at is not None and index >= self.die_at

    def dies_in_readout(self, index: int) -> bool:
        """Say whether the camera is dead when this frame is read out of its memory."""
        return self.die_in_readout_at is not None and index >= self.die_in_readout_at

    def delay_s(self, index: int) -> float:
        """Return the delay to add to this frame, in s."""
        return self.slow_s if index >= self.slow_from else 0.0


def _uniform(seed: int, index: int) -> float:
    """Return a number in [0, 1) that depends on seed and index alone (splitmix64)."""
    mask = 2**64 - 1
    z = (seed * 0xD1342543DE82EF95 + (index + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) / 2**64
