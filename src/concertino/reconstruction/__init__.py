"""Projections to slices, while they arrive: normalise, filter, back-project, search."""

from ._backends import Backend, backends
from ._grating import Contrasts, Fringes, PhaseStepping, grating_contrasts
from ._metrics import Metric, slice_metric
from ._reconstructor import Reconstructor
from ._resolution import Resolution, fourier_correlation
from ._result import AxisEstimate, ReconstructionResult
from ._scan import find_axis, find_parameter, reconstruct
from ._search import ParameterEstimate
from ._settings import ReconstructionSettings
from ._spiral import level_spiral

__all__ = [
    "AxisEstimate",
    "Backend",
    "Contrasts",
    "Fringes",
    "Metric",
    "ParameterEstimate",
    "PhaseStepping",
    "ReconstructionResult",
    "ReconstructionSettings",
    "Reconstructor",
    "Resolution",
    "backends",
    "find_axis",
    "find_parameter",
    "fourier_correlation",
    "grating_contrasts",
    "level_spiral",
    "reconstruct",
    "slice_metric",
]

for _name in __all__:
    if _name != "Metric":
        globals()[_name].__module__ = __name__
