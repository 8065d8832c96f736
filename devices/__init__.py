"""What moves and what sees: cameras over frame streams, and a simulated beamline."""

from ._beam import BeamSwitch, SimulatedShutter, SimulatedStorageRing, SimulatedTube
from .camera._acquisition import Acquisition
from .camera._camera import Camera
from .camera._camera_checks import check_software_trigger
from .camera._file_source import FileCamera, FileSource
from .camera._frame_source import (
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
from .camera._remote_acquisition import AcquisitionProgress
from .control_systems._panda_trigger import PandaAxis, PandaTrigger
from .control_systems._suspender_signal import SuspenderSignal
from .control_systems._tango_camera import TangoCamera
from .simulated._encoder import SimulatedEncoder
from .simulated._motor import SimulatedMotor
from .simulated._simulated_beamline import SimulatedBeamline, foam_twin
from .simulated._simulated_source import SimulatedSource
from .simulated._trigger_box import SimulatedTriggerBox

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
