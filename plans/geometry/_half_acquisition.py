"""Half acquisition: a full turn with the axis at the edge, for a field twice as wide."""

from typing import Any

from concertino import ParameterError
from concertino.plans.core._parameters import angular_range_deg
from concertino.units import QuantityLike, convert

FULL_TURN_DEG = 360.0
_HALF_TURN = "180 deg"
_ROUNDING_DEG = 1e-6
#: Farther from the nearest edge than this share of the width the axis gains too little.
_NEAR = 1 / 3


def turn_deg(
    angular_range: QuantityLike | None, half_acquisition: bool, *, cone: bool = False
) -> float:
    """Return the angle that a tomography covers, in deg: half a turn when it is not told.

    Parameters
    ----------
    angular_range : quantity or None
        As it was given.
    half_acquisition : bool
        Whether the axis is at the edge; a full turn is covered then, or more.
    cone : bool
        Whether the beam is a cone, in which opposite views differ: a full turn when it is not told.

    Raises
    ------
    ParameterError
        If it is no angle, or too small for half acquisition.
    """
    if angular_range is None:
        return FULL_TURN_DEG if half_acquisition or cone else angular_range_deg(_HALF_TURN)
    turn = angular_range_deg(angular_range)
    if half_acquisition and abs(turn) < FULL_TURN_DEG - _ROUNDING_DEG:
        raise ParameterError(
            f"angular_range: {turn:g} deg was given, and half acquisition sees each side of the sample "
            "only once in a turn. Give 360 deg or more, or leave angular_range out."
        )
    return turn


def axis_fields(
    width: int, rotation_axis: QuantityLike | None, half_acquisition: bool
) -> dict[str, Any]:
    """Return what the `TomoBlock` says of the rotation axis.

    Parameters
    ----------
    width : int
        Of a frame, in pixels; 0 while it is unknown.
    rotation_axis : quantity or None
        Column of the axis, as it was given; None when it is not known.
    half_acquisition : bool
        Whether it is said to be near an edge.

    Raises
    ------
    ParameterError
        If it is outside of the frame, or in the middle of one for half acquisition.
    """
    fields: dict[str, Any] = {"half_acquisition": True} if half_acquisition else {}
    if rotation_axis is None:
        return fields
    axis = convert(rotation_axis, "px", parameter="rotation_axis")
    if (
        width == 0 and axis >= 0
    ):  # A detector that does not tell before it is prepared: nothing to compare with.
        return {**fields, "rotation_axis_px": axis}
    if not 0 <= axis <= width - 1:
        raise ParameterError(
            f"rotation_axis: column {axis:g} px was given, and a frame has the columns 0 to "
            f"{width - 1}. Give the column of the rotation axis, counted from the first one's middle."
        )
    away = min(axis, width - 1 - axis)
    if half_acquisition and away > _NEAR * width:
        raise ParameterError(
            f"rotation_axis: column {axis:g} px was given, {away:g} px from the nearest edge of a "
            f"frame of {width} px, and half acquisition wants the axis within {_NEAR * width:.0f} px "
            "of one. Move the rotation axis, or leave half_acquisition out."
        )
    return {**fields, "rotation_axis_px": axis}
