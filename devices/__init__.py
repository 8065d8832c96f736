"""What moves and what sees: cameras over frame streams, and a simulated beamline."""

from ._beam import BeamSwitch, SimulatedShutter, SimulatedStorageRing, SimulatedTube
from ._camera import Camera
from ._file_source import FileCamera, FileSource
from ._frame_source import CameraSettings, FrameSource, Grab
from ._motor import SimulatedMotor
from ._simulated_beamline import SimulatedBeamline, foam_twin
from ._simulated_source import SimulatedSource

__all__ = [
    "BeamSwitch",
    "Camera",
    "CameraSettings",
    "FileCamera",
    "FileSource",
    "FrameSource",
    "Grab",
    "SimulatedBeamline",
    "SimulatedMotor",
    "SimulatedShutter",
    "SimulatedSource",
    "SimulatedStorageRing",
    "SimulatedTube",
    "foam_twin",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
