"""Stored runs, reconstructed: whole, in parts that fit into memory, on a cluster, or swept."""

from ._parts import Progress
from ._reconstruct import BatchReconstruction, reconstruct_run
from ._sweep import Sweep, sweep_run

__all__ = ["BatchReconstruction", "Progress", "Sweep", "reconstruct_run", "sweep_run"]

for _name in __all__:
    if _name != "Progress":
        globals()[_name].__module__ = __name__
