"""How fast images become TIFF files, beside a plain write of the same bytes.

Nothing is synced: what is measured is the way into the page cache. Run ``python benchmarks/tiff.py``.

Two things would spoil the figures and are kept out. A virtual machine gets memory from its host when a
page is touched first, at 0.6 GB/s where these figures were taken, and gives it back seconds after it is freed: so
as much memory as will be written is touched just before. And ext4 steps over inodes that were deleted in the
last minutes, one by one (1 ms a file after 3,000 deletions): so nothing is deleted before the end; use
another ``--directory`` for the next five minutes.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.storage import open_sink


def plain(directory: Path, frames: NDArray[Any], total: int) -> None:
    """Write the bytes to one file, a system call a frame."""
    file = os.open(directory / "plain.raw", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    for index in range(total):
        os.write(file, frames[index % len(frames)])
    os.close(file)


def sink(bytes_per_file: int) -> Callable[[Path, NDArray[Any], int], None]:
    """Return what writes batches of all frames at hand to a sink."""

    def write(directory: Path, frames: NDArray[Any], total: int) -> None:
        target = open_sink(
            directory,
            shape=frames.shape[1:],
            dtype=frames.dtype,
            bytes_per_file=bytes_per_file,
            metadata={"run": "6d5c9d2e-0d52-4b4c-9c2f-6e2f1f0d3c11", "stream": "projections"},
        )
        for start in range(0, total, len(frames)):
            target.write(frames[: total - start], start)
        target.close()

    return write


def settle(size: int) -> None:
    """Sync the disk, then have `size` bytes of memory at hand."""
    os.sync()
    np.ones(size, np.uint8)


def main() -> None:
    """Print frames/s, the median of the repetitions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", help="where to write (default: the system's temporary one)")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 2048])
    arguments = parser.parse_args()
    ways = {"plain write": plain, "one a file": sink(0), "1 GB files": sink(10**9)}
    root = Path(tempfile.mkdtemp(dir=arguments.directory))
    print(f"{'frames/s':>12}", *(f"{name:>12}" for name in ways))
    for size in arguments.sizes:
        frames = np.random.default_rng(1).integers(
            0, 2**16, (arguments.batch, size, size), np.uint16
        )
        total = max(arguments.batch, arguments.megabytes * 10**6 // frames[0].nbytes)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for repetition in range(arguments.repeat):  # in turn, so that a disturbance meets all
            for name, way in ways.items():
                directory = root / f"{size} {name} {repetition}"
                directory.mkdir()
                settle(total * frames[0].nbytes)
                begin = time.perf_counter()
                way(directory, frames, total)
                rates[name].append(total / (time.perf_counter() - begin))
        print(f"{size:>12}", *(f"{statistics.median(values):>12.0f}" for values in rates.values()))
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
