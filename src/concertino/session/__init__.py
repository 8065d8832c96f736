"""A RunEngine made ready: recorder, catalogue, baseline, progress, units, run directories."""

from ._open import open_session
from ._resources import ComputerResources
from ._session import Session

__all__ = ["ComputerResources", "Session", "open_session"]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
