"""Angles that were asked of a sweep beside those that its projections have."""

import logging
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError

LOG = logging.getLogger("concertino.plans")

_TOLD_SHARE = 0.05  # of the projections: from there on it is told
_FAILED_SHARE = 0.5  # ... and from there on it is another scan
_SHAKEN_S = 0.1  # what a busy computer, or frames that are stamped together, may be off


@dataclass
class AskedAngles:
    """What a sweep was to give, and what it gave.

    Parameters
    ----------
    step_deg : float
        From projection to projection, with its sign.
    count : int
        Projections.
    velocity_deg : float
        Of the rotation, in deg/s.
    """

    step_deg: float
    count: int
    velocity_deg: float
    _numbers: list[NDArray[np.int64]] = field(default_factory=list)
    _angles: list[NDArray[np.float64]] = field(default_factory=list)
    _spread: list[NDArray[np.float64]] = field(default_factory=list)

    def got(
        self,
        numbers: NDArray[np.int64],
        angles_deg: NDArray[np.float64],
        spread_deg: NDArray[np.float64],
    ) -> None:
        """Note which projections came, the angles that they have, and how uncertain these are."""
        self._numbers.append(numbers)
        self._angles.append(angles_deg)
        self._spread.append(spread_deg)

    @property
    def astray(self) -> float:
        """Share of the projections that are more than half a step from where they were asked for.

        The median of all deviations does not count: a scan may be turned as a whole. Nor does what clocks cannot
        tell, which is three times the uncertainty, or a tenth of a second.
        """
        if not self._angles:
            return 0.0
        asked = np.concatenate(self._numbers) * self.step_deg
        off = np.concatenate(self._angles) - asked
        allowed = 0.5 * abs(self.step_deg) + _SHAKEN_S * abs(self.velocity_deg)
        beyond = np.abs(off - np.median(off)) - 3 * np.concatenate(self._spread)
        return float(np.mean(beyond > allowed * (1 + 1e-9)))

    def check(self, camera: str, slowest: str, *, fail: bool) -> None:
        """Tell when the projections are not where they were asked for, and fail when most are not.

        Parameters
        ----------
        camera : str
            Who took them, for the message.
        slowest : str
            Whom the camera waited for; empty if for nobody.
        fail : bool
            Whether it may fail.

        Raises
        ------
        CameraError
            If more than half of them are not.
        """
        astray = self.astray
        if astray <= _TOLD_SHARE:
            return
        angles = np.concatenate(self._angles)
        why = slowest or "nobody who takes its frames held it up"
        told = (
            f"Camera {camera} was asked for {self.count} projections every {abs(self.step_deg):.4g} deg, and "
            f"{100 * astray:.0f} % of them are more than half a step from where they were asked for: they lie at "
            f"{angles.min():.4g} to {angles.max():.4g} deg. It took frames at another pace than it was set to; {why}. "
            "Lower the frame rate, or give what takes the frames less to do or a faster disk."
        )
        if fail and astray > _FAILED_SHARE:
            raise CameraError(f"{told} With on_lost='flag' this is told and the run goes on.")
        LOG.warning("%s", told)
