"""Run directories, the record of a run, image files, and reading them back."""

from ._document_file import DocumentFile
from ._image_sink import ClaimParameters, ImageSink, open_sink
from ._recorder import Recorder
from ._run_directories import RunDirectories, RunDirectory
from ._space import check_directory, check_space, free_space

__all__ = [
    "ClaimParameters",
    "DocumentFile",
    "ImageSink",
    "Recorder",
    "RunDirectories",
    "RunDirectory",
    "check_directory",
    "check_space",
    "free_space",
    "open_sink",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
