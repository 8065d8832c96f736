"""What moves and what sees: cameras over frame streams, and a simulated beamline."""

from ._acquisition import Acquisition
from ._beam import BeamSwitch, SimulatedShutter, SimulatedStorageRing, SimulatedTube
from ._camera import Camera
from ._camera_checks import check_software_trigger
from ._encoder import SimulatedEncoder
from ._file_source import FileCamera, FileSource
from ._frame_source import (
    BufferedFrameSource,
    CameraSettings,
    FrameSource,
    Grab,
    TellsClock,
    TellsFirstNumber,
    TellsMemory,
    TellsReadoutRate,
    TriggeredFrameSource,
)
from ._motor import SimulatedMotor
from ._panda_trigger import PandaAxis, PandaTrigger
from ._remote_acquisition import AcquisitionProgress
from ._simulated_beamline import SimulatedBeamline, foam_twin
from ._simulated_source import SimulatedSource
from ._suspender_signal import SuspenderSignal
from ._tango_camera import TangoCamera
from ._trigger_box import SimulatedTriggerBox

__all__ = [
    "Acquisition",
    "AcquisitionProgress",
    "BeamSwitch",
    "BufferedFrameSource",
    "Camera",
    "CameraSettings",
    "FileCamera",
    "FileSource",
    "FrameSource",
    "Grab",
    "PandaAxis",
    "PandaTrigger",
    "SimulatedBeamline",
    "SimulatedEncoder",
    "SimulatedMotor",
    "SimulatedShutter",
    "SimulatedSource",
    "SimulatedStorageRing",
    "SimulatedTriggerBox",
    "SimulatedTube",
    "SuspenderSignal",
    "TangoCamera",
    "TellsClock",
    "TellsFirstNumber",
    "TellsMemory",
    "TellsReadoutRate",
    "TriggeredFrameSource",
    "check_software_trigger",
    "foam_twin",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
