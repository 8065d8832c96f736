"""Frames in JPEG files, which some detectors write: one grey image a file, and not as it was exposed."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import StorageError

from ._raw_frames import FrameReader, Region


def open_jpeg(path: Path) -> FrameReader:
    """Open a file with one image.

    Raises
    ------
    StorageError
        If it is missing, no JPEG, or has colours.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("JPEG",)) as image:
            if image.mode != "L":
                raise StorageError(
                    f"{path} has an image of mode {image.mode}, and only grey ones of 8 bits can be read. Set the "
                    "detector's colour mode to Mono."
                )
            return _JpegImage(np.asarray(image)[np.newaxis])
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read as JPEG: {error}. If it is still being written, wait; if it is damaged, "
            "restore it from a copy."
        ) from error


class _JpegImage:
    """One image, decoded; there is no way to decode a part."""

    def __init__(self, image: NDArray[Any]) -> None:
        self._image = image
        self.shape: tuple[int, int, int] = (1, image.shape[1], image.shape[2])
        self.dtype = image.dtype

    def read(self, start: int, region: Region, out: NDArray[Any]) -> None:
        """Write the image, cut to `region`, into `out` (1, h, w)."""
        row, column, height, width = region
        out[:] = self._image[start : start + len(out), row : row + height, column : column + width]

    def close(self) -> None:
        """Nothing stays open."""
