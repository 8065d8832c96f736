"""Compiled spreading of radial spectra onto a Cartesian Fourier grid.

Slices lie innermost in memory, in pairs as the real and imaginary parts of complex numbers, so that
one point of one projection touches one short vector per grid cell. The vector instructions are
emitted as LLVM IR, which needs no compiler and becomes AVX2, AVX-512 or NEON as the machine has it.
The number of slices and the width of the kernel reach the code through the *types* of two tuples:
their lengths. numba's cache on disk watches this file only: a change of `_llvm_vector.py` that changes
the code needs a change here too.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from concertino.runtime._code_cache import keep_compiled_code

from ._llvm_vector import FLOAT, VectorBuilder

keep_compiled_code(__file__)

_SHIFT, _MASK = np.uintp(6), np.uintp(63)  # of the 64 frequencies of `_gridding.PHASE_BLOCK`
_FREQUENCY_BLOCK = 128
_STRIDE = 8


@intrinsic
def _spread_rows(
    typingctx: Any,
    point: Any,
    real: Any,
    imaginary: Any,
    cell: Any,
    row_stride: Any,
    taps_x: Any,
    taps_y: Any,
    lanes: Any,
    taps: Any,
    rows: Any,
) -> Any:
    """Add (point * factor) times the kernel to `rows` rows of `taps` cells from `cell` on.

    The cells of a row are neighbours in memory: each row is one wide vector.
    """
    signature = types.void(
        types.uintp, types.float32, types.float32, types.uintp, types.uintp, types.uintp,
        types.uintp, lanes, taps, rows,
    )  # fmt: skip
    count, width, height = lanes.count, taps.count, rows.count

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        emit = VectorBuilder(builder)
        value = emit.load(args[0], 0, ir.VectorType(FLOAT, count))
        value = emit.complex_product(value, args[1], args[2])
        across = emit.load(args[5], 0, ir.VectorType(FLOAT, width))
        weighted = builder.fmul(
            emit.shuffled(value, list(range(count)) * width),
            emit.shuffled(across, [tap for tap in range(width) for _ in range(count)]),
        )
        cells = args[3]
        for down in range(height):
            weight = emit.splat(emit.load(args[6], 4 * down, FLOAT), count * width)
            emit.store(emit.fma(weighted, weight, emit.load(cells, 0, weighted.type)), cells)
            cells = builder.add(cells, args[4])
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True, cache=True, error_model="numpy")
def _frequencies_in_band(slope, middle, low, high, limit):  # type: ignore[no-untyped-def]
    """Frequencies k, |k| <= limit, with low <= middle - k * slope <= high; [first, last)."""
    if abs(slope) * limit < 0.25:
        inside = low - 1.0 <= middle <= high + 1.0
        return (-limit, limit + 1) if inside else (0, 0)
    one, other = (middle - low) / slope, (middle - high) / slope
    first = max(-limit, int(np.floor(max(min(one, other), -1e9))) - 1)
    last = min(limit, int(np.ceil(min(max(one, other), 1e9))) + 1)
    return first, last + 1


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def spread(  # type: ignore[no-untyped-def]
    spectra, slopes, coarse, fine, response, weights, limit, table, grid, middle_y, band, lanes,
    taps, one,
):  # fmt: skip
    """Add a block of radial spectra to the rows [band[0], band[1]) of a grid.

    Each cell receives its contributions in the same order whatever the bands are.

    Parameters
    ----------
    spectra
        float32, (projection, frequency, lane), in the order of `fftfreq`.
    slopes
        float64, (projection, 2): grid cells per frequency along columns and against rows.
    coarse, fine
        complex64, (projection, ...): factors of the phase that moves the axis to the origin, at
        every 64th frequency from the lowest, and at the 64 offsets from there.
    response
        float32, (frequency,): the filter.
    weights
        float32, (projection,).
    limit
        int: the highest frequency to spread.
    table
        float32, (position, tap): the spreading kernel.
    grid
        float32, (row, column, lane).
    middle_y
        int: the row of frequency 0.
    band
        int64, (2,).
    lanes, taps, one
        tuples of int; only their lengths (slices, kernel width, 1) matter.
    """
    width = spectra.shape[1]
    columns = grid.shape[1]
    middle_x = columns // 2
    lane_count, tap_count = len(lanes), len(taps)
    half_taps = 0.5 * tap_count
    steps = table.shape[0] - 1
    spectra_at = np.uintp(spectra.ctypes.data)
    grid_at = np.uintp(grid.ctypes.data)
    table_at = np.uintp(table.ctypes.data)
    point_bytes, tap_bytes = np.uintp(4 * lane_count), np.uintp(4 * tap_count)
    row_bytes = np.uintp(columns) * point_bytes
    first_row, last_row = band[0], band[1]
    half = width // 2
    for start in range(-limit, limit + 1, _FREQUENCY_BLOCK):
        stop = min(start + _FREQUENCY_BLOCK, limit + 1)
        for projection in range(spectra.shape[0]):
            line = np.uintp(projection)
            slope_x, slope_y = slopes[projection, 0], slopes[projection, 1]
            low, high = _frequencies_in_band(
                slope_y, middle_y, first_row - half_taps - 1, last_row + half_taps, limit
            )
            weight = weights[projection]
            begin, end = max(start, low), min(stop, high)
            # neighbours on a line share cells, and would wait for each other's stores
            for turn in range(_STRIDE):
                # which frequency has which turn must not depend on the band
                for k in range(begin + (turn + start - begin) % _STRIDE, end, _STRIDE):
                    y = middle_y - k * slope_y
                    row = int(np.ceil(y - half_taps))
                    if row >= last_row or row + tap_count <= first_row:
                        continue
                    x = k * slope_x + middle_x
                    column = int(np.ceil(x - half_taps))
                    step_x = np.uintp(int((column - x + half_taps) * steps + 0.5))
                    step_y = np.uintp(int((row - y + half_taps) * steps + 0.5))
                    index = np.uintp(k + width if k < 0 else k)
                    place = np.uintp(k + half)
                    phase = coarse[line, place >> _SHIFT] * fine[line, place & _MASK]
                    scale = response[index] * weight
                    point = spectra_at + (line * np.uintp(width) + index) * point_bytes
                    taps_x = table_at + step_x * tap_bytes
                    taps_y = table_at + step_y * tap_bytes
                    cell = grid_at + np.uintp(row * columns + column) * point_bytes
                    real, imaginary = phase.real * scale, phase.imag * scale
                    if row >= first_row and row + tap_count <= last_row:
                        _spread_rows(  # type: ignore[call-arg]
                            point, real, imaginary, cell, row_bytes, taps_x, taps_y, lanes, taps,
                            taps,
                        )  # fmt: skip
                    else:
                        for tap in range(max(0, first_row - row), min(tap_count, last_row - row)):
                            _spread_rows(  # type: ignore[call-arg]
                                point, real, imaginary, cell + np.uintp(tap) * row_bytes, row_bytes,
                                taps_x, taps_y + np.uintp(4 * tap), lanes, taps, one,
                            )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def unpack(image, lane, places, across, down, scale, target, first):  # type: ignore[no-untyped-def]
    """Undo the spreading kernel and store a lane of some columns in a slice.

    Parameters
    ----------
    image
        float32, (row, column, lane): all rows of the columns from `first` on.
    lane
        int: which one.
    places
        int64: where each row of the slice stands in `image`.
    across, down
        float32: correction of each column and row.
    scale
        float32.
    target
        float32, (row, column): the slice.
    first
        int: column of the slice where the columns of `image` begin.
    """
    for row in range(target.shape[0]):
        source = image[places[row]]
        factor = scale * down[row]
        for column in range(image.shape[1]):
            target[row, first + column] = source[column, lane] * (factor * across[first + column])
