"""Run directories, the record of a run, image files, and reading them back."""

from ._sample import sample_path
from .catalog._catalog import Catalog
from .catalog._catalog_missing import MissingRun
from .catalog._catalog_writer import CatalogWriter
from .disk._places import check_name, check_place, place_in
from .disk._space import check_directory, check_space, free_space, size_text
from .export._nxtomo import export_nxtomo
from .formats._image_axes import ImageAxes, ImageAxis
from .formats._image_formats import (
    ImageFormat,
    check_image_format,
    image_formats,
    open_sink,
    register_image_format,
)
from .formats._image_sink import ClaimParameters, ImageSink, ImageStream
from .formats._write_rate import WriteRate, measured_write_rate
from .images._frame_files import FrameFiles
from .images._growing_frames import GrowingFrames, open_growing
from .images._image_sources import open_images
from .images._raw_frames import FrameReader
from .images._scan_images import ScanImages, open_scan
from .images._stored_frames import StoredFrames
from .record._document_file import DocumentFile, encode_document
from .record._recorder import Recorder
from .runs._find_runs import find_runs, open_run
from .runs._frame_values import FrameColumn
from .runs._linked_runs import linked_runs
from .runs._replay import ReplayReport, replay
from .runs._run import DamagedRun, Run, StoredStream
from .runs._run_angles import angle_record, run_angles
from .runs._run_directories import RunDirectories, RunDirectory, name_expression
from .runs._run_heights import run_heights
from .runs._run_index import stop_of_unfinished
from .runs._stored_scan import ScanPiece, StoredScan

__all__ = [
    "Catalog",
    "CatalogWriter",
    "ClaimParameters",
    "DamagedRun",
    "DocumentFile",
    "FrameColumn",
    "FrameFiles",
    "FrameReader",
    "GrowingFrames",
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
    "name_expression",
    "open_growing",
    "open_images",
    "open_run",
    "open_scan",
    "open_sink",
    "place_in",
    "register_image_format",
    "replay",
    "run_angles",
    "run_heights",
    "sample_path",
    "size_text",
    "stop_of_unfinished",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
