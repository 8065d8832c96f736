"""What listens: callbacks that take the documents of a run and the frames that they announce."""

from concertino.consumers._capabilities import (
    AbandonsStreams,
    Closes,
    EmitsDocuments,
    PausesScans,
    PauseSwitch,
    Reconstructs,
    SaysIfNecessary,
    SettlesStreams,
    StoresFrames,
    TakesChanges,
    WantsMonitors,
    WorksOn,
    is_necessary,
    name_of,
)
from concertino.consumers._consumer import Consumer, DocumentConsumer, stores_frames
from concertino.consumers._frame_callback import AnnouncedStream, FrameCallback, announced_streams
from concertino.consumers._image_writer import ImageWriter, StoredStreamFrames
from concertino.processing._described_settings import described_settings
from concertino.processing._processing_run import (
    ProcessingRun,
    derived_directory,
    stored_processing_run,
)
from concertino.processing._slices import (
    axes_configuration,
    slice_rows,
    slices_configuration,
    volumes_of,
    without_slices,
)

from ._accumulator import Accumulator
from ._benchmarker import Benchmarker, StreamBenchmark
from ._change_trigger import ChangeTrigger
from ._frame_consumer import FrameConsumer
from ._live_view import LiveView
from ._run_log import RunLog
from .alarms._alarm import Alarm
from .alarms._alarm_checks import LostFrames, Saturation
from .alarms._beam_current import BeamCurrent
from .alarms._flat_drift import FlatDrift
from .alarms._sample_moved import SampleMoved
from .alarms._scan_alarms import ScanAlarms
from .hosting._child_process import ChildProcess
from .reconstruction._grating_contrasts import GratingContrasts
from .reconstruction._online_reconstruction import OnlineReconstruction

__all__ = [
    "AbandonsStreams",
    "Accumulator",
    "Alarm",
    "AnnouncedStream",
    "BeamCurrent",
    "Benchmarker",
    "ChangeTrigger",
    "ChildProcess",
    "Closes",
    "Consumer",
    "DocumentConsumer",
    "EmitsDocuments",
    "FlatDrift",
    "FrameCallback",
    "FrameConsumer",
    "GratingContrasts",
    "ImageWriter",
    "LiveView",
    "LostFrames",
    "OnlineReconstruction",
    "PauseSwitch",
    "PausesScans",
    "ProcessingRun",
    "Reconstructs",
    "RunLog",
    "SampleMoved",
    "Saturation",
    "SaysIfNecessary",
    "ScanAlarms",
    "SettlesStreams",
    "StoredStreamFrames",
    "StoresFrames",
    "StreamBenchmark",
    "TakesChanges",
    "WantsMonitors",
    "WorksOn",
    "announced_streams",
    "axes_configuration",
    "derived_directory",
    "described_settings",
    "is_necessary",
    "name_of",
    "slice_rows",
    "slices_configuration",
    "stored_processing_run",
    "stores_frames",
    "volumes_of",
    "without_slices",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
