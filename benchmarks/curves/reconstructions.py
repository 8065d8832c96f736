"""Growth where stored scans are reconstructed: parts, limits, tomograms, slices, values, columns."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from concertino.batch import reconstruct_run, sweep_run
from concertino.callbacks import ImageWriter
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.storage import open_run

from .meters import Meter, in_use, loop_beside, status
from .scans import ComputedReadings, session_in, tomography


def stored(directory: Path, size: int, count: int) -> Any:
    """Store a scan of two cylinders, with noise; the axis is in the middle."""
    place = np.arange(size) - (size - 1) / 2
    chords = sum(
        2 * np.sqrt(np.clip((share * size) ** 2 - place**2, 0, None)) for share in (0.1, 0.3)
    )
    noise = np.random.default_rng(1).integers(0, 100, (16, size, size))
    images = (100 + 3800 * np.exp(-chords / size) + noise).astype(np.uint16)
    with session_in(directory) as session:
        session.subscribe(ImageWriter(bytes_per_file=2**28))
        session.RE(tomography(images, count, 200.0))
    return open_run("scan_0001", directory)


def _reconstructed(
    run: Any, directory: Path, loop: Any, held: int, pieces: int = 1, **settings: Any
) -> tuple[int, dict[str, float]]:
    """Reconstruct a run; return the number of parts, and figures."""
    asked = ReconstructionSettings(**settings)
    with Meter(loop, held) as meter:
        made = reconstruct_run(run, asked, output="hdf5", directory=directory / "out")
    figures = meter.figures(pieces)
    if asked.memory_gib is not None:
        peak = 1e6 * figures["memory_mb"] + held
        figures["peak_over_limit"] = peak / (asked.memory_gib * 2**30)
    return made.parts, figures


def _warm(run: Any, directory: Path, loop: Any, **settings: Any) -> int:
    """Load what a reconstruction needs; return the memory that the process has then."""
    _reconstructed(run, directory, loop, 0, slices=(0, 1), **settings)
    return in_use()


def parts(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow the slices of a batch whose memory is limited, and so its parts."""
    size, count, limit = (1024, 800, 1.0) if large else (512, 200, 0.6)
    run, found = stored(directory, size, count), ComputedReadings()
    known = {"center": (size - 1) / 2, "memory_gib": limit}
    with loop_beside() as loop:
        held = _warm(run, directory, loop, **known)
        for slices in sizes:
            number, figures = _reconstructed(
                run, directory, loop, held, int(slices), slices=tuple(range(int(slices))), **known
            )
            found.append((number, figures))
    return found


def limits(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Lower the limit of memory of one batch; the parts are what grows."""
    size, count = (1024, 400) if large else (512, 200)
    run, found = stored(directory, size, count), ComputedReadings()
    with loop_beside() as loop:
        held = _warm(run, directory, loop, center=(size - 1) / 2)
        for limit in sizes:
            number, figures = _reconstructed(
                run, directory, loop, held, size, center=(size - 1) / 2, memory_gib=limit
            )
            found.append((number, figures))
    return found


def tomograms(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow the number of reconstructions in one process."""
    run, found = stored(directory, 512, 200), ComputedReadings()
    known: dict[str, Any] = {"center": 255.5, "memory_gib": 0.75}
    with loop_beside() as loop:
        held = _warm(run, directory, loop, **known)
        for number in range(1, int(max(sizes)) + 1):
            _, figures = _reconstructed(run, directory, loop, held, **known)
            if number in sizes:
                found.append((number, figures))
    return found


def slices(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow the slices of a batch."""
    size, found = (1024 if large else 512), ComputedReadings()
    run, middle = stored(directory, size, 400), (size - 1) / 2
    with loop_beside() as loop:
        held = _warm(run, directory, loop, center=middle)
        for count in map(int, sizes):
            _, figures = _reconstructed(
                run, directory, loop, held, count, center=middle, slices=tuple(range(count))
            )
            found.append((count, figures))
    return found


def values(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow the values of a sweep; beside each, a batch of as many slices."""
    size, found = (1024 if large else 512), ComputedReadings()
    run, middle = stored(directory, size, 400), (size - 1) / 2
    with loop_beside() as loop:
        held = _warm(run, directory, loop, center=middle)
        for count in map(int, sizes):
            region = (middle - 8, middle + 8, 16 / count)
            with Meter(loop, held) as meter:
                sweep_run(run, "center", region, directory=directory / "out")
            figures = meter.figures(count)
            _, batch = _reconstructed(
                run, directory, loop, held, count, center=middle, slices=tuple(range(count))
            )
            figures["cpu_over_batch"] = figures["cpu_ms"] / batch["cpu_ms"]
            found.append((count, figures))
    return found


def columns(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow the width of one slice."""
    found, held = ComputedReadings(), 0
    with loop_beside() as loop:
        for size in [16, *map(int, sizes)]:  # the first has its compiled code loaded
            rows = np.random.default_rng(0).random((64, 1, size), np.float32)
            made = Reconstructor(
                ReconstructionSettings(center=(size - 1) / 2),
                num_projections=64,
                frame_shape=(1, size),
            )
            with Meter(loop, held) as meter:
                began_s = time.process_time()
                made.add_projections(rows, 0)
                made.finish()
                spent_s = time.process_time() - began_s
            if held:
                each_ns = 1e9 * spent_s / (size**2 * math.log2(size))
                found.append((size, meter.figures() | {"cpu_ns": each_ns}))
            del made, rows
            held = held or status("VmRSS")
    return found
