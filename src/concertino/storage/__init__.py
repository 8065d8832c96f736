"""Run directories, the record of a run, image files, and reading them back."""

from ._catalog import Catalog
from ._catalog_writer import CatalogWriter
from ._document_file import DocumentFile
from ._find_runs import find_runs, open_run
from ._image_sink import ClaimParameters, ImageSink, open_sink
from ._image_sources import ImageSequence, open_images
from ._recorder import Recorder
from ._replay import ReplayReport, replay
from ._run import Run, StoredStream
from ._run_directories import RunDirectories, RunDirectory
from ._sample import sample_path
from ._scan_images import ScanImages, open_scan
from ._space import check_directory, check_space, free_space
from ._stored_frames import StoredFrames

__all__ = [
    "Catalog",
    "CatalogWriter",
    "ClaimParameters",
    "DocumentFile",
    "ImageSequence",
    "ImageSink",
    "Recorder",
    "ReplayReport",
    "Run",
    "RunDirectories",
    "RunDirectory",
    "ScanImages",
    "StoredFrames",
    "StoredStream",
    "check_directory",
    "check_space",
    "find_runs",
    "free_space",
    "open_images",
    "open_run",
    "open_scan",
    "open_sink",
    "replay",
    "sample_path",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
