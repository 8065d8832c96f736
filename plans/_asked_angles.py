"""Angles that were asked of a sweep beside those that its projections have."""

import logging
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError

LOG = logging.getLogger("concertino.plans")

_TOLD_SHARE = 0.05  # of the angles asked: from there on it is told
_FAILED_SHARE = 0.5  # ... and from there on it is another scan


@dataclass
class AskedAngles:
    """What a sweep was to give, and what it gave.

    Parameters
    ----------
    step_deg : float
        From projection to projection, with its sign.
    count : int
        Projections.
    """

    step_deg: float
    count: int
    _got: list[NDArray[np.float64]] = field(default_factory=list)
    _spread: list[NDArray[np.float64]] = field(default_factory=list)

    def got(self, angles_deg: NDArray[np.float64], spread_deg: NDArray[np.float64]) -> None:
        """Note angles that projections have, and how uncertain they are."""
        self._got.append(angles_deg)
        self._spread.append(spread_deg)

    @property
    def missed(self) -> float:
        """Share of the asked angles from which no projection is less than half a step away.

        Where the first projection is does not count: all of them may be turned by the same angle. Nor does what
        clocks cannot tell: three times the uncertainty is allowed for.
        """
        if not self._got or not self.step_deg:
            return 0.0
        angles = np.concatenate(self._got) / self.step_deg
        within = 0.5 + 3 * float(np.median(np.concatenate(self._spread))) / abs(self.step_deg)
        angles = np.sort(angles - angles[0])
        asked = np.arange(self.count, dtype=np.float64)
        after = np.clip(np.searchsorted(angles, asked), 1, max(1, len(angles) - 1))
        before = np.minimum(after - 1, len(angles) - 1)
        after = np.minimum(after, len(angles) - 1)
        apart = np.minimum(np.abs(asked - angles[before]), np.abs(angles[after] - asked))
        return float(np.mean(apart > within))

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
            If more than half of the asked angles have no projection.
        """
        missed = self.missed
        if missed <= _TOLD_SHARE:
            return
        angles = np.concatenate(self._got)
        why = slowest or "nobody who takes its frames held it up"
        told = (
            f"Camera {camera} was asked for {self.count} projections every {abs(self.step_deg):.4g} deg, and for "
            f"{100 * missed:.0f} % of these angles none is within half a step: they lie at {angles.min():.4g} to "
            f"{angles.max():.4g} deg. It took frames at another pace than it was set to; {why}. Lower the frame "
            "rate, or give what takes the frames less to do or a faster disk."
        )
        if fail and missed > _FAILED_SHARE:
            raise CameraError(f"{told} With on_lost='flag' this is told and the run goes on.")
        LOG.warning("%s", told)
