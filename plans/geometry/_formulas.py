"""Formulas that turn a camera and a wish into the settings of a scan."""

import math

from concertino import ParameterError
from concertino.units import QuantityLike, convert


def angular_step(width: QuantityLike) -> float:
    """Return the angle that moves the edge of the field by one pixel, in rad.

    Parameters
    ----------
    width : quantity
        Frame width in px.

    Examples
    --------
    >>> from concertino.plans import angular_step
    >>> round(angular_step(2048), 9)
    0.000976562
    """
    return math.atan(2 / convert(width, "px", parameter="width", positive=True))


def projections_needed(width: QuantityLike) -> int:
    """Return how many projections over half a turn sample the edge of the field fully.

    Parameters
    ----------
    width : quantity
        Frame width in px.

    Examples
    --------
    >>> from concertino.plans import projections_needed
    >>> projections_needed("2048 px")
    3217
    """
    return math.ceil(math.pi / angular_step(width))


def maximum_velocity(width: QuantityLike, frame_rate: QuantityLike) -> float:
    """Return the rotation speed at which a frame moves by at most one pixel, in deg/s.

    Parameters
    ----------
    width : quantity
        Frame width in px.
    frame_rate : quantity
        In Hz.
    """
    rate = convert(frame_rate, "Hz", parameter="frame_rate", positive=True)
    return math.degrees(angular_step(width)) * rate


def continuous_velocity(frame_rate_hz: float, angular_range_deg: float, projections: int) -> float:
    """Return the rotation speed for a continuous scan, in deg/s.

    Parameters
    ----------
    frame_rate_hz : float
        Of the camera, in Hz.
    angular_range_deg : float
        Angle to cover, in deg.
    projections : int
        Frames over that angle.

    Raises
    ------
    ParameterError
        If the camera has no frame rate.
    """
    if frame_rate_hz <= 0:
        raise ParameterError(
            "A continuous scan follows from the camera's frame rate, and that is "
            f"{frame_rate_hz:g} Hz. Set camera.frame_rate to how many frames per second to take."
        )
    return frame_rate_hz * angular_range_deg / projections


def tomograms_in_spiral(sample_height_mm: float, vertical_shift_mm: float) -> float:
    """Return how many tomograms a spiral needs to cover a sample; need not be whole.

    Parameters
    ----------
    sample_height_mm : float
        In mm.
    vertical_shift_mm : float
        Vertical shift per tomogram, in mm, not 0.

    Examples
    --------
    >>> from concertino.plans import tomograms_in_spiral
    >>> tomograms_in_spiral(3.0, -2.0)
    2.5
    """
    return abs(sample_height_mm / vertical_shift_mm) + 1


def projections_in_spiral(tomograms: float, projections: int) -> int:
    """Return how many projections a spiral has; one that would be cut off is taken whole.

    Parameters
    ----------
    tomograms : float
        From `tomograms_in_spiral`.
    projections : int
        Per tomogram.
    """
    # 0.1 mm is no binary number: what is whole but for rounding is whole.
    return math.ceil(round(tomograms * projections, 6))
