"""The twin's frames in HDF5 files that grow, as NDFileHDF5 of areaDetector writes them."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

#: EPICS counts its seconds from 1990 on.
_EPOCH_S = 631_152_000
_ATTRIBUTES = "/entry/instrument/NDAttributes"
_CHUNK = 16384
_PATIENCE_S = 30.0


class HdfFile:
    """Writes images into one file after another, in a thread of its own; each is open for readers (SWMR).

    Parameters
    ----------
    told : callable
        Called after each image, and when one could not be written, in the writing thread.
    queue_size : int
        Images that may wait; one more is lost.

    Attributes
    ----------
    written, dropped : int
        Images in the present file, and those that found no room to wait.
    error : str
        Why the last one could not be written; empty when nothing is wrong.

    References
    ----------
    NDFileHDF5 of areaDetector's ADCore: https://areadetector.github.io/areaDetector/ADCore/NDFileHDF5.html
    """

    def __init__(self, told: Callable[[], None], queue_size: int = 500) -> None:
        self.written = self.dropped = 0
        self.error = ""
        self._told = told
        self._orders: queue.Queue[Callable[[], None]] = queue.Queue(queue_size)
        self._on = False
        self._path = Path()
        self._most = 0
        self._file: h5py.File | None = None
        self._columns: dict[str, h5py.Dataset] = {}
        threading.Thread(target=self._run, name="HDF5", daemon=True).start()

    def open(self, path: Path, most: int) -> None:
        """Begin a file, which is made when the first image comes, for so many of them; 0 for any number."""
        self.written, self.error = 0, ""
        self._path, self._most, self._on = path, most, True

    def take(self, number: int, end_ns: int, pixels: NDArray[np.uint16]) -> None:
        """Have an image written; in any thread.

        Parameters
        ----------
        number : int
            Its unique number.
        end_ns : int
            End of its exposure, in ns since the epoch.
        pixels : ndarray, shape (height, width), uint16
            In counts.
        """
        if not self._on:
            return
        kept = pixels.copy()
        try:
            self._orders.put_nowait(lambda: self._write(number, end_ns, kept))
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Have readers see what is written; returns when they do."""
        self._do(self._flush)

    def close(self) -> None:
        """End the file; returns when all that waited is in it."""
        self._on = False
        self._do(self._close)

    def _do(self, work: Callable[[], None]) -> None:
        done = threading.Event()

        def ordered() -> None:
            try:
                work()
            finally:
                done.set()

        self._orders.put(ordered, timeout=_PATIENCE_S)
        done.wait(_PATIENCE_S)

    def _run(self) -> None:
        while True:
            order = self._orders.get()
            try:
                order()
            except (
                OSError,
                RuntimeError,
                ValueError,
            ) as error:  # a full disk, a directory that is gone
                self.error = " ".join(str(error).split())
                self._told()

    def _write(self, number: int, end_ns: int, pixels: NDArray[np.uint16]) -> None:
        if self._most and self.written >= self._most:
            return
        if self._file is None:
            self._make(pixels)
        seconds, nanoseconds = divmod(end_ns, 10**9)
        seconds -= _EPOCH_S
        values: dict[str, Any] = {
            "/entry/data/data": pixels,
            f"{_ATTRIBUTES}/NDArrayUniqueId": number,
            f"{_ATTRIBUTES}/NDArrayTimeStamp": seconds + nanoseconds * 1e-9,
            f"{_ATTRIBUTES}/NDArrayEpicsTSSec": seconds,
            f"{_ATTRIBUTES}/NDArrayEpicsTSnSec": nanoseconds,
        }
        for name, value in values.items():
            column = self._columns[name]
            column.resize(self.written + 1, axis=0)
            column[self.written] = value
        self.written += 1
        self._told()

    def _make(self, pixels: NDArray[np.uint16]) -> None:
        file = h5py.File(self._path, "w", libver="latest")
        height, width = pixels.shape
        self._columns = {
            "/entry/data/data": file.create_dataset(
                "/entry/data/data", (0, height, width), pixels.dtype,
                maxshape=(None, height, width), chunks=(1, height, width),
            )
        }  # fmt: skip
        for attribute, kind in (
            ("UniqueId", "i4"), ("TimeStamp", "f8"), ("EpicsTSSec", "u4"), ("EpicsTSnSec", "u4"),
        ):  # fmt: skip
            name = f"{_ATTRIBUTES}/NDArray{attribute}"
            self._columns[name] = file.create_dataset(
                name, (0,), kind, maxshape=(None,), chunks=(_CHUNK,)
            )
        file.swmr_mode = True
        self._file = file

    def _flush(self) -> None:
        for column in self._columns.values():
            column.flush()

    def _close(self) -> None:
        file, self._file, self._columns = self._file, None, {}
        if file is not None:
            file.close()
