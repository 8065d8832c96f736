"""Frames in a Zarr array."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import StorageError
from concertino._extras import extra

from ._raw_frames import FrameReader, Region


def open_zarr(path: Path) -> FrameReader:
    """Open a Zarr array (frame, height, width) for reading.

    Raises
    ------
    StorageError
        There is none, it is damaged, or it holds no images.
    MissingExtraError
        If zarr is not installed.
    """
    with extra("zarr", f"Reading {path}"):
        import zarr
    try:
        array = zarr.open_array(path, mode="r")
    except (OSError, KeyError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read as a Zarr array: {error}. If it was moved, put it back; if it "
            "is damaged, restore it from a copy."
        ) from error
    if array.ndim != 3 or array.dtype.kind not in "uif":
        raise StorageError(
            f"{path} has shape {array.shape} and dtype {array.dtype}; give an array of numbers in "
            "(frame, height, width)."
        )
    return _ArrayFrames(array, path)


class _ArrayFrames:
    """Frames that zarr reads."""

    def __init__(self, array: Any, path: Path) -> None:
        self._array, self._path = array, path
        count, height, width = array.shape
        self.shape = (int(count), int(height), int(width))
        self.dtype = np.dtype(array.dtype).newbyteorder("=")

    def read(self, start: int, region: Region, out: NDArray[Any]) -> None:
        """Read ``len(out)`` frames from `start` on, cut to `region`, into `out` (n, h, w)."""
        row, column, height, width = region
        try:
            out[:] = self._array[
                start : start + len(out), row : row + height, column : column + width
            ]
        except (OSError, RuntimeError, ValueError) as error:
            raise StorageError(
                f"Frames {start} to {start + len(out) - 1} cannot be read from {self._path}: "
                f"{error}. If it is damaged, restore it from a copy."
            ) from error

    def close(self) -> None:
        """Nothing stays open."""
