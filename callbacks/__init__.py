"""What listens: callbacks that take the documents of a run and the frames that they announce."""

from ._frame_callback import AnnouncedStream, FrameCallback, announced_streams
from ._image_writer import ImageWriter
from ._run_log import RunLog

__all__ = [
    "AnnouncedStream",
    "FrameCallback",
    "ImageWriter",
    "RunLog",
    "announced_streams",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
