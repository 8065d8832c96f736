"""What a finished reconstruction hands over."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.settings._settings import ReconstructionSettings

from ._resolution import Resolution

_UNSURE = 0.3  # confidence below which it is said


class UncertainAxisWarning(UserWarning):
    """The rotation axis that slices were made with was found, but not surely."""


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

    @property
    def doubt(self) -> str:
        """What to do when the confidence is below 0.3; empty when it is not."""
        if self.confidence >= _UNSURE:
            return ""
        return (
            f"The rotation axis was taken at column {self.center_px:.2f}, with a confidence of "
            f"{self.confidence:.2f} only. Give the column where you know it as center=, or look for it "
            "with a sweep over center, or with find_axis and more rows."
        )


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
    slice_rows
        Detector row of each slice, as seen in the upright geometry; the values of a sweep.
    resolution
        How fine the middle slice is; None when it was not asked for.
    missing_angles
        Angles of the missing projections, in radians.
    backend
        Name of the back end that computed.
    backend_reason
        Why that one.
    value_unit
        Unit of the values, such as ``1/px``, px being a detector's pixel; empty when it is that of the input, or
        there is none.
    doubts
        What is odd about the darks and flats that it was made with, a sentence each.
    """

    volume: NDArray[np.float32]
    center_px: float
    confidence: float
    missing: tuple[int, ...]
    settings: ReconstructionSettings
    timings: dict[str, float]
    slice_rows: tuple[float, ...] = ()
    resolution: Resolution | None = None
    missing_angles: tuple[float, ...] = ()
    backend: str = "cpu"
    backend_reason: str = ""
    value_unit: str = ""
    doubts: tuple[str, ...] = ()


def value_unit(settings: ReconstructionSettings, logarithm: bool) -> str:
    """Return the unit of slices; empty when nobody but the user knows it, or there is none.

    Parameters
    ----------
    settings
        What is reconstructed.
    logarithm
        Whether -log was taken of the transmission.
    """
    if settings.filter in ("none", "faris-byer"):
        return ""
    if settings.phase_method in ("ctf", "qp", "qp2"):
        return "rad/px" if settings.delta is None else ""
    return "1/px" if logarithm or settings.phase_method == "tie" else ""


@dataclass(frozen=True, eq=False)
class OrthogonalPlanes:
    """Three planes through a sample, coarser than its slices.

    Attributes
    ----------
    xy
        float32, (y, x): the slice of one detector row, as a slice is.
    xz
        float32, (z, x): the plane at one y, the highest kept row on top.
    yz
        float32, (z, y): the plane at one x, y downwards from left to right as in a slice from top to
        bottom.
    step_px
        Detector pixels between neighbours in all of them. Values are per detector pixel, as in slices.
    """

    xy: NDArray[np.float32]
    xz: NDArray[np.float32]
    yz: NDArray[np.float32]
    step_px: int
