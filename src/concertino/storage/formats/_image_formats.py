"""The formats in which a stream of images is stored, by name and by mimetype."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from concertino._errors import ParameterError, StorageError
from concertino.storage.disk._space import check_space
from concertino.storage.disk._uris import place_of
from concertino.storage.images._frame_files import (
    FrameFiles,
    hdf5_dataset,
    jpeg_sequence,
    tiff_pages,
    tiff_sequence,
    zarr_array,
)

from ._hdf5_sink import HDF5, Hdf5Sink
from ._image_axes import ImageAxes
from ._image_sink import ImageSink, ImageStream
from ._tiff_layout import FILE_HEADER_BYTES, page_layout
from ._tiff_pages import TIFF_PAGES, TiffPagesSink
from ._tiff_sequence import TIFF_SEQUENCE, TiffSequenceSink
from ._zarr_sink import ZARR, ZarrSink, the_zarr

#: What only detectors write, of the writers that areaDetector has.
JPEG_SEQUENCE = "multipart/related;type=image/jpeg"
_BLOCK_BYTES = 4096  # of the disk: what a file's size is rounded up to


@dataclass(frozen=True)
class ImageFormat:
    """How images are stored and read back.

    Attributes
    ----------
    name
        What `open_sink` and ``ImageWriter(format=…)`` call it.
    open_sink
        Takes a directory, which is absolute, and the stream; returns the sink.
    frame_bytes
        Returns what a frame takes on the disk, in bytes, for a stream.
    resources
        By the mimetypes that its sinks claim: takes the place of the URI and the parameters of the
        claim, and returns the frames.
    check
        Raises what keeps the format from being used here, such as an extra that is not installed.
    """

    name: str
    open_sink: Callable[[Path, ImageStream], ImageSink]
    frame_bytes: Callable[[ImageStream], int]
    resources: Mapping[str, Callable[[Path, Mapping[str, Any]], FrameFiles]]
    check: Callable[[], object] = lambda: None


_FORMATS: dict[str, ImageFormat] = {}


def register_image_format(image_format: ImageFormat) -> None:
    """Have images stored and read in a format of one's own, in this process.

    See `concertino.testing.ImageFormatContract` for what it must do.

    Raises
    ------
    ParameterError
        If its name or one of its mimetypes is taken.
    """
    taken = {image_format.name} & set(_FORMATS) or set(image_format.resources) & set(
        resource_makers()
    )
    if taken:
        raise ParameterError(
            f"Image format {image_format.name!r} cannot be registered: {', '.join(sorted(taken))} "
            f"is taken; there are {', '.join(_FORMATS)}."
        )
    _FORMATS[image_format.name] = image_format


def image_formats() -> tuple[str, ...]:
    """Return the names of the formats.

    Examples
    --------
    >>> image_formats()[:3]
    ('tiff', 'hdf5', 'zarr')
    """
    return tuple(_FORMATS)


def check_image_format(name: str, asked: str = "format") -> None:
    """Refuse a format that there is not, or that cannot be used here.

    Parameters
    ----------
    name
        Of the format.
    asked
        Name of the parameter that says it.

    Raises
    ------
    ParameterError
        If there is none of this name.
    MissingExtraError
        If it needs an extra that is not installed.
    """
    if name not in _FORMATS:
        raise ParameterError(f"{asked}: {name!r} was given; give one of {', '.join(_FORMATS)}.")
    _FORMATS[name].check()


def resource_makers() -> dict[str, Callable[[Path, Mapping[str, Any]], FrameFiles]]:
    """Return what opens stored frames, by mimetype."""
    makers = {
        mimetype: maker
        for image_format in _FORMATS.values()
        for mimetype, maker in image_format.resources.items()
    }
    return {**makers, JPEG_SEQUENCE: jpeg_sequence}


def open_resource(document: Mapping[str, Any], recorded: str, directory: Path) -> FrameFiles:
    """Return the frames of a stream_resource document. No file is opened before it is read.

    Parameters
    ----------
    document
        The stream_resource.
    recorded, directory
        See `place_of`.

    Raises
    ------
    StorageError
        When there is no reader for its mimetype, or its parameters are not what that needs.
    """
    mimetype = document["mimetype"]
    makers = resource_makers()
    maker = makers.get(mimetype)
    if maker is None:
        raise StorageError(
            f"Frames of mimetype {mimetype!r} at {document['uri']} cannot be read; there are "
            f"readers for {', '.join(makers)}."
        )
    try:
        return maker(place_of(document["uri"], recorded, directory), document["parameters"])
    except KeyError as error:
        raise StorageError(
            f"The frames at {document['uri']} are said to be {mimetype!r}, and the parameter "
            f"{error} that this needs is missing from their stream_resource document. Have the "
            "program that wrote it add the parameter."
        ) from error


def open_sink(
    directory: str | os.PathLike[str],
    *,
    shape: tuple[int, int],
    dtype: DTypeLike,
    format: str = "tiff",
    bytes_per_file: int = 0,
    num_frames: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    axes: ImageAxes | None = None,
) -> ImageSink:
    """Open a directory for the frames of one stream.

    Parameters
    ----------
    directory
        Made when it does not exist; must be empty.
    shape
        Of a frame: (height, width) in pixels.
    dtype
        Of its pixels.
    format
        ``"tiff"``; ``"hdf5"``: one file, a NeXus data group with a chunk for each frame; ``"zarr"``: an
        OME-Zarr image with a chunk for each frame.
    bytes_per_file
        0: one image a file; otherwise multi-page TIFF files of at most this size (and at least one
        image), BigTIFF when they can exceed 4 GiB.
    num_frames
        How many are announced: refused at once when they do not fit on the disk.
    metadata
        Put into each TIFF image's description, with its index, or beside the array: run, stream, camera,
        pixel size (``pixel_size_um``, in micrometres, sets the resolution too).
    axes
        What the axes mean; by default they are those of a camera's frames.

    Raises
    ------
    StorageError
        When the directory is not empty, cannot be made, or has too little space.
    ParameterError
        When there is no such format, or it has no such dtype or no `bytes_per_file`.
    """
    check_image_format(format)
    if bytes_per_file and format != "tiff":
        raise ParameterError(
            f"bytes_per_file: {bytes_per_file} was given for format {format!r}, which has one way "
            "of its own; leave it out, or give format='tiff'."
        )
    known = dict(metadata or {})
    stream = ImageStream(
        shape, dtype, known, axes or ImageAxes.of_frames(known), bytes_per_file, num_frames
    )
    path = Path(directory).absolute()
    if num_frames is not None:
        check_space(path, num_frames * _FORMATS[format].frame_bytes(stream))
    return _FORMATS[format].open_sink(path, stream)


def _open_tiff(directory: Path, stream: ImageStream) -> ImageSink:
    return (TiffPagesSink if stream.bytes_per_file else TiffSequenceSink)(directory, stream)


def _tiff_bytes(stream: ImageStream) -> int:
    size = page_layout(stream).stride
    return size if stream.bytes_per_file else _whole_blocks(size + FILE_HEADER_BYTES)


def _raw_bytes(stream: ImageStream) -> int:
    return stream.shape[0] * stream.shape[1] * np.dtype(stream.dtype).itemsize


def _chunk_file_bytes(stream: ImageStream) -> int:
    return _whole_blocks(_raw_bytes(stream))


def _whole_blocks(size: int) -> int:
    return size + -size % _BLOCK_BYTES


for _format in (
    ImageFormat(
        "tiff",
        _open_tiff,
        _tiff_bytes,
        {TIFF_SEQUENCE: tiff_sequence, TIFF_PAGES: tiff_pages},
    ),
    ImageFormat("hdf5", Hdf5Sink, _raw_bytes, {HDF5: hdf5_dataset}),
    ImageFormat("zarr", ZarrSink, _chunk_file_bytes, {ZARR: zarr_array}, the_zarr),
):
    register_image_format(_format)
