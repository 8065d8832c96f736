"""What listens: callbacks that take the documents of a run and the frames that they announce."""

from ._accumulator import Accumulator
from ._benchmarker import Benchmarker, StreamBenchmark
from ._frame_callback import AnnouncedStream, FrameCallback, announced_streams
from ._frame_consumer import FrameConsumer
from ._frame_number_check import FrameNumberCheck, FrameNumberGap
from ._grating_contrasts import GratingContrasts
from ._image_writer import ImageWriter
from ._live_view import LiveView
from ._online_reconstruction import OnlineReconstruction
from ._processing_run import ProcessingRun, derived_directory, stored_processing_run
from ._run_log import RunLog

__all__ = [
    "Accumulator",
    "AnnouncedStream",
    "Benchmarker",
    "FrameCallback",
    "FrameConsumer",
    "FrameNumberCheck",
    "FrameNumberGap",
    "GratingContrasts",
    "ImageWriter",
    "LiveView",
    "OnlineReconstruction",
    "ProcessingRun",
    "RunLog",
    "StreamBenchmark",
    "announced_streams",
    "derived_directory",
    "stored_processing_run",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
