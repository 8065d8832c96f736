"""Line integrals of discs and balls from geometry alone; nothing here comes from what is tested."""

import numpy as np
from numpy.typing import NDArray

from .oracle import disc_sinogram

Array = NDArray[np.float64]


def disc_lines(
    columns: int,
    angles: Array,
    center: float,
    discs: list[tuple[float, float, float, float]],
    oversample: int = 8,
) -> NDArray[np.float32]:
    """Chords (angle, 1, column) through discs (x, y, radius, mu) of a parallel beam, over each pixel."""
    lines = disc_sinogram(columns, angles, center, discs, oversample)
    return lines.astype(np.float32)[:, None]


def ball_lines(
    shape: tuple[int, int],
    angles: Array,
    balls: list[tuple[float, float, float, float, float]],
    *,
    source: float | None = None,
    pitch: float = 0.0,
    lift: Array | None = None,
    oversample: int = 3,
) -> NDArray[np.float32]:
    """Chords (angle, row, column) through balls (x, y, z, radius, mu) above a detector at the axis.

    The sample turns counter-clockwise as seen from above, then the axis is pitched, then lifted.
    """
    rows, columns = shape
    total = np.zeros((len(angles), rows, columns))
    subs = (np.arange(oversample) + 0.5) / oversample - 0.5
    lift = np.zeros(len(angles)) if lift is None else lift
    for index, angle in enumerate(angles):
        for x, y, z, radius, mu in balls:
            across = x * np.cos(angle) + y * np.sin(angle)
            along = -x * np.sin(angle) + y * np.cos(angle)
            along, up = (
                along * np.cos(pitch) - z * np.sin(pitch),
                along * np.sin(pitch) + z * np.cos(pitch),
            )
            up += lift[index]
            for down in subs:
                for right in subs:
                    u = (np.arange(columns) + right - (columns - 1) / 2)[None]
                    v = ((rows - 1) / 2 - np.arange(rows) - down)[:, None]
                    if source is None:
                        squared = (u - across) ** 2 + (v - up) ** 2
                    else:  # from (0, -source, 0) to (u, 0, v)
                        length2 = u**2 + source**2 + v**2
                        towards = across * u + (along + source) * source + up * v
                        to_ball2 = across**2 + (along + source) ** 2 + up**2
                        squared = to_ball2 - towards**2 / length2
                    total[index] += 2 * mu * np.sqrt(np.maximum(radius**2 - squared, 0))
    return (total / oversample**2).astype(np.float32)
