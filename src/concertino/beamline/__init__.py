"""A beamline in one file: read and checked, its devices connected, its plans made ready."""

from ._beamline import Beamline, open_beamline
from ._bound_plans import BoundPlan
from ._mistakes import BeamlineFileError, Mistake
from ._read import BeamlineFile, find_beamline, read_beamline
from ._report import report_devices
from ._schema import beamline_schema
from ._settings import BeamlineSettings
from ._source_file import SourceFile
from ._templates import TEMPLATES, template

__all__ = [
    "TEMPLATES",
    "Beamline",
    "BeamlineFile",
    "BeamlineFileError",
    "BeamlineSettings",
    "BoundPlan",
    "Mistake",
    "SourceFile",
    "beamline_schema",
    "find_beamline",
    "open_beamline",
    "read_beamline",
    "report_devices",
    "template",
]

for _name in __all__:
    if callable(globals()[_name]):
        globals()[_name].__module__ = __name__
del _name
