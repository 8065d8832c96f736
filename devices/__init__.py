"""What moves and what sees: cameras over frame streams, and a simulated beamline."""

from ._beam import SimulatedShutter, SimulatedStorageRing, SimulatedTube
from ._signal_beam import SignalBeam
from .camera._acquisition import Acquisition
from .camera._async_source import AsyncFrameSource, TriggeredAsyncSource
from .camera._camera import Camera
from .camera._camera_checks import check_software_trigger
from .camera._camera_setting import (
    CameraSetting,
    ChoiceSetting,
    IntegerSetting,
    NumberSetting,
    Region,
    RegionSetting,
    SettableFrameSource,
    SettingValue,
    SwitchSetting,
    TextSetting,
    trigger_mode,
)
from .camera._file_source import FileCamera, FileSource
from .camera._frame_source import (
    BufferedFrameSource,
    CameraSettings,
    FrameSource,
    Grab,
    ReadsRows,
    TellsClock,
    TellsFirstNumber,
    TellsMemory,
    TellsReadoutRate,
    TriggeredFrameSource,
)
from .camera._held_settings import HeldSettings
from .camera._remote_acquisition import AcquisitionProgress
from .control_systems._panda_trigger import PandaTrigger
from .control_systems._suspender_signal import SuspenderSignal
from .control_systems._tango_camera import TangoCamera
from .control_systems.area_detector._camera import AreaDetectorCamera
from .control_systems.area_detector._source import AreaDetectorOptions
from .control_systems.panda._box import PandaBox
from .control_systems.panda._limits import PandaAxis
from .control_systems.tango._motor import TangoMotor
from .control_systems.tango._shutter import TangoShutter
from .detectors._detector_camera import DetectorCamera
from .kinds._bounds import SetpointAndLimits
from .kinds._device_kind import DeviceKind, Instrument
from .kinds._optics import DetectorStage, LensChanger, Monochromator, TubeSettings
from .simulated._encoder import SimulatedEncoder
from .simulated._motor import SimulatedMotor
from .simulated._simulated_area_detector import SimulatedAreaDetector
from .simulated._simulated_beamline import SimulatedBeamline, foam_twin
from .simulated._simulated_source import SimulatedSource
from .simulated._trigger_box import SimulatedTriggerBox
from .simulated.panda._simulated_panda import SimulatedPanda
from .vendors._genicam_source import GenicamSource
from .vendors._micro_manager_source import MicroManagerSource
from .vendors._stream_detectors import DectrisStreamSource, HtypeStreamSource

__all__ = [
    "Acquisition",
    "AcquisitionProgress",
    "AreaDetectorCamera",
    "AreaDetectorOptions",
    "AsyncFrameSource",
    "BufferedFrameSource",
    "Camera",
    "CameraSetting",
    "CameraSettings",
    "ChoiceSetting",
    "DectrisStreamSource",
    "DetectorCamera",
    "DetectorStage",
    "DeviceKind",
    "FileCamera",
    "FileSource",
    "FrameSource",
    "GenicamSource",
    "Grab",
    "HeldSettings",
    "HtypeStreamSource",
    "Instrument",
    "IntegerSetting",
    "LensChanger",
    "MicroManagerSource",
    "Monochromator",
    "NumberSetting",
    "PandaAxis",
    "PandaBox",
    "PandaTrigger",
    "ReadsRows",
    "Region",
    "RegionSetting",
    "SetpointAndLimits",
    "SettableFrameSource",
    "SettingValue",
    "SignalBeam",
    "SimulatedAreaDetector",
    "SimulatedBeamline",
    "SimulatedEncoder",
    "SimulatedMotor",
    "SimulatedPanda",
    "SimulatedShutter",
    "SimulatedSource",
    "SimulatedStorageRing",
    "SimulatedTriggerBox",
    "SimulatedTube",
    "SuspenderSignal",
    "SwitchSetting",
    "TangoCamera",
    "TangoMotor",
    "TangoShutter",
    "TellsClock",
    "TellsFirstNumber",
    "TellsMemory",
    "TellsReadoutRate",
    "TextSetting",
    "TriggeredAsyncSource",
    "TriggeredFrameSource",
    "TubeSettings",
    "check_software_trigger",
    "foam_twin",
    "trigger_mode",
]

for _name in __all__:
    if callable(globals()[_name]):  # An alias of types is what it stands for.
        globals()[_name].__module__ = __name__
del _name
