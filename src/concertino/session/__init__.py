"""A RunEngine made ready: recorder, catalogue, baseline, progress, units, run directories."""

from ._open import open_session
from ._resources import ComputerResources
from ._run_engine import SessionRunEngine
from ._session import Session
from .prompt._device_table import DeviceState, DeviceTable, states_of

__all__ = [
    "ComputerResources",
    "DeviceState",
    "DeviceTable",
    "Session",
    "SessionRunEngine",
    "open_session",
    "states_of",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
