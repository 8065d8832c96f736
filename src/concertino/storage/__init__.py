"""Run directories, the record of a run, image files, and reading them back."""

from ._document_file import DocumentFile
from ._image_sink import ClaimParameters, ImageSink, open_sink
from ._image_sources import ImageSequence, open_images
from ._recorder import Recorder
from ._run_directories import RunDirectories, RunDirectory
from ._sample import sample_path
from ._scan_images import ScanImages, open_scan
from ._space import check_directory, check_space, free_space

__all__ = [
    "ClaimParameters",
    "DocumentFile",
    "ImageSequence",
    "ImageSink",
    "Recorder",
    "RunDirectories",
    "RunDirectory",
    "ScanImages",
    "check_directory",
    "check_space",
    "free_space",
    "open_images",
    "open_scan",
    "open_sink",
    "sample_path",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
