"""The memory of a job is what the formula says."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from concertino import ReconstructionError
from concertino.reconstruction import ReconstructionSettings, Reconstructor, TomogramSeries

PROGRAM = """
import sys
import numpy as np
from concertino.reconstruction import ReconstructionSettings, Reconstructor
def peak():
    # not ru_maxrss, which is handed down from the process that started this one
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
def job(rows, columns, count, tilt):
    settings = ReconstructionSettings(center=columns / 2 - 0.5, threads=2, axis_angle_x=tilt)
    made = Reconstructor(settings, num_projections=count, frame_shape=(rows, columns))
    made.add_darks(np.full((1, rows, columns), 100, np.uint16))
    made.add_flats(np.full((1, rows, columns), 50100, np.uint16))
    frames = np.full((4, rows, columns), 30000, np.uint16)
    for first in range(0, count, 4):
        made.add_projections(frames[: min(4, count - first)], first)
    result = made.finish()
    return made.memory_bytes
rows, columns, count = (int(value) for value in sys.argv[1:4])
tilt = float(sys.argv[4])
job(24, 64, 32, tilt)
before = peak()
expected = job(rows, columns, count, tilt)
print((peak() - before) / expected)
"""


@pytest.mark.parametrize(("shape", "tilt"), [((32, 1024, 400), 0.0), ((384, 384, 40), 0.3)])
def test_memory_is_as_predicted(shape: tuple[int, int, int], tilt: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, shape), str(tilt)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) == pytest.approx(1.0, abs=0.12)


WAYS = {
    "axis given": {"center": 15.5},
    "axis found": {},
    "stripes": {"center": 15.5, "stripe_removal": "normalisation"},
    "general": {"center": 15.5, "axis_angle_x": 0.2},
    "half acquisition": {"center": 6.0, "half_acquisition": True},
}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS.keys())
def test_nothing_large_waits_for_the_cycle_collector(changes: dict[str, Any]) -> None:
    settings = ReconstructionSettings(**changes)
    count = 32
    angles = np.arange(count) * (2 if settings.half_acquisition else 1) * np.pi / count
    gc.collect()
    gc.disable()
    try:
        made = Reconstructor(settings, num_projections=count, frame_shape=(20, 32), angles=angles)
        made.add_projections(np.random.default_rng(1).random((count, 20, 32), np.float32), 0)
        made.slices()
        if not settings.general:
            made.planes()
        result = made.finish()
        rows = made._store.rows.data
        assert rows is not None
        gone: list[Callable[[], Any]] = [
            weakref.ref(made),
            weakref.ref(rows),
            weakref.ref(result.volume),
        ]
        del made, rows, result
        assert [each() for each in gone] == [None] * 3
    finally:
        gc.enable()


def test_a_series_keeps_no_tomogram_that_is_finished() -> None:
    count, number = 16, 3
    series = TomogramSeries(
        ReconstructionSettings(), num_projections=count, frame_shape=(4, 32),
        angles=np.arange(number * count) * np.pi / count,
    )  # fmt: skip
    frames = np.random.default_rng(1).random((count, 4, 32), np.float32)
    gc.collect()
    gc.disable()
    try:
        for tomogram in range(number):
            series.add_projections(frames, tomogram * count)
            alive = weakref.ref(series.newest())
            series.finish_tomogram(tomogram)
            assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("flats", ["before", "after"])
def test_a_series_that_cannot_follow_keeps_to_its_memory(flats: str) -> None:
    count, number, shape, limit = 100, 40, (64, 512), 2**28
    of_a_tomogram = 2 * count * shape[0] * shape[1]
    series = TomogramSeries(
        ReconstructionSettings(center=255.5, slices=(8,), memory_gib=limit / 2**30),
        num_projections=count, frame_shape=shape, keep_rows="all",
        angles=np.arange(number * count) * np.pi / count,
    )  # fmt: skip
    if flats == "before":
        series.add_flats(np.full((1, *shape), 4000, np.uint16))
    frames = np.full((count, *shape), 3000, np.uint16)
    why = (
        "faster than they are reconstructed" if flats == "before" else "before the flats have come"
    )
    added = 0

    def add_all() -> None:
        nonlocal added
        for added in range(number):
            series.add_projections(frames, added * count)

    with pytest.raises(ReconstructionError, match=f"has no memory: .* {why}"):
        add_all()
    assert 3 < added <= limit / of_a_tomogram
    series.add_flats(np.full((1, *shape), 4000, np.uint16))
    assert series.ready(ended=True) == 0
    series.finish_tomogram(0)
    series.add_projections(frames, added * count)  # it has the place of the first one
    with pytest.raises(ReconstructionError, match=f"Tomogram {added + 1} of the series"):
        series.add_projections(frames, (added + 1) * count)
