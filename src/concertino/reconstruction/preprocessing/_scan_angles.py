"""The angles of a scan's projections: as planned, as told since, and what each counts for."""

import threading

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ParameterError
from concertino.reconstruction.settings._checks import checked_angles, tell_other_units

from ._angles import angular_weights

_AS_PLANNED = 0.1  # by so much of itself may a weight differ


class ScanAngles:
    """Angles that may be told while projections arrive.

    What a projection counts for follows the plan, until all angles are known and some weight differs by
    more than a tenth: the jitter of a stage or an encoder is no reason to compute anew.

    Parameters
    ----------
    planned
        float, (projection,), radians; None: half a turn in equal steps, end excluded.
    number
        Number of projections.
    turn
        What is added to all, in radians.
    period
        As for `angular_weights`, in radians.

    Attributes
    ----------
    scan
        float64, (projection,): as they are known now, in radians.
    turned
        The same with what is added to all.
    known
        bool, (projection,): which are final.
    weights
        float64, (projection,): what each counts for, in radians.
    weighed
        float64, (projection,): the angles that tell the weights, in radians.
    times_told
        How often some were told.
    """

    def __init__(self, planned: ArrayLike | None, number: int, turn: float, period: float) -> None:
        self.scan = self.planned = self.weighed = checked_angles(planned, number)
        self.turned = self.scan + turn
        self.weights = angular_weights(self.turned, period)
        self.known = np.ones(number, bool)
        self.times_told = 0
        self._turn, self._period = turn, period
        self._told: tuple[NDArray[np.float64], NDArray[np.bool_]] | None = None
        self._telling = threading.Lock()

    def turn_by(self, turn: float, period: float) -> None:
        """Have another angle added to all, and views repeat after another turn."""
        self._turn, self._period = turn, period
        self.turned = self.scan + turn
        self.weights = angular_weights(self.weighed + turn, period)

    def like(self, turn: float, period: float) -> "ScanAngles":
        """Return the same with another angle added to all, and another period."""
        other = ScanAngles(self.scan, len(self.scan), turn, period)
        other.planned, other.weighed = self.planned, self.weighed
        other.turn_by(turn, period)
        return other

    def weights_of(self, present: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each of these projections counts for when there are no others, in radians."""
        if len(present) == len(self.scan):
            return self.weights
        return angular_weights(self.turned[present], self._period)

    def tell(self, angles: ArrayLike, known: ArrayLike) -> None:
        """Take note of other angles, to be adopted; from any thread.

        Raises
        ------
        ParameterError
            The arrays do not fit the scan.
        """
        values = checked_angles(angles, len(self.scan))
        tell_other_units(values)
        given = np.asarray(known, bool)
        if given.shape != values.shape:
            raise ParameterError(
                f"known: flags of shape {given.shape} were given for {len(values)} projections; "
                "give one for each."
            )
        with self._telling:
            self._told = (values, given.copy())

    def adopt(self, present: NDArray[np.bool_]) -> bool:
        """Go by what was told; say whether final angles of projections that are there have changed."""
        with self._telling:
            told, self._told = self._told, None
        if told is None:
            return False
        values, known = told[0] + self._turn, told[1]
        changed = values != self.turned
        out_of_date = bool((changed & self.known & present).any())
        self.scan = told[0]
        self.turned[:] = values
        self.known[:] = known
        self.times_told += 1
        return self._weigh() or out_of_date

    def close(self) -> bool:
        """Take those that are not final as they are, no more being told; say whether weights have changed."""
        if self.known.all():
            return False
        self.known[:] = True
        self.times_told += 1
        return self._weigh()

    def _weigh(self) -> bool:
        """Have the weights follow the angles when all are known and differ much; say whether they did."""
        if not self.known.all():
            return False
        weights, angles = angular_weights(self.planned + self._turn, self._period), self.planned
        told = angular_weights(self.turned, self._period)
        if (np.abs(told - weights) > _AS_PLANNED * weights).any():
            weights, angles = told, self.scan.copy()
        if np.array_equal(weights, self.weights):
            return False
        self.weights, self.weighed = weights, angles
        return True
