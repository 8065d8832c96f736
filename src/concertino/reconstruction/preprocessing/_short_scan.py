"""Cone beam over less than a full turn: each ray counts once, however often it was measured.

References
----------
D. L. Parker, Optimal short scan convolution reconstruction for fan beam CT, doi:10.1118/1.595078

M. D. Silver, A method for including redundant data in computed tomography, doi:10.1118/1.598939
"""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError
from concertino.reconstruction.settings._settings import ReconstructionSettings

from ._angles import is_wedge

LOG = logging.getLogger("concertino.reconstruction")
_HALF_TOLERANCE = np.deg2rad(10.0)
_TOLERANCE = np.deg2rad(1.0)  # of the fan that may be missing: less than what the edges fade over


@dataclass(frozen=True)
class ShortScan:
    """An arc of less than a full turn, of which some rays were measured from both sides.

    Parameters
    ----------
    start
        Angle where it begins, in radians.
    arc
        How far it goes, in radians.
    """

    start: float
    arc: float

    def shares(self, angles: NDArray[np.float64], fan: NDArray[np.float64]) -> NDArray[np.float32]:
        """What each ray counts for beside the weight of its projection.

        Parameters
        ----------
        angles
            float64, (projection,), radians.
        fan
            float64, (column,): angle between the ray of each column and the one through the rotation axis,
            growing with the column, in radians.

        Returns
        -------
        ndarray
            float32, (projection, column); 1 on average.
        """
        beyond = (self.arc - np.pi) / 2  # of half a turn, at each end
        turned = np.mod(angles - self.start, 2 * np.pi)[:, None]
        # a ray and its opposite fade over as many projections as lie between them
        first, last = 2 * (beyond + fan)[None], 2 * (beyond - fan)[None]
        rising = np.clip(turned / np.maximum(first, 1e-6), 0, 1)
        falling = np.clip((self.arc - turned) / np.maximum(last, 1e-6), 0, 1)
        once = np.sin(np.pi / 2 * rising) ** 2 * np.sin(np.pi / 2 * falling) ** 2
        return np.asarray(once * (self.arc / np.pi), dtype=np.float32)


def fan_angles(
    settings: ReconstructionSettings, columns: int, center: float
) -> NDArray[np.float64]:
    """Angle of each column's ray with the one through the rotation axis, in radians."""
    assert settings.source_distance is not None
    reach = settings.source_distance + settings.detector_distance
    return np.asarray(np.arctan((np.arange(columns) - center) / reach))


def check_arc(settings: ReconstructionSettings, angles: NDArray[np.float64], columns: int) -> None:
    """Refuse a scan over too short an arc.

    Raises
    ------
    ParameterError
        Some rays of a cone beam, or one side of the sample in half acquisition, were never measured.
    """
    short_scan(settings, angles, columns, (columns - 1) / 2)
    if not settings.half_acquisition or len(angles) < 3:
        return
    covered = float(np.ptp(angles) + np.median(np.diff(np.sort(angles))))
    if covered < 2 * np.pi - _HALF_TOLERANCE:
        raise ParameterError(
            f"half_acquisition: it needs projections over 360 deg, these cover {np.degrees(covered):.1f} "
            "deg. Scan a full turn, or give half_acquisition=False."
        )


def tell_wedge(settings: ReconstructionSettings, angles: NDArray[np.float64]) -> None:
    """Say which directions are missing, in a parallel beam across the axis."""
    if settings.angular_period != np.pi or len(angles) < 3:
        return
    places = np.sort(np.mod(angles, np.pi))
    ahead = np.asarray(np.diff(places, append=places[0] + np.pi), np.float64)
    widest, usual = float(ahead.max()), float(np.median(ahead))
    if is_wedge(np.array([widest]), np.array([usual])).all():
        LOG.warning(
            "angles: they cover %.1f of 180 deg, so edges along the missing directions are blurred and grey values "
            "are off beside them. Scan half a turn; if you did, look whether the angles are in radians",
            np.degrees(np.pi - widest + usual),
        )


def short_scan(
    settings: ReconstructionSettings, angles: NDArray[np.float64], columns: int, center: float
) -> ShortScan | None:
    """Return the arc that a cone beam scan covers; None when it is a full turn, or no cone beam.

    A helix is left to the share of projections that see each place.

    Raises
    ------
    ParameterError
        The arc is less than half a turn and the fan: some rays were never measured.
    """
    if settings.source_distance is None or settings.helical or len(angles) < 3:
        return None
    places = np.unique(np.round(np.mod(angles, 2 * np.pi), 9))
    ahead = np.asarray(np.diff(places, append=places[0] + 2 * np.pi), np.float64)
    widest, usual = int(np.argmax(ahead)), float(np.median(ahead))
    if len(places) < 3 or not is_wedge(ahead[widest : widest + 1], np.array([usual])).all():
        return None
    arc = float(2 * np.pi - ahead[widest] + usual)
    start = float(places[(widest + 1) % len(places)] - usual / 2)
    fan = 2 * float(np.abs(fan_angles(settings, columns, center)).max())
    if arc < np.pi + fan - _TOLERANCE:
        raise ParameterError(
            f"source_distance: a cone beam of {np.degrees(fan):.1f} deg needs projections over "
            f"{180 + np.degrees(fan):.1f} deg at least, half a turn and the fan; these cover "
            f"{np.degrees(arc):.1f} deg. Scan a full turn, or leave out source_distance for slices "
            "of a parallel beam, with their error."
        )
    return ShortScan(start, arc)
