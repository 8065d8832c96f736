"""The digital twin: a sample, a beam and a detector that make frames, without devices."""

from ._beam import Beam
from ._detector import Detector
from ._faults import Faults
from ._focus import Focus
from ._grating import Grating
from ._other_detector import seen_by
from ._phantom import Ellipsoid, Phantom
from ._phantoms import ellipsoid_foam, needle, shepp_logan_3d, sphere
from ._state import BeamlineState
from ._twin import Twin

__all__ = [
    "Beam",
    "BeamlineState",
    "Detector",
    "Ellipsoid",
    "Faults",
    "Focus",
    "Grating",
    "Phantom",
    "Twin",
    "ellipsoid_foam",
    "needle",
    "seen_by",
    "shepp_logan_3d",
    "sphere",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
