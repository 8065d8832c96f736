"""The slow and obvious way in plain NumPy and double precision: the oracle of the tests."""

import numpy as np
from numpy.typing import NDArray

from ._angles import angular_weights
from ._filters import factor, filter_response
from ._settings import FilterName, PaddingMode


def filter_sinogram(
    sinogram: NDArray[np.floating],
    *,
    filter_name: FilterName = "ramp",
    cutoff: float = 1.0,
    order: float = 4.0,
    padding: PaddingMode = "zero",
) -> NDArray[np.float64]:
    """Filter each row of a sinogram (angle, column); half a width of padding at each end."""
    columns = sinogram.shape[-1]
    half = columns // 2
    pads = [(0, 0)] * (sinogram.ndim - 1) + [(half, half)]
    if padding == "mirror":
        padded = np.pad(sinogram.astype(float), pads, mode="symmetric")
    elif padding == "edge":
        padded = np.pad(sinogram.astype(float), pads, mode="edge")
    else:
        padded = np.pad(sinogram.astype(float), pads)
    width = 4 * columns
    response = filter_response(filter_name, width, cutoff, order) * factor(filter_name)
    filtered = np.fft.ifft(np.fft.fft(padded, width, axis=-1) * response, axis=-1).real
    return np.asarray(filtered[..., half : half + columns])


def backproject(
    sinogram: NDArray[np.floating],
    angles: NDArray[np.floating],
    center: float,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Back-project a filtered sinogram onto points, with linear interpolation.

    Parameters
    ----------
    sinogram
        float, (angle, column), filtered.
    angles
        float, (angle,), radians.
    center
        Column of the rotation axis in px.
    x, y
        float, arrays of one shape: the points in px from the axis, y upwards.

    Returns
    -------
    ndarray
        float64, of the shape of `x`.
    """
    weights = angular_weights(np.asarray(angles, dtype=float))
    columns = np.arange(sinogram.shape[1])
    image = np.zeros(np.shape(x))
    for row, angle, weight in zip(sinogram, angles, weights, strict=True):
        where = x * np.cos(angle) + y * np.sin(angle) + center
        image += weight * np.interp(where, columns, row, left=0.0, right=0.0)
    return image


def reference_slice(
    sinogram: NDArray[np.floating],
    angles: NDArray[np.floating],
    center: float,
    *,
    filter_name: FilterName = "ramp",
    cutoff: float = 1.0,
    order: float = 4.0,
    padding: PaddingMode = "zero",
) -> NDArray[np.float64]:
    """Filtered back projection of one sinogram (angle, column) to a square slice (y, x)."""
    size = sinogram.shape[1]
    axis = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(axis, -axis)
    filtered = filter_sinogram(
        sinogram, filter_name=filter_name, cutoff=cutoff, order=order, padding=padding
    )
    return backproject(filtered, angles, center, x, y)
