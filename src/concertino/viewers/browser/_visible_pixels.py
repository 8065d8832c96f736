"""The part of a picture that a zoomed display shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.viewers._picture import Picture


@dataclass(frozen=True, eq=False)
class VisiblePixels:
    """Pixels and the place they cover, in pixels of the image before it was made smaller."""

    pixels: NDArray[Any]
    left: float
    top: float
    width: float
    height: float


def visible_pixels(
    picture: Picture,
    *,
    columns: tuple[float, float],
    rows: tuple[float, float],
    longest_px: int,
) -> VisiblePixels:
    """Return what is to be drawn of a picture.

    Parameters
    ----------
    picture : Picture
        All there is.
    columns, rows : tuple of float
        Range that is shown, in pixels of the image; pixel 0 reaches from -0.5 to 0.5.
    longest_px : int
        Size on the screen: finer detail is left out.

    Returns
    -------
    VisiblePixels
        At least one pixel.
    """
    places: list[slice] = []
    covered: list[tuple[float, float]] = []
    for (low, high), side, count in zip(
        (rows, columns), picture.shape, picture.pixels.shape, strict=True
    ):
        scale = side / count
        first = min(max(int((min(low, high) + 0.5) / scale), 0), count - 1)
        stop = min(max(int(np.ceil((max(low, high) + 0.5) / scale)), first + 1), count)
        step = -(-(stop - first) // longest_px)
        # In step with the whole picture, or its noise would crawl while it is moved.
        first -= first % step
        shown = len(range(first, stop, step))
        places.append(slice(first, stop, step))
        covered.append((first * scale - 0.5, shown * step * scale))
    (top, height), (left, width) = covered
    return VisiblePixels(picture.pixels[tuple(places)], left, top, width, height)
