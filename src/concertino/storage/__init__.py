"""Run directories, the record of a run, image files, and reading them back."""

from ._catalog import Catalog
from ._catalog_missing import MissingRun
from ._catalog_writer import CatalogWriter
from ._document_file import DocumentFile, encode_document
from ._find_runs import find_runs, open_run
from ._frame_files import FrameFiles
from ._image_axes import ImageAxes, ImageAxis
from ._image_formats import (
    ImageFormat,
    check_image_format,
    image_formats,
    open_sink,
    register_image_format,
)
from ._image_sink import ClaimParameters, ImageSink, ImageStream
from ._image_sources import open_images
from ._linked_runs import linked_runs
from ._nxtomo import export_nxtomo
from ._places import check_name, check_place, place_in
from ._raw_frames import FrameReader
from ._recorder import Recorder
from ._replay import ReplayReport, replay
from ._run import DamagedRun, Run, StoredStream
from ._run_angles import angle_record, run_angles
from ._run_directories import RunDirectories, RunDirectory
from ._run_index import stop_of_unfinished
from ._sample import sample_path
from ._scan_images import ScanImages, open_scan
from ._space import check_directory, check_space, free_space, size_text
from ._stored_frames import StoredFrames
from ._stored_scan import ScanPiece, StoredScan
from ._write_rate import WriteRate, measured_write_rate

__all__ = [
    "Catalog",
    "CatalogWriter",
    "ClaimParameters",
    "DamagedRun",
    "DocumentFile",
    "FrameFiles",
    "FrameReader",
    "ImageAxes",
    "ImageAxis",
    "ImageFormat",
    "ImageSink",
    "ImageStream",
    "MissingRun",
    "Recorder",
    "ReplayReport",
    "Run",
    "RunDirectories",
    "RunDirectory",
    "ScanImages",
    "ScanPiece",
    "StoredFrames",
    "StoredScan",
    "StoredStream",
    "WriteRate",
    "angle_record",
    "check_directory",
    "check_image_format",
    "check_name",
    "check_place",
    "check_space",
    "encode_document",
    "export_nxtomo",
    "find_runs",
    "free_space",
    "image_formats",
    "linked_runs",
    "measured_write_rate",
    "open_images",
    "open_run",
    "open_scan",
    "open_sink",
    "place_in",
    "register_image_format",
    "replay",
    "run_angles",
    "sample_path",
    "size_text",
    "stop_of_unfinished",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
