"""What a line through the volume sees of a projection, element by element, also where rounding decides."""

import numpy as np
import pytest
from numba import njit

from concertino.reconstruction.kernels._aligned import aligned_zeros
from concertino.reconstruction.kernels._interpolate import AT_ONCE
from concertino.reconstruction.kernels._voxel_backprojection import _add_line, _add_straight

COUNT = 3 * AT_ONCE + 5


@njit
def _line(source, slow, fast, steps, near, line, straight):  # type: ignore[no-untyped-def]
    at, line_at = np.uintp(source.ctypes.data), np.uintp(line.ctypes.data)
    stride = np.int32(source.shape[1])
    if straight:
        _add_straight(
            at, stride, slow, fast, steps[1], np.float32(1), near, line_at, 0, len(line), (0,)
        )
    else:
        _add_line(at, stride, slow, fast, np.float32(1), steps, near, line_at, 0, len(line), (0,))


@pytest.mark.parametrize("straight", [True, False], ids=["straight", "bent"])
@pytest.mark.parametrize("step", [1.0, np.nextafter(np.float32(1), 0), 0.9, 0.3, -0.9, -1.0])
@pytest.mark.parametrize("first", [0.0, 0.25, 1 - 2**-20, 1 - 2**-24])
@pytest.mark.parametrize("near", [0, 1])
def test_elements_of_a_line(near: int, first: float, step: float, straight: bool) -> None:
    """Interpolated in double precision, within what single precision can tell."""
    rng = np.random.default_rng(1)
    source = aligned_zeros((12, 8 * AT_ONCE))
    source[:] = rng.random(source.shape)
    slow_step = 0.0 if straight else 0.05
    begin = 2 + first + (COUNT if step < 0 else 0)
    steps = tuple(np.float32(value) for value in (slow_step, step, 0.0))
    line = aligned_zeros((COUNT,))
    _line(source, np.float32(3.4), np.float32(begin), steps, np.int32(near), line, straight)
    places = np.arange(COUNT)
    fast = float(np.float32(begin)) + places * float(steps[1])
    slow = float(np.float32(3.4)) + places * float(steps[0])
    row, column = slow.astype(int), fast.astype(int)
    down, along = slow - row, fast - column
    rows = [
        source[row + i, column] * (1 - along) + source[row + i, column + 1] * along for i in (0, 1)
    ]
    np.testing.assert_allclose(line, rows[0] * (1 - down) + rows[1] * down, atol=2e-5)
