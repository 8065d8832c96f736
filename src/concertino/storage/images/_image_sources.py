"""Stored frames, wherever they are, as one sequence with random access."""

import glob
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError, StorageError
from concertino.documents import index_ranges

from ._frame_files import FrameFiles
from ._hdf5_images import HDF5_SUFFIXES, image_datasets, open_dataset, open_hdf5, readable
from ._raw_frames import FrameReader, Region
from ._scan_layouts import find_layout
from ._stored_frames import Segment, StoredFrames
from ._tiff_images import TiffOpener

_TIFF_SUFFIXES = frozenset({".tif", ".tiff"})


def open_images(
    source: str | Path | Sequence[str | Path],
    *,
    dataset: str | None = None,
    start: int = 0,
    roi: Region | None = None,
    count: int | None = None,
) -> StoredFrames:
    """Open stored frames for reading.

    Parameters
    ----------
    source : str, Path or sequence of them
        A directory of TIFFs, a glob pattern of TIFFs, a TIFF with one page or many, a list of TIFFs, an
        HDF5 file, or ``"file.h5:/exchange/data"``. Files of a directory or pattern are sorted as
        people count: ``frame_9`` comes before ``frame_10``.
    dataset : str, optional
        Data set of an HDF5 file. By default the projections of a DXfile or NXtomo, or the only
        stack of images in the file.
    start : int
        Frames left out at the beginning.
    roi : (int, int, int, int), optional
        Row, column, height and width of a region of interest, in px.
    count : int, optional
        Number of frames; all by default.

    Returns
    -------
    StoredFrames
        Nothing but the files' structure has been read.

    Raises
    ------
    StorageError
        Files are missing, damaged, or not alike; a data set is missing.
    ParameterError
        The region reaches outside, or there are fewer frames than asked for.

    Examples
    --------
    >>> from concertino.storage import open_images, sample_path
    >>> flats = open_images(f"{sample_path()}:/exchange/data_white")
    >>> len(flats), flats.dtype
    (10, dtype('float32'))
    """
    path, dataset = _split_source(source, dataset)
    name = str(source) if isinstance(source, (str, Path)) else f"{source[0]} ..." if source else ""
    indices = None
    if path is not None:
        file = open_hdf5(path)
        if dataset is None:
            with readable(path):
                layout = find_layout(file)
                if layout is not None:
                    dataset, indices = layout.projections
                else:
                    dataset = _only_stack(image_datasets(file), path)
            name = f"{path}:{dataset}"
        reader = open_dataset(file, dataset)
    else:
        reader = TiffOpener().open(find_tiffs(source))
    return sequence_of(reader, name, indices=indices, start=start, count=count, roi=roi)


def find_tiffs(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the TIFFs of a directory, pattern, file or list of files.

    Raises
    ------
    StorageError
        There are none.
    """
    if not isinstance(source, (str, Path)):
        if not source:
            raise StorageError(
                "A list of images was given that has no files in it; give at least one."
            )
        return [path for item in source for path in find_tiffs(item)]
    path = Path(source)
    if path.is_dir():
        files = [p for p in path.iterdir() if p.suffix.lower() in _TIFF_SUFFIXES]
        if not files:
            raise StorageError(
                f"The directory {path} has no TIFF files (*.tif, *.tiff) in it; give one that has, "
                "or a pattern."
            )
    elif path.exists():
        files = [path]
    elif glob.has_magic(str(source)):
        files = [Path(p) for p in glob.glob(str(source), recursive=True) if Path(p).is_file()]
        if not files:
            raise StorageError(
                f"No file fits the pattern {str(source)!r} (seen from {Path.cwd()}); check the "
                "path."
            )
    else:
        raise StorageError(
            f"There is no file or directory {path} (seen from {Path.cwd()}); check the path."
        )
    return natural_sort(files)


def natural_sort(paths: Iterable[Path]) -> list[Path]:
    """Sort paths so that numbers in them count: frame_9, frame_10."""

    def key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
        parts = re.split(r"([0-9]+)", str(path.with_suffix("")))
        return [(i % 2, int(p) if i % 2 else 0, p) for i, p in enumerate(parts)], path.suffix

    return sorted(paths, key=key)


def _split_source(
    source: str | Path | Sequence[str | Path], dataset: str | None
) -> tuple[Path | None, str | None]:
    """Return the path and data set of an HDF5 source; no path for any other."""
    if not isinstance(source, (str, Path)):
        return None, None
    path = Path(source)
    if path.is_dir():
        return None, None
    if dataset is None and not path.exists() and ":" in str(source):
        before, _, after = str(source).rpartition(":")
        if Path(before).suffix.lower() in HDF5_SUFFIXES or Path(before).is_file():
            return Path(before), after
    if dataset is not None or path.suffix.lower() in HDF5_SUFFIXES:
        return path, dataset
    return None, None


def _only_stack(stacks: dict[str, tuple[int, ...]], path: Path) -> str:
    if len(stacks) == 1:
        return next(iter(stacks))
    if not stacks:
        raise StorageError(f"{path} has no stack of images in it. Give another file.")
    present = ", ".join(f"{name} {shape}" for name, shape in stacks.items())
    raise StorageError(
        f"{path} has more than one stack of images. Say which, as '{path.name}:NAME'; there are "
        f"{present}."
    )


def sequence_of(
    reader: FrameReader,
    name: str,
    *,
    indices: NDArray[np.int64] | None = None,
    start: int = 0,
    count: int | None = None,
    roi: Region | None = None,
) -> StoredFrames:
    """Return the frames that a reader has open.

    Parameters
    ----------
    reader
        Reads the frames.
    name
        What they are called in messages.
    indices : NDArray of int, optional
        Which of them the sequence has; all by default.
    start, count, roi
        As for `open_images`.
    """
    chosen = np.arange(reader.shape[0]) if indices is None else indices
    _check_start(start, count, len(chosen), name)
    files = FrameFiles(lambda _: Path(name), lambda _: reader)
    files.open(0)  # so that it is closed with them
    parts = index_ranges(chosen[start:][:count])
    return StoredFrames(
        f"{name} from frame {start} on" if start else name,
        [Segment(files, part.start, len(part)) for part in parts],
        reader.shape[1:],
        reader.dtype,
        _checked_region(roi, reader.shape[1:], name),
    )


def _check_start(start: int, count: int | None, length: int, name: str) -> None:
    if start < 0 or (start >= length and length > 0):
        raise ParameterError(
            f"Start index {start} was asked for, and {name} holds the frames 0 to {length - 1}; "
            "give one of these."
        )
    if count is not None and not 0 <= count <= length - start:
        raise ParameterError(
            f"{count} frames from start index {start} on were asked for, and {name} holds {length}; "
            "ask for fewer."
        )


def _checked_region(roi: Region | None, frame: tuple[int, ...], name: str) -> Region:
    if roi is None:
        return 0, 0, frame[0], frame[1]
    row, column, height, width = roi
    inside = row >= 0 and column >= 0 and row + height <= frame[0] and column + width <= frame[1]
    if not inside or height < 1 or width < 1:
        raise ParameterError(
            f"The region of interest (row {row}, column {column}, height {height}, width {width}) "
            f"does not fit in the frames of {name}, which are {frame[0]}x{frame[1]} px (height x "
            "width). Make it smaller, or move it."
        )
    return row, column, height, width
