"""What a finished reconstruction hands over."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._settings import ReconstructionSettings


@dataclass(frozen=True)
class AxisEstimate:
    """Where the rotation axis is, and how sure that is.

    Attributes
    ----------
    center_px
        Column of the axis in px; 0 is the middle of the first column.
    confidence
        0 (the data cannot tell) to 1.
    method
        How it was found.
    tilt_rad
        Roll of the axis about the beam, as `ReconstructionSettings.axis_angle_y`; 0 when it was not
        asked for.
    """

    center_px: float
    confidence: float
    method: str
    tilt_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class ReconstructionResult:
    """Slices and how they came about.

    Attributes
    ----------
    volume
        float32, (slice, y, x): linear attenuation per pixel when the input was counts with flats.
    center_px
        Column of the rotation axis that was used.
    confidence
        0 to 1: how sure the axis is; 1 when it was given.
    missing
        Frame indices of the projections that never came.
    settings
        What was asked for.
    timings
        Seconds spent, by what they were spent on.
    """

    volume: NDArray[np.float32]
    center_px: float
    confidence: float
    missing: tuple[int, ...]
    settings: ReconstructionSettings
    timings: dict[str, float]
