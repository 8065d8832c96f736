"""How fast stored frames are read, beside one plain read of the same bytes.

Files are read from the page cache, into memory that is at hand. Run ``python benchmarks/image_sources.py``.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray

from concertino.storage import open_images


def write_sources(directory: Path, stack: NDArray[Any]) -> dict[str, str]:
    """Write the frames in each layout and return what to open."""
    (directory / "files").mkdir()
    for index, image in enumerate(stack):
        tifffile.imwrite(directory / "files" / f"frame_{index:06d}.tif", image)
    with tifffile.TiffWriter(directory / "pages.tif") as writer:
        for image in stack:
            writer.write(image, contiguous=False)
    with h5py.File(directory / "stack.h5", "w") as file:
        file["contiguous"] = stack
        file.create_dataset("chunked", data=stack, chunks=(1, *stack.shape[1:]))
    stack.tofile(directory / "plain.raw")
    return {
        "one a file": str(directory / "files"),
        "pages": str(directory / "pages.tif"),
        "HDF5": f"{directory}/stack.h5:contiguous",
        "HDF5 chunks": f"{directory}/stack.h5:chunked",
    }


def frames_per_second(read: Callable[[int, int], object], count: int, repeat: int) -> float:
    """Return the median rate at which batches of 16 are read."""
    rates = []
    for _ in range(repeat):
        begin = time.perf_counter()
        for start in range(0, count, 16):
            read(start, min(start + 16, count))
        rates.append(count / (time.perf_counter() - begin))
    return statistics.median(rates)


def main() -> None:
    """Print frames/s, and how long opening takes, for each layout and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 2048])
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    for size in arguments.sizes:
        count = max(16, arguments.megabytes * 10**6 // (2 * size * size))
        stack = np.random.default_rng(0).integers(0, 2**16, (count, size, size), np.uint16)
        out = np.zeros((16, size, size), np.uint16)
        with tempfile.TemporaryDirectory() as name:
            sources = write_sources(Path(name), stack)
            plain = os.open(Path(name) / "plain.raw", os.O_RDONLY)

            def read_plain(start: int, stop: int) -> None:
                os.preadv(plain, [out[: stop - start]], start * out[0].nbytes)  # noqa: B023

            rate = frames_per_second(read_plain, count, arguments.repeat)
            print(f"{size:>5} {'plain read':>12} {rate:>8.0f} frames/s")
            os.close(plain)
            for layout, source in sources.items():
                begin = time.perf_counter()
                images = open_images(source)
                opening = time.perf_counter() - begin

                def read(start: int, stop: int) -> None:
                    images.read(start, stop, out=out[: stop - start])  # noqa: B023

                rate = frames_per_second(read, count, arguments.repeat)
                print(
                    f"{size:>5} {layout:>12} {rate:>8.0f} frames/s, opened {count} in "
                    f"{1000 * opening:.1f} ms"
                )
                images.close()


if __name__ == "__main__":
    main()
