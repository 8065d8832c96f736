"""Projections to slices, while they arrive: normalise, filter, back-project, search."""

from ._parameter_search import ParameterSearch
from ._reconstructor import Reconstructor
from ._scan import find_axis, find_parameter, reconstruct
from ._series import TomogramSeries
from .analysis._alignment import (
    AxisTilt,
    axis_from_opposite,
    axis_tilt,
    needle_tip,
    sharpness,
    sphere_centre,
)
from .analysis._axis_rows import axis_rows
from .analysis._grating import Contrasts, Fringes, PhaseStepping, grating_contrasts
from .analysis._metrics import Metric, largest_is_best, slice_metric
from .analysis._resolution import Resolution, fourier_correlation
from .analysis._result import (
    AxisEstimate,
    OrthogonalPlanes,
    ReconstructionResult,
    UncertainAxisWarning,
)
from .analysis._search import ParameterEstimate
from .analysis._shift import ImageShift, image_shift
from .backends._backends import Backend, backends
from .preprocessing._spiral import rebin_helical
from .settings._geometry import GeometrySettings
from .settings._settings import ReconstructionSettings

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
    "ParameterSearch",
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
    "needle_tip",
    "rebin_helical",
    "reconstruct",
    "sharpness",
    "slice_metric",
    "sphere_centre",
]

for _name in __all__:
    if _name != "Metric":
        globals()[_name].__module__ = __name__
