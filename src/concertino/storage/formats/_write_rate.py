"""How fast a data directory takes frames: measured once with a short write, then remembered."""

import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from concertino.storage.disk._space import check_directory, storage_error

from ._image_formats import open_sink

RATES = ".write_rates.json"
_MOST_S = 0.4
_MOST_BYTES = 256 * 2**20
_FEW = 8


@dataclass(frozen=True)
class WriteRate:
    """What a directory takes.

    Parameters
    ----------
    bytes_s : float
        Bytes of pixels per second that come to be on the disk, syncing included.
    end_s : float
        How long it takes to sync a few frames, in seconds: what the end of each stream costs.
    measured : str
        When it was measured.
    """

    bytes_s: float
    end_s: float
    measured: str

    @property
    def source(self) -> str:
        """When and how it was measured, in words."""
        return f"measured on {self.measured} with a short write"


def measured_write_rate(directory: str | os.PathLike[str], shape: tuple[int, int]) -> WriteRate:
    """Return how fast a directory takes frames.

    The first time, frames of 16 bits are really written to it for about half a second, synced and removed.
    The result is kept in the directory, for each shape, in ``.write_rates.json``; without that file it is
    measured anew.

    Parameters
    ----------
    directory
        The data directory; made when it is not there.
    shape
        Of a frame.

    Raises
    ------
    StorageError
        When the directory cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> from concertino.storage import measured_write_rate
    >>> measured_write_rate(tempfile.mkdtemp(), (64, 64)).bytes_s > 0
    True
    """
    root = check_directory(directory)
    kind = f"{shape[0]}x{shape[1]}"
    known = _known(root)
    if kind not in known:
        known[kind] = asdict(_measure(root, shape))
        _keep(root, known)
    return WriteRate(**known[kind])


def _measure(root: Path, shape: tuple[int, int]) -> WriteRate:
    folder = Path(tempfile.mkdtemp(prefix=".write_rate_", dir=root))
    try:
        frame = np.arange(shape[0] * shape[1]).astype(np.uint16).reshape(1, *shape)
        few, _, end_s = _write(folder / "few", frame, frame.nbytes * _FEW)
        size, writing_s, syncing_s = _write(folder / "many", frame, _MOST_BYTES)
        size, seconds = size - few, writing_s + syncing_s - end_s
        rate = size / max(seconds, writing_s, 1e-6)
        return WriteRate(rate, end_s, time.strftime("%Y-%m-%d %H:%M"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, frame: np.ndarray[Any, Any], most: int) -> tuple[int, float, float]:
    """Write frames, and return their bytes and the times of writing and syncing in seconds."""
    sink = open_sink(folder, shape=frame.shape[1:], dtype=frame.dtype)
    try:
        size, began_s = 0, time.perf_counter()
        while size < most and time.perf_counter() - began_s < _MOST_S:
            sink.write(frame, sink.stored)
            size += frame.nbytes
        written_s = time.perf_counter()
        sink.sync()
        return size, written_s - began_s, time.perf_counter() - written_s
    finally:
        sink.close()


def _known(root: Path) -> dict[str, Any]:
    # A file of another version, or half a file, is as good as none.
    with suppress(OSError, ValueError, TypeError):
        known = dict(json.loads((root / RATES).read_text()))
        for value in known.values():
            WriteRate(**value)
        return known
    return {}


def _keep(root: Path, known: dict[str, Any]) -> None:
    try:
        with tempfile.NamedTemporaryFile("w", dir=root, prefix=RATES, delete=False) as file:
            json.dump(known, file, indent=1)
        os.replace(file.name, root / RATES)
    except OSError as error:
        raise storage_error(error, f"keep the write rate in {root / RATES}") from error
