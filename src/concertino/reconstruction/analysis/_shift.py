"""How far an image has moved against another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError

_FINE_PX = 1.5
_COARSE_PX = 12.0
_SMALLEST_PX = 8


@dataclass(frozen=True)
class ImageShift:
    """How far an image has moved.

    Attributes
    ----------
    rows_px, columns_px
        Down and to the right, in px.
    confidence
        Correlation of both images once the shift is undone, 0 to 1; low when there is nothing to see
        or the images show different things.
    """

    rows_px: float
    columns_px: float
    confidence: float


def image_shift(first: NDArray[np.floating], second: NDArray[np.floating]) -> ImageShift:
    """Find how far the second image has moved against the first, to a fraction of a pixel.

    The peak of the cross-correlation of both, of which only structures of some pixels are left, is
    found first; then its vertex, from the part that both show.

    Parameters
    ----------
    first, second
        float, (row, column), of one shape, at least 8 × 8: attenuation, or any images.

    Returns
    -------
    ImageShift

    Raises
    ------
    ParameterError
        If they are not two images of one shape.

    References
    ----------
    M. Guizar-Sicairos, S. T. Thurman and J. R. Fienup, Efficient subpixel image registration
    algorithms, doi:10.1364/OL.33.000156

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(size=(64, 96)).cumsum(axis=0).cumsum(axis=1)
    >>> found = image_shift(image[4:60, 4:90], image[2:58, 7:93])
    >>> round(found.rows_px), round(found.columns_px), found.confidence > 0.9
    (2, -3, True)
    """
    one, other = (np.nan_to_num(np.asarray(image, np.float64)) for image in (first, second))
    if one.ndim != 2 or one.shape != other.shape or min(one.shape) < _SMALLEST_PX:
        raise ParameterError(
            f"first, second: arrays of shape {one.shape} and {other.shape} were given; give two images "
            f"(row, column) of one shape, at least {_SMALLEST_PX} × {_SMALLEST_PX}."
        )
    one, other = _structures(one), _structures(other)
    rows, columns = _peak(one, other)
    fine_rows, fine_columns, confidence = _vertex(*_overlap(one, other, rows, columns))
    return ImageShift(rows + fine_rows, columns + fine_columns, confidence)


def _structures(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what of an image is neither noise nor a slow change."""
    import scipy.ndimage

    fine = scipy.ndimage.gaussian_filter(image, _FINE_PX, mode="nearest")
    slow = scipy.ndimage.gaussian_filter(
        image, min(_COARSE_PX, min(image.shape) / 4), mode="nearest"
    )
    result: NDArray[np.float64] = fine - slow
    return result


def _peak(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[int, int]:
    """Return the shift in whole pixels, at most half of the image."""
    import scipy.fft

    window = np.outer(*(np.hanning(size + 2)[1:-1] for size in one.shape))
    size = [2 * length for length in one.shape]
    product = np.conj(scipy.fft.rfft2(one * window, size)) * scipy.fft.rfft2(other * window, size)
    correlation = scipy.fft.irfft2(product, size)
    place = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    found = [int(p) if p < n // 2 else int(p) - n for p, n in zip(place, size, strict=True)]
    limits = [length // 2 for length in one.shape]
    rows, columns = (max(-m, min(m, f)) for f, m in zip(found, limits, strict=True))
    return rows, columns


def _overlap(
    one: NDArray[np.float64], other: NDArray[np.float64], rows: int, columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what both images show, a pixel's margin left out of the second."""
    height, width = one.shape
    first = one[max(0, -rows) : height - max(0, rows), max(0, -columns) : width - max(0, columns)]
    second = other[max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)]
    return first, second


def _vertex(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the shift that is left, within a pixel, and the correlation without it."""
    height, width = one.shape
    scores = np.empty((3, 3))
    inner = one[1:-1, 1:-1]
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            moved = other[1 + down : height - 1 + down, 1 + right : width - 1 + right]
            scores[1 + down, 1 + right] = _correlation(inner, moved)
    offsets = []
    for line in (scores[:, 1], scores[1, :]):
        bend = line[0] - 2 * line[1] + line[2]
        offset = 0.5 * (line[0] - line[2]) / bend if bend < 0 else 0.0
        offsets.append(float(np.clip(offset, -1.0, 1.0)))
    return offsets[0], offsets[1], float(np.clip(scores[1, 1], 0.0, 1.0))


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / scale if scale > 0 else 0.0
