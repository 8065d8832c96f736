"""Truths that nothing of the package has a part in: integrals of Gaussians and discs, and plain sums."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from .phantoms import LOPSIDED, Ellipses, radius_of

Array = NDArray[np.float64]
Disc = tuple[float, float, float, float]
"""x and y in px from the axis, y upwards; radius in px; attenuation per px."""

_NYQUIST = 0.5  # cycles per px

#: What each window lets through of a frequency, as a share of the cut-off's.
WINDOWS: dict[str, Callable[[Array], NDArray[Any]]] = {
    "ramp": lambda f: np.where(f <= 1, 1.0, 0.0),
    "shepp-logan": lambda f: (f <= 1) * np.sinc(f / 2),
    "cosine": lambda f: (f <= 1) * np.cos(np.pi * f / 2),
    "hamming": lambda f: (f <= 1) * (0.54 + 0.46 * np.cos(np.pi * f)),
    "hann": lambda f: (f <= 1) * np.cos(np.pi * f / 2) ** 2,
    "butterworth": lambda f: 1 / (1 + f**8),
    "blackman-harris": lambda f: (f <= 1) * (
        0.42323 + 0.49755 * np.cos(np.pi * f) + 0.07922 * np.cos(2 * np.pi * f)
    ),
}  # fmt: skip


def windowed_blobs(size: int, name: str, cutoff: float, blobs: Ellipses = LOPSIDED) -> Array:
    """Return the blobs as they are when only what a window lets through is seen of them.

    The transform of a Gaussian is one; the window multiplies it, and a Hankel integral brings it back.

    Parameters
    ----------
    size
        Pixels of the slice's side.
    name
        Of the window, a key of `WINDOWS`.
    cutoff
        Where it ends, as a share of Nyquist's frequency.
    blobs
        Amplitude, width and position of each, in units of the radius.

    Returns
    -------
    ndarray
        float64, (size, size), row 0 on top.
    """
    frequency = np.linspace(0, _NYQUIST, 801)
    passed = WINDOWS[name](frequency / (cutoff * _NYQUIST))
    distance = np.linspace(0, 1.5 * size, 6 * size)
    waves = scipy.special.j0(2 * np.pi * frequency * distance[:, None])

    def profile(width: float) -> Array:
        bell = 2 * np.pi * width**2 * np.exp(-2 * (np.pi * width * frequency) ** 2)
        parts = waves * bell * passed * 2 * np.pi * frequency
        return np.asarray(np.trapezoid(parts, frequency, axis=1))

    return _radial(size, lambda r, width: np.interp(r, distance, profile(width)), blobs)


def smeared_blobs(size: int) -> Array:
    """Return what back projection over half a turn makes of the blobs without any filter."""

    def profile(r: Array, width: float) -> Array:
        # the mean over all directions of a Gaussian of the distance across
        at = r**2 / (4 * width**2)
        return np.asarray(np.pi * np.sqrt(2 * np.pi) * width * scipy.special.ive(0, at))

    return _radial(size, profile)


def disc_sinogram(
    size: int, angles: Array, center: float, discs: Sequence[Disc], oversample: int = 8
) -> Array:
    """Return chords (angle, column) through discs, averaged over so many places in each pixel."""
    total = np.zeros((len(angles), size))
    shifts = (np.arange(oversample) + 0.5) / oversample - 0.5
    for shift in shifts:
        columns = np.arange(size) - center + shift
        for x, y, radius, attenuation in discs:
            apart = columns - (x * np.cos(angles) + y * np.sin(angles))[:, None]
            total += 2 * attenuation * np.sqrt(np.maximum(radius**2 - apart**2, 0))
    return total / len(shifts)


def disc_found(image: NDArray[np.floating], x: float, y: float, radius: float) -> Array:
    """Return the mean well inside of a disc and where its middle is, (value, x, y); it stands alone."""
    size = len(image)
    places = np.arange(size) - (size - 1) / 2
    xs, ys = np.meshgrid(places, -places)
    apart = np.hypot(xs - x, ys - y)
    beside = image[(apart > radius + 4) & (apart < radius + 8)].mean()
    mass = (image - beside) * (apart < radius + 3)
    inner = image[apart < radius - 2.5].mean()
    return np.array([inner, (mass * xs).sum() / mass.sum(), (mass * ys).sum() / mass.sum()])


def plain_slice(
    sinogram: NDArray[np.floating], angles: Array, center: float, padding: str = "zero"
) -> Array:
    """Filtered back projection as the textbooks write it, in sums: slow, of even angles only.

    Each projection is convolved with the samples of Ramachandran's and Lakshminarayanan's kernel, and counts
    for pi divided by their number, as angles that are spread evenly over half turns do.

    Parameters
    ----------
    sinogram
        float, (angle, column), line integrals.
    angles
        float, (angle,), radians, evenly spread over one or more half turns, in any order.
    center
        Column of the rotation axis in px.
    padding
        ``zero``, ``edge`` or ``mirror``: what stands beside each projection for half of its width.

    Returns
    -------
    ndarray
        float64, (y, x), square, the axis in its middle and row 0 on top.

    References
    ----------
    G. N. Ramachandran and A. V. Lakshminarayanan, doi:10.1073/pnas.68.9.2236
    """
    size = sinogram.shape[1]
    modes = {"zero": "constant", "edge": "edge", "mirror": "symmetric"}
    distance = np.arange(-2 * size, 2 * size + 1)
    kernel = np.where(distance % 2 == 1, -1 / (np.pi * np.where(distance, distance, 1)) ** 2, 0.0)
    kernel[2 * size] = 0.25
    axis = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(axis, -axis)
    total = np.zeros((size, size))
    for line, angle in zip(np.asarray(sinogram, float), angles, strict=True):
        padded = np.pad(line, size // 2, mode=modes[padding])  # type: ignore[call-overload]
        start = 2 * size + size // 2
        filtered = np.convolve(padded, kernel)[start : start + size]
        where = x * np.cos(angle) + y * np.sin(angle) + center
        total += np.interp(where, np.arange(size), filtered, left=0.0, right=0.0)
    return total * np.pi / len(angles)


def _radial(
    size: int, profile: Callable[[Array, float], Array], blobs: Ellipses = LOPSIDED
) -> Array:
    """Sum of what each blob is at its distance; `profile` takes distance and width in px."""
    middle, scale = np.arange(size) - (size - 1) / 2, radius_of(size)
    total = np.zeros((size, size))
    for amplitude, width, x0, y0 in blobs:
        apart = np.hypot(middle[None] - x0 * scale, -middle[:, None] - y0 * scale)
        total += amplitude * profile(apart, width * scale)
    return total
