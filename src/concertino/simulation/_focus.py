"""A camera that is in focus at one place only."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from concertino import ParameterError

#: A blur below this standard deviation, in px, changes less than the noise does.
NO_BLUR_PX = 0.02


@dataclass(frozen=True)
class Focus:
    """Where the camera's optics see the scintillator sharply.

    A point is seen as a disc whose diameter grows with the distance from the focus and is one pixel
    at half of the depth of field; the disc is drawn as a Gaussian of the same variance.

    Parameters
    ----------
    position_mm : float
        Where the camera is in focus, in mm of its stage.
    depth_of_field_mm : float
        Length, in mm, over which the disc is smaller than one pixel.

    Examples
    --------
    >>> from concertino.simulation import Focus
    >>> Focus(1.5, depth_of_field_mm=0.1).blur_px(1.7)
    1.0
    """

    position_mm: float = 0.0
    depth_of_field_mm: float = 0.1

    def __post_init__(self) -> None:
        if not math.isfinite(self.position_mm):
            raise ParameterError(
                f"position_mm: {self.position_mm} was given; give a finite number."
            )
        if not (math.isfinite(self.depth_of_field_mm) and self.depth_of_field_mm > 0):
            raise ParameterError(
                f"depth_of_field_mm: {self.depth_of_field_mm} was given; give a length in mm, more "
                "than 0."
            )

    def blur_px(self, stage_mm: float) -> float:
        """Return the standard deviation of the blur, in px, with the camera at some position."""
        radius_px = abs(stage_mm - self.position_mm) / self.depth_of_field_mm
        return round(
            radius_px / 2, 9
        )  # a disc's variance along a line is a quarter of its radius squared


def blurred_transmission(
    shadows: NDArray[np.float64], shape: tuple[int, int], blur_px: float
) -> NDArray[np.float32]:
    """Return the part of the light (height, width) that the sample lets through, blurred.

    Parameters
    ----------
    shadows : NDArray, shape (pose, ellipsoid, 7)
        As `Phantom.shadows` returns them.
    shape : (int, int)
        Height and width of the frame, in px.
    blur_px : float
        Standard deviation of the blur, in px.
    """
    from ._kernels import transmit

    transmission = np.empty(shape, np.float32)
    transmit(shadows, transmission)
    blurred: NDArray[np.float32] = scipy.ndimage.gaussian_filter(
        transmission, blur_px, mode="nearest"
    )
    return blurred
