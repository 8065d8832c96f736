"""The memory of a job is what the formula says."""

import subprocess
import sys

import pytest

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
