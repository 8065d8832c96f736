"""The simulated beamline behind a control system's own protocols, to rehearse a beamtime on."""

from ._serve import TwinOptions, serve_twin

__all__ = ["TwinOptions", "serve_twin"]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
