"""Objects whose line integrals are known: ellipses, and smooth blobs without any symmetry."""

import numpy as np
from numpy.typing import NDArray

# amplitude, half axes, position (in units of the radius), turn in degrees
ELLIPSES = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.66, 0.87, 0.0, -0.02, 0.0),
    (0.3, 0.2, 0.1, 0.3, 0.4, 30.0),
    (0.5, 0.1, 0.25, -0.25, -0.2, -15.0),
)
SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0), (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0), (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0), (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0), (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0), (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)  # fmt: skip
Ellipses = tuple[tuple[float, ...], ...]


def _turned(turn: float) -> tuple[float, float]:
    return float(np.cos(np.deg2rad(turn))), float(np.sin(np.deg2rad(turn)))


def ellipse_image(
    size: int, radius: float, oversample: int = 4, ellipses: Ellipses = ELLIPSES
) -> NDArray[np.float64]:
    """Image (y, x), axis in the middle, row 0 on top."""
    total = np.zeros((size, size))
    middle = np.arange(size) - (size - 1) / 2
    for shift_y in (np.arange(oversample) + 0.5) / oversample - 0.5:
        for shift_x in (np.arange(oversample) + 0.5) / oversample - 0.5:
            x, y = np.meshgrid((middle + shift_x) / radius, -(middle + shift_y) / radius)
            for amplitude, a, b, x0, y0, turn in ellipses:
                c, s = _turned(turn)
                u, v = (x - x0) * c + (y - y0) * s, -(x - x0) * s + (y - y0) * c
                total += amplitude * ((u / a) ** 2 + (v / b) ** 2 <= 1)
    return total / oversample**2


def ellipse_sinogram(
    columns: int,
    angles: NDArray[np.float64],
    center: float,
    radius: float,
    oversample: int = 4,
    ellipses: Ellipses = ELLIPSES,
) -> NDArray[np.float64]:
    """Line integrals (angle, column), averaged over each pixel."""
    total = np.zeros((len(angles), columns))
    for shift in (np.arange(oversample) + 0.5) / oversample - 0.5:
        t = (np.arange(columns) - center + shift)[None] / radius
        for amplitude, a, b, x0, y0, turn in ellipses:
            seen = angles - np.deg2rad(turn)
            size = (a * np.cos(seen)) ** 2 + (b * np.sin(seen)) ** 2
            u = t - (x0 * np.cos(angles) + y0 * np.sin(angles))[:, None]
            chord = np.sqrt(np.maximum(size[:, None] - u * u, 0.0))
            total += amplitude * 2 * a * b / size[:, None] * chord
    return total / oversample * radius


BLOBS = ((10.0, 5.0, 4.0, 1.0), (-20.0, 8.0, 5.0, 0.5), (3.0, -25.0, 6.0, 0.7))


def blob_image(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of Gaussians at points, y upwards."""
    return np.asarray(
        sum(
            amplitude * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * width**2))
            for x0, y0, width, amplitude in BLOBS
        )
    )


def blob_sinogram(columns: int, angles: NDArray[np.float64], center: float) -> NDArray[np.float64]:
    """Line integrals of the Gaussians (angle, column)."""
    t = np.arange(columns)[None] - center
    total = np.zeros((len(angles), columns))
    for x0, y0, width, amplitude in BLOBS:
        place = (x0 * np.cos(angles) + y0 * np.sin(angles))[:, None]
        total += (
            amplitude * np.sqrt(2 * np.pi) * width * np.exp(-((t - place) ** 2) / (2 * width**2))
        )
    return total


def shepp_logan_image(size: int) -> NDArray[np.float64]:
    """Slice (y, x) of the Shepp-Logan phantom, averaged over each pixel; row 0 on top."""
    return ellipse_image(size, radius_of(size), ellipses=SHEPP_LOGAN)


def shepp_logan_sinogram(
    size: int, angles: NDArray[np.float64], center: float
) -> NDArray[np.float64]:
    """Line integrals (angle, column) of `shepp_logan_image`, averaged over each detector pixel."""
    return ellipse_sinogram(size, angles, center, radius_of(size), ellipses=SHEPP_LOGAN)


# amplitude, width and position of Gaussians, in units of the radius
LOPSIDED = ((1.0, 0.08, 0.15, 0.1), (0.6, 0.09, -0.35, 0.2), (0.8, 0.07, 0.1, -0.45))
# about one px wide on 128 columns: high frequencies, too
FINE = tuple((amplitude, width / 4, x0, y0) for amplitude, width, x0, y0 in LOPSIDED)


def blobs_at(x: NDArray[np.floating], y: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """Values of the blobs at points in px from the axis, y upwards."""
    radius, total = radius_of(size), np.zeros(np.broadcast(x, y).shape)
    for amplitude, width, x0, y0 in LOPSIDED:
        squared = (x / radius - x0) ** 2 + (y / radius - y0) ** 2
        total += amplitude * np.exp(-squared / 2 / width**2)
    return total


def blobs_image(size: int) -> NDArray[np.float64]:
    """Slice (y, x) of blobs without any symmetry, row 0 on top."""
    middle = np.arange(size) - (size - 1) / 2
    return blobs_at(middle[None], -middle[:, None], size)


def blobs_sinogram(
    size: int, angles: NDArray[np.float64], center: float, blobs: Ellipses = LOPSIDED
) -> NDArray[np.float64]:
    """Line integrals (angle, column) of the blobs."""
    radius, total = radius_of(size), np.zeros((len(angles), size))
    t = ((np.arange(size) - center) / radius)[None]
    for amplitude, width, x0, y0 in blobs:
        seen = (x0 * np.cos(angles) + y0 * np.sin(angles))[:, None]
        total += amplitude * width * np.sqrt(2 * np.pi) * np.exp(-((t - seen) ** 2) / 2 / width**2)
    return total * radius


def inside(size: int, fraction: float = 0.95) -> NDArray[np.bool_]:
    """Mask of the inscribed circle."""
    middle = np.arange(size) - (size - 1) / 2
    return np.asarray(np.hypot(*np.meshgrid(middle, middle)) <= fraction * size / 2)


def rms(difference: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Root mean square inside a mask."""
    return float(np.sqrt(np.mean(difference[mask].astype(np.float64) ** 2)))


def difference(
    one: NDArray[np.floating], other: NDArray[np.floating], fraction: float = 0.95
) -> float:
    """Root mean square difference within the view, as a share of the other's standard deviation."""
    mask = inside(len(other), fraction)
    wanted = other[mask].astype(np.float64)
    error = float(np.sqrt(np.mean((one[mask] - wanted) ** 2)))
    return error / float(wanted.std())


def radius_of(size: int) -> float:
    """Length in px that the phantoms count in, for a detector of so many columns."""
    return 0.45 * size
