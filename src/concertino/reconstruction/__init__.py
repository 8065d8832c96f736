"""Projections to slices, while they arrive: normalise, filter, back-project, search."""

from ._backends import Backend, backends
from ._reconstructor import Reconstructor, find_axis, reconstruct
from ._result import AxisEstimate, ReconstructionResult
from ._settings import ReconstructionSettings

__all__ = [
    "AxisEstimate",
    "Backend",
    "ReconstructionResult",
    "ReconstructionSettings",
    "Reconstructor",
    "backends",
    "find_axis",
    "reconstruct",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
