"""The plans alone, for services that take every name of a module for a plan, such as blueapi.

Each takes devices, numbers and texts by name, and has a JSON schema. What `concertino.plans` has besides (values,
parts of plans, plans that take functions or positional arguments) is not here.
"""

from ._continuous_spiral_tomography import continuous_spiral_tomography
from ._continuous_tomography import continuous_tomography
from ._grating_stepping import grating_stepping
from ._radiography import radiography
from ._resume import resume
from ._retrospective_radiography import retrospective_radiography
from ._step_spiral_tomography import step_spiral_tomography
from ._step_tomography import step_tomography
from .alignment._align_rotation_axis import align_rotation_axis
from .alignment._find_rotation_axis import find_rotation_axis
from .alignment._focus import focus
from .imaging._take_again import take_again

__all__ = [
    "align_rotation_axis",
    "continuous_spiral_tomography",
    "continuous_tomography",
    "find_rotation_axis",
    "focus",
    "grating_stepping",
    "radiography",
    "resume",
    "retrospective_radiography",
    "step_spiral_tomography",
    "step_tomography",
    "take_again",
]
