"""Images made small enough for a display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ParameterError

LONGEST_SIDE_PX = 1024
"""Rows and columns of a picture at most."""

Panel = Literal["frames", "slices"]
_SENT_AS_IS = frozenset("?bBhHiIf")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as a display gets it.

    Attributes
    ----------
    panel : {"frames", "slices"}
        What it is.
    label : str
        Which camera took it, or which slice it is.
    pixels : ndarray, shape (height / row step, width / column step)
        Every n-th pixel of the image, native byte order, at most 32 bits a pixel.
    shape : tuple of int
        Height and width of the image before it was made smaller, in pixels.
    stream : str
        Name of the stream it came from, or "".
    number : int
        Index of the frame in its stream, from 0.
    version : int
        Grows with each new picture of a state.
    """

    panel: Panel
    label: str
    pixels: NDArray[Any]
    shape: tuple[int, int]
    stream: str
    number: int
    version: int


def downsample(image: ArrayLike, longest_px: int = LONGEST_SIDE_PX) -> NDArray[Any]:
    """Return a small copy of an image that a browser can take.

    Every n-th row and every n-th column is kept; of a side that has fewer than a quarter of
    `longest_px`, everything. Means over blocks would look smoother, but cost ten times more, and
    what is shown would not be measured values: hot pixels and noise would seem weaker than they
    are.

    Parameters
    ----------
    image : array_like, shape (height, width)
        Of any real, boolean or complex type. Of complex values the modulus is taken.
    longest_px : int
        Rows and columns of the result at most.

    Returns
    -------
    ndarray, shape (ceil(height / n), ceil(width / n))
        Of the same type, but float32 for other floats, complex and 64-bit integers, and uint8
        for booleans.

    Raises
    ------
    ParameterError
        If the image has no two dimensions, no pixels or no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> downsample(np.arange(16, dtype=np.uint16).reshape(4, 4), longest_px=2)
    array([[ 0,  2],
           [ 8, 10]], dtype=uint16)
    """
    array = np.asarray(image)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "?bBhHiIlLqQefdFDgGuc":
        raise ParameterError(
            "A live view shows images (height, width) of numbers, and was given an array of shape "
            f"{array.shape} and type {array.dtype}. Give it one image."
        )
    step = -(-max(array.shape) // longest_px)
    steps = [step if 4 * side >= longest_px else 1 for side in array.shape]
    small = array[:: steps[0], :: steps[1]]
    if array.dtype.kind == "c":
        small = np.abs(small)
    if small.dtype.char == "?":
        return small.astype(np.uint8)
    if small.dtype.char not in _SENT_AS_IS:
        return small.astype(np.float32)
    # A copy even when every pixel is kept: the caller's buffer will hold another frame soon.
    return np.array(small, dtype=small.dtype.newbyteorder("="), order="C")
