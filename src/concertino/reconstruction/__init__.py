"""Projections to slices, while they arrive: normalise, filter, back-project, search."""

from ._alignment import (
    AxisTilt,
    axis_from_opposite,
    axis_tilt,
    needle_tip,
    sharpness,
    sphere_centre,
)
from ._axis_rows import axis_rows
from ._backends import Backend, backends
from ._geometry import GeometrySettings
from ._grating import Contrasts, Fringes, PhaseStepping, grating_contrasts
from ._metrics import Metric, largest_is_best, slice_metric
from ._reconstructor import Reconstructor
from ._resolution import Resolution, fourier_correlation
from ._result import (
    AxisEstimate,
    OrthogonalPlanes,
    ReconstructionResult,
    UncertainAxisWarning,
)
from ._scan import find_axis, find_parameter, reconstruct
from ._search import ParameterEstimate
from ._series import TomogramSeries
from ._settings import ReconstructionSettings
from ._shift import ImageShift, image_shift
from ._spiral import level_spiral

__all__ = [
    "AxisEstimate",
    "AxisTilt",
    "Backend",
    "Contrasts",
    "Fringes",
    "GeometrySettings",
    "ImageShift",
    "Metric",
    "OrthogonalPlanes",
    "ParameterEstimate",
    "PhaseStepping",
    "ReconstructionResult",
    "ReconstructionSettings",
    "Reconstructor",
    "Resolution",
    "TomogramSeries",
    "UncertainAxisWarning",
    "axis_from_opposite",
    "axis_rows",
    "axis_tilt",
    "backends",
    "find_axis",
    "find_parameter",
    "fourier_correlation",
    "grating_contrasts",
    "image_shift",
    "largest_is_best",
    "level_spiral",
    "needle_tip",
    "reconstruct",
    "sharpness",
    "slice_metric",
    "sphere_centre",
]

for _name in __all__:
    if _name != "Metric":
        globals()[_name].__module__ = __name__
