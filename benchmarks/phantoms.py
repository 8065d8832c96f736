"""Analytic phantoms and their projections, with the error measures of the benchmarks."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Slices = NDArray[np.float32]
# amplitude, half axes, position, turn in degrees: the modified Shepp-Logan phantom
SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0), (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0), (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0), (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0), (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0), (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)  # fmt: skip


def image(size: int, scale: float = 0.9) -> NDArray[np.float64]:
    radius, middle = size / 2 * scale, np.arange(size) - (size - 1) / 2
    total = np.zeros((size, size))
    for dy in (-0.375, -0.125, 0.125, 0.375):
        for dx in (-0.375, -0.125, 0.125, 0.375):
            x, y = np.meshgrid((middle + dx) / radius, -(middle + dy) / radius)
            for amplitude, a, b, x0, y0, turn in SHEPP_LOGAN:
                c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
                u, v = (x - x0) * c + (y - y0) * s, -(x - x0) * s + (y - y0) * c
                total += amplitude * ((u / a) ** 2 + (v / b) ** 2 <= 1)
    return total / 16


def sinogram(size: int, count: int, center: float | None = None, scale: float = 0.9) -> Slices:
    radius, angles = size / 2 * scale, np.arange(count) * np.pi / count
    place = (size - 1) / 2 if center is None else center
    total = np.zeros((count, size))
    for shift in (-0.375, -0.125, 0.125, 0.375):
        t = ((np.arange(size) - place + shift) / radius)[None]
        for amplitude, a, b, x0, y0, turn in SHEPP_LOGAN:
            seen = angles - np.deg2rad(turn)
            wide = ((a * np.cos(seen)) ** 2 + (b * np.sin(seen)) ** 2)[:, None]
            u = t - (x0 * np.cos(angles) + y0 * np.sin(angles))[:, None]
            total += amplitude * 2 * a * b / wide * np.sqrt(np.maximum(wide - u * u, 0))
    return (total / 4 * radius).astype(np.float32)


def rmse(slice_: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    middle = np.arange(len(truth)) - (len(truth) - 1) / 2
    mask = np.hypot(*np.meshgrid(middle, middle)) <= 0.95 * len(truth) / 2
    return float(np.sqrt(np.mean((slice_ - truth)[mask].astype(np.float64) ** 2)))


# amplitude, width and position of Gaussians, in units of the radius
BLOBS = ((1.0, 0.12, 0.1, 0.2), (0.7, 0.08, -0.35, -0.1), (0.5, 0.12, 0.2, -0.4))
# amplitude, radius, x, y, z in px of a volume 256 wide
SPHERES = (
    (1.0, 60.0, 5.0, -3.0, 2.0),
    (0.5, 20.0, 20.0, 25.0, -10.0),
    (-0.4, 14.0, -30.0, -8.0, 12.0),
)


def smooth_image(size: int) -> NDArray[np.float64]:
    radius = size / 2
    middle = (np.arange(size) - (size - 1) / 2) / radius
    x, y = np.meshgrid(middle, -middle)
    total = np.zeros((size, size))
    for amplitude, width, x0, y0 in BLOBS:
        total += amplitude * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / width**2)
    return total


def smooth_sinogram(size: int, count: int, center: float) -> Slices:
    radius, angles = size / 2, np.arange(count) * np.pi / count
    t = ((np.arange(size) - center) / radius)[None]
    total = np.zeros((count, size))
    for amplitude, width, x0, y0 in BLOBS:
        seen = (x0 * np.cos(angles) + y0 * np.sin(angles))[:, None]
        total += amplitude * width * np.sqrt(2 * np.pi) * np.exp(-((t - seen) ** 2) / 2 / width**2)
    return (total * radius).astype(np.float32)


def sphere_image(size: int, z: float) -> NDArray[np.float64]:
    """Slice at a height, averaged over 4 x 4 points of a pixel."""
    middle = np.arange(size) - (size - 1) / 2
    total = np.zeros((size, size))
    for dy in (-0.375, -0.125, 0.125, 0.375):
        for dx in (-0.375, -0.125, 0.125, 0.375):
            x, y = np.meshgrid(middle + dx, -(middle + dy))
            for amplitude, radius, x0, y0, z0 in SPHERES:
                squared = (x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2
                total += amplitude * (squared <= radius**2)
    return total / 16


def sphere_cone(size: int, angles: NDArray[np.float64], source: float, reach: float) -> Slices:
    """Exact cone-beam projections (projection, row, column) onto a detector `reach` from the source."""
    across = (np.arange(size) - (size - 1) / 2)[None, :]
    up = -across.T
    length = np.sqrt(across**2 + up**2 + reach**2)
    total = np.zeros((len(angles), size, size))
    for image_, angle in zip(total, angles, strict=True):
        c, s = np.cos(angle), np.sin(angle)
        for amplitude, radius, x0, y0, z0 in SPHERES:
            # from the source, which is at -source along the beam (y)
            x, y, z = x0 * c + y0 * s, source - x0 * s + y0 * c, z0
            along = (across * x + reach * y + up * z) / length
            squared = x**2 + y**2 + z**2 - along**2
            image_ += amplitude * 2 * np.sqrt(np.maximum(radius**2 - squared, 0))
    return total.astype(np.float32)


def ramp_filtered(stack: Slices) -> Slices:
    """(slice, angle, column), zero padded: the filter that peers without one are given."""
    width = scipy.fft.next_fast_len(2 * stack.shape[2], real=True)
    distance = np.minimum(np.arange(width), width - np.arange(width))
    kernel = np.where(distance % 2 == 1, -1 / (np.pi * np.maximum(distance, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    spectra = scipy.fft.rfft(stack, width, axis=-1, workers=2)
    spectra *= scipy.fft.rfft(kernel).real.astype(np.float32)
    filtered: Slices = scipy.fft.irfft(spectra, width, axis=-1, workers=2)[..., : stack.shape[2]]
    return filtered
