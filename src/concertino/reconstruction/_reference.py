"""The slow and obvious way in plain NumPy and double precision: the oracle of the tests."""

import numpy as np
from numpy.typing import NDArray

from ._angles import angular_weights
from ._filters import factor, filter_response
from ._geometry import projection_matrices
from ._settings import FilterName, PaddingMode, ReconstructionSettings


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
    """Filtered back projection in plain NumPy and double precision: slow, and what tests compare with.

    Parameters
    ----------
    sinogram
        float, (angle, column), line integrals.
    angles
        float, (angle,), radians.
    center
        Column of the rotation axis in px.
    filter_name, cutoff, order, padding
        As `filter`, `cutoff`, `butterworth_order` and `padding` of `ReconstructionSettings`.

    Returns
    -------
    ndarray
        float64, (y, x), square, the axis in its middle and row 0 on top.

    Examples
    --------
    >>> import numpy as np
    >>> reference_slice(np.ones((8, 16)), np.arange(8) * np.pi / 8, 7.5).shape
    (16, 16)
    """
    size = sinogram.shape[1]
    axis = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(axis, -axis)
    filtered = filter_sinogram(
        sinogram, filter_name=filter_name, cutoff=cutoff, order=order, padding=padding
    )
    return backproject(filtered, angles, center, x, y)


def reference_volume(
    projections: NDArray[np.floating],
    angles: NDArray[np.floating],
    points: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]],
    settings: ReconstructionSettings,
) -> NDArray[np.float64]:
    """Filtered back projection of line integrals in the geometry of the settings.

    Parameters
    ----------
    projections
        float, (projection, row, column).
    angles
        float, (projection,), radians.
    points
        x, y, z: float, arrays of one shape: points in px from the axis and above the beam's axis.
    settings
        Geometry with `center`, filter and padding.

    Returns
    -------
    ndarray
        float64, of the shape of the points.
    """
    count, rows, columns = projections.shape
    assert settings.center is not None
    matrices = projection_matrices(settings, np.asarray(angles, float), settings.center, rows)
    weights = angular_weights(np.asarray(angles, dtype=float))
    weights = weights * np.abs(np.cos(np.broadcast_to(settings.axis_angle_x, count)))
    source, scale = settings.source_distance, 1.0
    lines = np.asarray(projections, dtype=float)
    if source is not None:
        reach = source + settings.detector_distance
        middle = (rows - 1) / 2 if settings.center_row is None else settings.center_row
        across = (np.arange(columns) - settings.center) / reach
        down = (np.arange(rows) - middle)[:, None] / reach
        lines = lines / np.sqrt(1 + across**2 + down**2)
        scale = reach / source
    filtered = filter_sinogram(
        lines, filter_name=settings.filter, cutoff=settings.cutoff, padding=settings.padding
    )
    x, y, z = points
    homogeneous = np.stack([x, y, z, np.ones_like(x)])
    total = np.zeros(x.shape)
    for image, matrix, weight in zip(filtered, matrices, weights, strict=True):
        column, row, depth = np.tensordot(matrix, homogeneous, 1)
        seen = bilinear(image, row / depth, column / depth)
        total += weight * scale * (seen if source is None else seen / depth**2)
    return total


def bilinear(
    image: NDArray[np.floating], row: NDArray[np.floating], column: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Values of an image (row, column) between its pixels; zero outside of the outer ones."""
    inside = (row >= -0.5) & (row <= image.shape[0] - 0.5)
    inside &= (column >= -0.5) & (column <= image.shape[1] - 0.5)
    row, column = np.clip(row, 0, image.shape[0] - 1), np.clip(column, 0, image.shape[1] - 1)
    top = np.clip(np.floor(row).astype(int), 0, image.shape[0] - 2)
    left = np.clip(np.floor(column).astype(int), 0, image.shape[1] - 2)
    down, right = row - top, column - left
    value = image[top, left] * (1 - down) * (1 - right) + image[top, left + 1] * (1 - down) * right
    value += image[top + 1, left] * down * (1 - right) + image[top + 1, left + 1] * down * right
    return np.where(inside, value, 0.0)
