"""Uncompressed frames read from where they lie in their files, straight into the caller's memory."""

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from concertino import StorageError

#: Row, column, height and width of a region of interest, in px.
Region = tuple[int, int, int, int]

_BUFFERS_PER_READ = 512  # below IOV_MAX


class FrameReader(Protocol):
    """Reads consecutive frames of one shape; all methods may be called from any thread."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number, height and width of the frames."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the frames that `read` writes, in native byte order."""

    def read(self, start: int, region: Region, out: NDArray[Any]) -> None:
        """Read ``len(out)`` frames from `start` on, cut to `region`, into `out` (n, h, w)."""

    def close(self) -> None:
        """Close the files."""


class RawFrames:
    """Frames whose positions in their files are known.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    file_numbers : NDArray of int, shape (n,)
        Which of `paths` each frame is in.
    offsets : NDArray of int, shape (n,)
        Where in its file each frame begins, in bytes.
    frame_shape : (int, int)
        Height and width, in px.
    dtype : dtype
        Of the pixels in the files; any byte order.

    Raises
    ------
    StorageError
        A file ends before its last frame does.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        file_numbers: NDArray[np.int64],
        offsets: NDArray[np.int64],
        frame_shape: tuple[int, int],
        dtype: np.dtype[Any],
    ) -> None:
        self._paths = list(paths)
        self._file_numbers = file_numbers
        self._offsets = offsets
        self._stored = np.dtype(dtype)
        self.dtype = self._stored.newbyteorder("=")
        self.shape = (len(offsets), *frame_shape)
        self._frame_bytes = frame_shape[0] * frame_shape[1] * self._stored.itemsize
        self._open = _OpenFile()
        self._finalizer = weakref.finalize(self, self._open.close)
        self._check_sizes()

    def read(self, start: int, region: Region, out: NDArray[Any]) -> None:
        """Read ``len(out)`` frames from `start` on, cut to `region`, into `out` (n, h, w)."""
        row, column, height, width = region
        whole_rows = column == 0 and width == self.shape[2]
        direct = whole_rows and self._stored == out.dtype and out[:1].flags.c_contiguous
        lines = out if direct else np.empty((len(out), height, self.shape[2]), dtype=self._stored)
        skip = row * self.shape[2] * self._stored.itemsize
        first = 0
        while first < len(out):
            last = first + self._run_length(start + first, len(out) - first)
            self._read_run(start + first, skip, lines[first:last])
            first = last
        if not direct:
            out[:] = lines[:, :, column : column + width]

    def close(self) -> None:
        """Close the file that was read last."""
        with self._open.lock:
            self._open.close()

    def _run_length(self, first: int, most: int) -> int:
        """Return how many frames from `first` on lie in one file at equal distances."""
        most = min(most, _BUFFERS_PER_READ // 2)
        if most == 1:
            return 1
        numbers = self._file_numbers[first : first + most]
        gaps = np.diff(self._offsets[first : first + most])
        same = (numbers[1:] == numbers[0]) & (gaps == gaps[0]) & (gaps >= self._frame_bytes)
        return most if same.all() else int(np.argmin(same)) + 1

    def _read_run(self, first: int, skip: int, lines: NDArray[Any]) -> None:
        count = len(lines)
        path = self._paths[self._file_numbers[first]]
        wanted = lines[0].nbytes
        buffers: list[memoryview | bytearray] = []
        between = 0
        if count > 1:
            between = int(self._offsets[first + 1] - self._offsets[first]) - wanted
        if between > wanted:  # a small region of large frames: don't read what lies between
            for i in range(count):
                self._read_run(first + i, skip, lines[i : i + 1])
            return
        gap = bytearray(between)
        for line in lines:
            buffers.append(memoryview(line.reshape(-1).view(np.uint8)))
            if between:
                buffers.append(gap)
        if between:
            buffers.pop()
        try:
            with self._open.lock:
                got = _read_fully(
                    self._open.descriptor(path), buffers, int(self._offsets[first]) + skip
                )
        except OSError as error:
            raise StorageError(
                f"Frame {first} cannot be read from {path}: {error.strerror or error}. Check its "
                "permissions, and that its disk is there."
            ) from error
        if not got:
            raise StorageError(
                f"{path} ends before its frame {first + count - 1} does: it was cut short after it "
                "was opened. Restore it from a copy."
            )

    def _check_sizes(self) -> None:
        last = np.full(len(self._paths), -1, np.int64)
        np.maximum.at(last, self._file_numbers, self._offsets)
        for path, offset in zip(self._paths, last, strict=True):
            size = path.stat().st_size
            if offset >= 0 and size < offset + self._frame_bytes:
                raise StorageError(
                    f"{path} is cut short: its last image ends at byte "
                    f"{offset + self._frame_bytes}, the file has {size}; copy it again, or leave it "
                    "out."
                )


class _OpenFile:
    """At most one open file: reading goes from file to file."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._path: Path | None = None
        self._descriptor = -1

    def descriptor(self, path: Path) -> int:
        if path is not self._path:
            self.close()
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._path = path
        return self._descriptor

    def close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)
            self._path = None


def _read_fully(descriptor: int, buffers: list[memoryview | bytearray], position: int) -> bool:
    """Fill all buffers from one place in a file; False when it ends before."""
    wanted = sum(len(buffer) for buffer in buffers)
    got = os.preadv(descriptor, buffers, position)
    while got < wanted:  # more than 2 GiB, or a signal
        passed, rest = 0, []
        for buffer in buffers:
            if passed + len(buffer) > got:
                rest.append(memoryview(buffer)[max(0, got - passed) :])
            passed += len(buffer)
        more = os.preadv(descriptor, rest, position + got)
        if more == 0:
            return False
        got += more
    return True
