"""What single images say about focus and rotation axis, for the alignment of a beamline."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError, ReconstructionError

from ._result import AxisEstimate

_SMOOTHING_PX = 1.0  # standard deviation of the Gaussian that keeps noise out
_CONTRAST = 6.0  # an object is so many times stronger than the noise of a smoothed image
#: No feature's place is known better than this, however little it scatters, in px.
_FLOOR_PX = 0.003
#: Of so many views one counts, as what errs with the place in the frame errs alike at the same place:
#: uneven pixels, and a tip that is smaller than a pixel. In a turn each column is passed twice, and those of
#: both sides are alike.
_ALIKE = 4
_TIP_ROWS = 12
_TIP_BODY = 40
_TIP_ROUNDS = 6
_TIP_LEVELS = tuple(0.3 + 0.025 * step for step in range(19))


@dataclass(frozen=True)
class AxisTilt:
    """How a rotation axis leans, and the circle it was seen by.

    Attributes
    ----------
    roll_rad, pitch_rad
        In the detector's plane (positive tips the top of the axis to the right) and along the beam.
    uncertainty_rad
        Standard deviation of both, were the places of the point wrong by chance alone.
    radius_px
        Radius of the circle.
    center_px
        Column and row of its centre.
    within_rad
        Both are off by less in 95 of 100 alignments. It allows for what is no chance: uneven pixels, and a
        tip that is smaller than a pixel, err alike whenever the point is at the same place.
    """

    roll_rad: float
    pitch_rad: float
    uncertainty_rad: float
    radius_px: float
    center_px: tuple[float, float]
    within_rad: float


def sharpness(image: NDArray[np.generic]) -> float:
    """Return how strongly an image changes from pixel to pixel, whatever its brightness.

    The mean square of the gradient of the image, smoothed by a Gaussian of 1 px to keep noise out, over the
    square of its mean: the largest where the image is in focus.

    Parameters
    ----------
    image
        Any number, (row, column).

    Examples
    --------
    >>> import numpy as np
    >>> edge, slope = ([[1.0] * 8 + [2.0] * 8] * 16, [np.linspace(1, 2, 16)] * 16)
    >>> sharpness(edge) > sharpness(slope)
    True
    """
    import scipy.ndimage

    values = _one_image(image)
    mean = float(values.mean())
    if mean == 0:
        return 0.0
    slopes = scipy.ndimage.gaussian_gradient_magnitude(values, _SMOOTHING_PX, mode="nearest")
    return float(np.mean(slopes**2)) / mean**2


def axis_from_opposite(first: NDArray[np.floating], second: NDArray[np.floating]) -> AxisEstimate:
    """Find the rotation axis in two projections half a turn apart.

    Parameters
    ----------
    first, second
        float, (row, column): attenuation (minus the logarithm of the transmission).

    Returns
    -------
    AxisEstimate

    Raises
    ------
    ParameterError
        They are not two images of one shape.
    """
    from ._axis_match import match_views

    one, other = np.asarray(first, np.float32), np.asarray(second, np.float32)
    if one.ndim != 2 or one.shape != other.shape:
        raise ParameterError(
            f"first, second: arrays of shape {one.shape} and {other.shape} were given; give two "
            "images (row, column) of one shape."
        )
    found = match_views(one[None], other[None], 1.0, "opposite views")
    return AxisEstimate(found.center_px, found.confidence, "two projections half a turn apart")


def sphere_centre(image: NDArray[np.floating]) -> tuple[float, float]:
    """Find the ball in a projection.

    Parameters
    ----------
    image
        float, (row, column): attenuation.

    Returns
    -------
    (float, float)
        Column and row of its centre, in px.

    Raises
    ------
    ReconstructionError
        Nothing stands out, or it is cut off by the edge of the image.
    """
    import scipy.ndimage

    values, mask = _object(image, "ball")
    edges = _edges_touched(mask)
    if edges:
        raise ReconstructionError(
            f"The ball is cut off by the {' and '.join(edges)} edge of the image. Bring it nearer to "
            "the middle of the view, or nearer to the rotation axis."
        )
    row, column = scipy.ndimage.center_of_mass(np.where(mask, values, 0.0))
    return float(column), float(row)


def needle_tip(image: NDArray[np.floating]) -> tuple[float, float]:
    """Find the tip of a needle that points up or down in a projection.

    Parameters
    ----------
    image
        float, (row, column): attenuation.

    Returns
    -------
    (float, float)
        Column and row of the tip, in px. The row is the mean of those where the attenuation along the
        row reaches some parts of the needle's, which lies a little inside of the needle.

    Raises
    ------
    ReconstructionError
        Nothing stands out, or no tip is in the image.
    """
    import scipy.ndimage

    values, mask = _object(image, "needle")
    edges = _edges_touched(mask)
    if "left" in edges or "right" in edges or {"top", "bottom"} <= set(edges):
        raise ReconstructionError(
            f"The needle is cut off by the {' and '.join(edges)} edge of the image. Bring its tip "
            "nearer to the middle of the view, or nearer to the rotation axis."
        )
    # seen from the tip
    down = "top" in edges
    seen = np.where(mask, values, 0.0)[:: -1 if down else 1]
    tip = _tip_row(scipy.ndimage.gaussian_filter1d(seen.sum(axis=1), 1.0))
    first = int(np.ceil(tip))
    part = seen[first : first + _TIP_ROWS]
    columns = (part * np.arange(part.shape[1])).sum(axis=1) / part.sum(axis=1)
    column = np.polyfit(np.arange(len(part)) + first - tip, columns, 1)[1]
    return float(column), float(seen.shape[0] - 1 - tip if down else tip)


def _tip_row(along: NDArray[np.float64]) -> float:
    """Return where a profile that begins at a tip rises, in rows.

    The rise is told by levels, and those by what follows the rise at a fixed distance, so that it
    does not matter how much of the needle is in the view.
    """
    reach = min(_TIP_BODY, len(along) // 4)
    level, tip = float(along.max()), 0.0
    for _ in range(_TIP_ROUNDS):
        levels = np.array(_TIP_LEVELS) * level
        after = np.argmax(along[:, None] >= levels, axis=0)
        before = np.maximum(after - 1, 0)
        rises = np.maximum(along[after] - along[before], 1e-12)
        tip = float(np.mean(after - np.minimum((along[after] - levels) / rises, 1.0)))
        body = tip + np.linspace(reach / 2, reach, reach)
        level = float(np.interp(body, np.arange(len(along)), along).mean())
    return tip


def axis_tilt(
    angles_rad: NDArray[np.float64], columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> AxisTilt:
    """Find how the rotation axis leans from the ellipse on which a point is seen to go.

    A point on a circle about the axis is seen on an ellipse: its long axis lies across the rotation
    axis, and the ratio of its axes is the sine of the pitch. As the angles are known, the ellipse is
    a linear least-squares fit, and the sense of rotation gives the pitch its sign.

    Parameters
    ----------
    angles_rad
        float64, (n,): angles of the rotation stage.
    columns, rows
        float64, (n,): where the point is seen, in px.

    Returns
    -------
    AxisTilt

    Raises
    ------
    ParameterError
        There are fewer than 5 angles, or they cover less than half a turn.
    ReconstructionError
        The point does not move.
    """
    import scipy.linalg
    import scipy.special

    angles = np.asarray(angles_rad, np.float64)
    if len(angles) < 5 or np.ptp(angles) < np.pi * (1 - 1 / len(angles)) - 1e-9:
        raise ParameterError(
            f"angles_rad: {len(angles)} over {np.rad2deg(np.ptp(angles)) if len(angles) else 0:.0f} deg "
            "were given; give at least 5, over half a turn or more."
        )
    design = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)
    seen = np.stack([columns, -np.asarray(rows, np.float64)], axis=1)
    found, _, _, _ = scipy.linalg.lstsq(design, seen)
    scatter = seen - design @ found
    spread = float(np.sqrt((scatter**2).sum() / max(1, 2 * (len(angles) - 3))))
    right, up = found[1] + 1j * found[2]
    roll = 0.5 * np.arctan2(-2 * (right * np.conj(up)).real, abs(right) ** 2 - abs(up) ** 2)
    across = np.cos(roll) * right - np.sin(roll) * up
    along = np.sin(roll) * right + np.cos(roll) * up
    radius = float(abs(across))
    if radius < max(1.0, 3 * spread):
        raise ReconstructionError(
            f"The point moves on a circle of {radius:.1f} px radius, with a scatter of {spread:.1f} px: "
            "that shows no axis. Bring it further from the rotation axis."
        )
    pitch = float(np.arcsin(np.clip(-(along / across).imag, -1.0, 1.0)))
    # Only what is seen along the axis tells how it leans.
    along_axis = np.sin(roll) * scatter[:, 0] + np.cos(roll) * scatter[:, 1]
    freedom = max(1, len(angles) - 3)
    variance = 2 * float((along_axis**2).sum()) / freedom / len(angles)
    # Both tilts shall be inside at once: each in 97.5 of 100.
    times = float(scipy.special.stdtrit(freedom, 0.9875))
    within = times * float(np.sqrt(_ALIKE * variance + _FLOOR_PX**2)) / radius
    center = (float(found[0, 0]), float(-found[0, 1]))
    return AxisTilt(float(roll), pitch, variance**0.5 / radius, radius, center, within)


def _one_image(image: NDArray[np.generic]) -> NDArray[np.float64]:
    values = np.asarray(image, np.float64)
    if values.ndim != 2:
        raise ParameterError(
            f"image: an array of shape {values.shape} was given; give one image (row, column)."
        )
    return values


def _object(
    image: NDArray[np.floating], what: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the image without its background, and where its strongest object is."""
    import scipy.ndimage

    values = _one_image(image)
    smooth = scipy.ndimage.gaussian_filter(values, 1.0, mode="nearest")
    background = float(np.median(smooth))
    noise = 1.4826 * float(np.median(np.abs(smooth - background)))
    peak = float(smooth.max()) - background
    labels, _ = scipy.ndimage.label(smooth - background > max(0.3 * peak, _CONTRAST * noise))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if peak < 0.02 or sizes.max() < 4:
        raise ReconstructionError(
            f"No {what} is seen: nothing in the image attenuates by more than {peak:.3f}, with a noise "
            f"of {noise:.3f}. Bring one that attenuates more into the view."
        )
    mask = scipy.ndimage.binary_dilation(labels == sizes.argmax(), iterations=2)
    # row by row: a beam that wanders has its stripes in other rows than in the flats
    outside = np.where(mask, background, values)
    return values - np.median(outside, axis=1, keepdims=True), mask


def _edges_touched(mask: NDArray[np.bool_]) -> list[str]:
    lines = {"top": mask[0], "bottom": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
    return [name for name, line in lines.items() if line.any()]
