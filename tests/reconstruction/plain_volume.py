"""Back projection of volumes by rays and planes, in double precision; nothing here comes from the package.

A point turns with the sample; its ray goes on to the detector's plane, and where it meets it, the detector is
read between its pixels. No matrices, no compiled code.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _turned(vectors: Array, about: str, angle: float) -> Array:
    """Vectors (3, …) turned counter-clockwise for who looks against an axis."""
    c, s = math.cos(angle), math.sin(angle)
    x, y, z = vectors
    if about == "x":
        return np.stack([x, c * y - s * z, s * y + c * z])
    if about == "y":
        return np.stack([c * x + s * z, y, c * z - s * x])
    return np.stack([c * x - s * y, s * x + c * y, z])


def back_projected(
    images: NDArray[np.floating],
    angles: Array,
    points: tuple[Array, Array, Array],
    center: float,
    geometry: dict[str, Any],
) -> Array:
    """Sum over projections (angle, row, column), unfiltered, at points (x, y, z); even angles over a turn.

    Each counts for pi divided by their number; a ray that is tilted against the plane of rotation for
    the cosine of that; in a cone for the square of how much nearer to the source a point is than the axis, and for the
    cosine between its ray and the middle one.
    """
    count, rows, _ = images.shape
    source = geometry.get("source_distance")
    beyond = geometry.get("detector_distance", 0.0)
    total = np.zeros(points[0].shape)
    for index, angle in enumerate(angles):

        def now(name: str, index: int = index) -> float:
            return float(np.broadcast_to(geometry.get(name, 0.0), count)[index])

        at = np.stack(points)
        for about in "xyz":
            at = _turned(at, about, now(f"volume_angle_{about}"))
        at = _turned(at, "z", -angle)
        for about in "xyz":
            at = _turned(at, about, now(f"axis_angle_{about}"))
        frame = np.eye(3)
        for about in "xyz":
            frame = _turned(frame, about, now(f"detector_angle_{about}"))
        right, along, up = frame.T
        place = np.array([now("detector_x"), beyond, now("detector_z")])
        if source is None:
            ray, share = np.array([0.0, 1.0, 0.0])[:, None, None, None], np.ones(1)
        else:
            eye = np.array([now("source_x"), -source, now("source_z")])[:, None, None, None]
            ray = at - eye
            share = np.asarray((source / ray[1]) ** 2)
        away = np.tensordot(along, at - place[:, None, None, None], 1)
        hit = at - ray * (away / np.tensordot(along, ray, 1))
        hit = hit - place[:, None, None, None]
        column = center + np.tensordot(right, hit, 1)
        row = (rows - 1) / 2 - np.tensordot(up, hit, 1)
        seen = _between(_weighted(images[index], center, source, beyond), row, column)
        total += seen * share * abs(math.cos(now("axis_angle_x"))) * math.pi / count
    return total


def _weighted(
    image: NDArray[np.floating], center: float, source: float | None, beyond: float
) -> Array:
    """Line integrals as a cone's filter takes them: times the cosine to the middle ray, at the axis' scale."""
    if source is None:
        return np.asarray(image, float)
    reach = source + beyond
    down = np.arange(len(image))[:, None] - (len(image) - 1) / 2
    across = np.arange(image.shape[1]) - center
    return np.asarray(image * reach / np.sqrt(reach**2 + across**2 + down**2) * reach / source)


def _between(image: Array, row: Array, column: Array) -> Array:
    """An image between its pixels, the outer ones going on for half a pixel; nothing outside."""
    rows, columns = image.shape
    inside = np.abs(row - (rows - 1) / 2) <= rows / 2
    inside &= np.abs(column - (columns - 1) / 2) <= columns / 2
    row, column = np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)
    top = np.minimum(row.astype(int), rows - 2)
    left = np.minimum(column.astype(int), columns - 2)
    down, right = row - top, column - left
    upper = image[top, left] + right * (image[top, left + 1] - image[top, left])
    lower = image[top + 1, left] + right * (image[top + 1, left + 1] - image[top + 1, left])
    return np.asarray(np.where(inside, upper + down * (lower - upper), 0.0))
