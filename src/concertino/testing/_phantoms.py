"""Objects whose line integrals are known: the Shepp-Logan phantom, and blobs without any symmetry."""

import numpy as np
from numpy.typing import NDArray

# amplitude, half axes, position, turn in degrees; lengths in units of the radius
_SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0), (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0), (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0), (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0), (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0), (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)  # fmt: skip
# amplitude, width and position of Gaussians, in units of the radius
BLOBS = ((1.0, 0.08, 0.15, 0.1), (0.6, 0.09, -0.35, 0.2), (0.8, 0.07, 0.1, -0.45))
_WITHIN_PIXEL = (-0.375, -0.125, 0.125, 0.375)


def shepp_logan_image(size: int) -> NDArray[np.float64]:
    """Slice (y, x) of the Shepp-Logan phantom, averaged over each pixel; row 0 on top."""
    middle = np.arange(size) - (size - 1) / 2
    total = np.zeros((size, size))
    for down in _WITHIN_PIXEL:
        for aside in _WITHIN_PIXEL:
            x, y = np.meshgrid(
                (middle + aside) / radius_of(size), -(middle + down) / radius_of(size)
            )
            for amplitude, a, b, x0, y0, turn in _SHEPP_LOGAN:
                c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
                u, v = (x - x0) * c + (y - y0) * s, -(x - x0) * s + (y - y0) * c
                total += amplitude * ((u / a) ** 2 + (v / b) ** 2 <= 1)
    return total / len(_WITHIN_PIXEL) ** 2


def shepp_logan_sinogram(
    size: int, angles: NDArray[np.float64], center: float
) -> NDArray[np.float64]:
    """Line integrals (angle, column) of `shepp_logan_image`, averaged over each detector pixel."""
    total = np.zeros((len(angles), size))
    for aside in _WITHIN_PIXEL:
        t = ((np.arange(size) - center + aside) / radius_of(size))[None]
        for amplitude, a, b, x0, y0, turn in _SHEPP_LOGAN:
            seen = angles - np.deg2rad(turn)
            wide = ((a * np.cos(seen)) ** 2 + (b * np.sin(seen)) ** 2)[:, None]
            u = t - (x0 * np.cos(angles) + y0 * np.sin(angles))[:, None]
            total += amplitude * 2 * a * b / wide * np.sqrt(np.maximum(wide - u * u, 0))
    return total / len(_WITHIN_PIXEL) * radius_of(size)


def blobs_at(x: NDArray[np.floating], y: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """Values of the blobs at points in px from the axis, y upwards."""
    radius, total = radius_of(size), np.zeros(np.broadcast(x, y).shape)
    for amplitude, width, x0, y0 in BLOBS:
        squared = (x / radius - x0) ** 2 + (y / radius - y0) ** 2
        total += amplitude * np.exp(-squared / 2 / width**2)
    return total


def blobs_image(size: int) -> NDArray[np.float64]:
    """Slice (y, x) of blobs without any symmetry, row 0 on top."""
    middle = np.arange(size) - (size - 1) / 2
    return blobs_at(middle[None], -middle[:, None], size)


def blobs_sinogram(size: int, angles: NDArray[np.float64], center: float) -> NDArray[np.float64]:
    """Line integrals (angle, column) of the blobs."""
    radius, total = radius_of(size), np.zeros((len(angles), size))
    t = ((np.arange(size) - center) / radius)[None]
    for amplitude, width, x0, y0 in BLOBS:
        seen = (x0 * np.cos(angles) + y0 * np.sin(angles))[:, None]
        total += amplitude * width * np.sqrt(2 * np.pi) * np.exp(-((t - seen) ** 2) / 2 / width**2)
    return total * radius


def inside_view(size: int, fraction: float = 0.95) -> NDArray[np.bool_]:
    """Pixels within a fraction of the radius of the view."""
    middle = np.arange(size) - (size - 1) / 2
    return np.asarray(np.hypot(*np.meshgrid(middle, middle)) <= fraction * size / 2)


def difference(
    one: NDArray[np.floating], other: NDArray[np.floating], fraction: float = 0.95
) -> float:
    """Root mean square difference within the view, as a share of the other's standard deviation."""
    mask = inside_view(len(other), fraction)
    wanted = other[mask].astype(np.float64)
    error = float(np.sqrt(np.mean((one[mask] - wanted) ** 2)))
    return error / float(wanted.std())


def radius_of(size: int) -> float:
    """Length in px that the phantoms count in, for a detector of so many columns."""
    return 0.45 * size
