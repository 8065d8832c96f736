"""The digital twin: a sample, a beam and a detector that make frames, without devices."""

from ._beam import Beam
from ._detector import Detector
from ._faults import Faults
from ._grating import Grating
from ._phantom import Ellipsoid, Phantom
from ._phantoms import ellipsoid_foam, shepp_logan_3d
from ._state import BeamlineState
from ._twin import Twin

__all__ = [
    "Beam",
    "BeamlineState",
    "Detector",
    "Ellipsoid",
    "Faults",
    "Grating",
    "Phantom",
    "Twin",
    "ellipsoid_foam",
    "shepp_logan_3d",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
