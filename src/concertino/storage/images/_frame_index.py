"""What is known of each frame besides its pixels: time, camera's number, checksum.

One file beside the images, 24 bytes a frame, written with them. Anybody reads it with
``numpy.fromfile("frames.index", dtype=[("timestamp_ns", "<i8"), ("number", "<i8"), ("checksum", "<u8")])``.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import StorageError

FRAME_INDEX = "frames.index"
INDEX_DTYPE = np.dtype([("timestamp_ns", "<i8"), ("number", "<i8"), ("checksum", "<u8")])
UNKNOWN = -1


class FrameIndexFile:
    """Append to the index of a directory; the file is made with the first entry.

    Parameters
    ----------
    folder
        File descriptor of the directory.
    """

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._file = -1

    def write(
        self,
        start: int,
        checksums: NDArray[np.uint64],
        timestamps: NDArray[np.int64] | None,
        numbers: NDArray[np.int64] | None,
    ) -> None:
        """Write what is known of the frames from `start` on."""
        entries = np.empty(len(checksums), INDEX_DTYPE)
        entries["timestamp_ns"] = UNKNOWN if timestamps is None else timestamps
        entries["number"] = UNKNOWN if numbers is None else numbers
        entries["checksum"] = checksums
        if self._file < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(FRAME_INDEX, flags, 0o666, dir_fd=self._folder)
        os.pwrite(self._file, entries.tobytes(), start * INDEX_DTYPE.itemsize)

    def sync(self) -> None:
        """Sync to disk."""
        if self._file >= 0:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_frame_index(directory: Path) -> NDArray[Any]:
    """Return the index of a directory's frames; empty when it has none.

    Returns
    -------
    NDArray
        (n,) structured: ``timestamp_ns`` (int64, -1: unknown), ``number`` (int64, -1: unknown),
        ``checksum`` (uint64, xxh3_64 of the frame's bytes).

    Raises
    ------
    StorageError
        When there is one and it cannot be read.
    """
    path = directory / FRAME_INDEX
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return np.empty(0, INDEX_DTYPE)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {error.strerror}. Check its permissions, and that its disk is "
            "there."
        ) from error
    return np.frombuffer(data, INDEX_DTYPE, len(data) // INDEX_DTYPE.itemsize)
