"""What listens: callbacks that take the documents of a run and the frames that they announce."""

from ._frame_callback import AnnouncedStream, FrameCallback, announced_streams
from ._image_writer import ImageWriter
from ._live_view import LiveView
from ._online_reconstruction import OnlineReconstruction
from ._processing_run import ProcessingRun, derived_directory
from ._run_log import RunLog

__all__ = [
    "AnnouncedStream",
    "FrameCallback",
    "ImageWriter",
    "LiveView",
    "OnlineReconstruction",
    "ProcessingRun",
    "RunLog",
    "announced_streams",
    "derived_directory",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
