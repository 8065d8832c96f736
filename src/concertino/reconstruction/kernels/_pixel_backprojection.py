"""Compiled back projection of filtered rows, slices innermost in memory.

Four projections are added at a time, so that a pixel's slices are loaded and stored once for four
pairs of detector pixels. (numba's cache on disk watches this file only, not `_llvm_vector.py`.)
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from concertino.runtime._code_cache import keep_compiled_code

from ._llvm_vector import FLOAT, VectorBuilder

keep_compiled_code(__file__)

AT_ONCE = 4
_TILE_X, _TILE_Y = 32, 16


@intrinsic
def _add_four(
    typingctx: Any,
    pixel: Any,
    first: Any,
    second: Any,
    third: Any,
    fourth: Any,
    shares: Any,
    stride: Any,
    lanes: Any,
) -> Any:
    """Add four linear interpolations between neighbouring detector pixels to a pixel's slices.

    `shares` points at the four shares of the right neighbours, `stride` floats apart.
    """
    signature = types.void(*[types.uintp] * 7, lanes)
    count = lanes.count

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        emit = VectorBuilder(builder)
        vector = ir.VectorType(FLOAT, count)
        total = emit.load(args[0], 0, vector)
        share_at = args[5]
        for place in args[1:5]:
            share = emit.load(share_at, 0, FLOAT)
            rest = builder.fsub(ir.Constant(FLOAT, 1.0), share)
            total = emit.fma(emit.splat(rest, count), emit.load(place, 0, vector), total)
            right = emit.load(place, 4 * count, vector)
            total = emit.fma(emit.splat(share, count), right, total)
            share_at = builder.add(share_at, args[6])
        emit.store(total, args[0])
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True, cache=True, error_model="numpy")
def accumulate(rows, lines, origin, steps, image, first_row, last_row, lanes):  # type: ignore[no-untyped-def]
    """Add filtered rows to the image rows [first_row, last_row).

    Parameters
    ----------
    rows
        float32, (projection, place, lane); a multiple of `AT_ONCE` projections.
    lines
        float64, (projection, 2): cosine and sine.
    origin
        float64, (projection,): place of the image's pixel (0, 0).
    steps
        (step of the columns, step of the rows) in px.
    image
        float32, (row, column, lane).
    lanes
        tuple of int; only its length matters.
    """
    columns = image.shape[1]
    lane_bytes = np.uintp(4 * len(lanes))
    row_bytes = np.uintp(rows.shape[1]) * lane_bytes
    highest = np.float32(rows.shape[1] - 2)
    rows_at, image_at = np.uintp(rows.ctypes.data), np.uintp(image.ctypes.data)
    offsets = np.empty((AT_ONCE, _TILE_X), np.uint32)
    shares = np.empty((AT_ONCE, _TILE_X), np.float32)
    shares_at, share_stride = np.uintp(shares.ctypes.data), np.uintp(4 * _TILE_X)
    for top in range(first_row, last_row, _TILE_Y):
        for left in range(0, columns, _TILE_X):
            wide = min(_TILE_X, columns - left)
            for projection in range(0, rows.shape[0], AT_ONCE):
                one = rows_at + np.uintp(projection) * row_bytes
                two = one + row_bytes
                three = two + row_bytes
                four = three + row_bytes
                for row in range(top, min(top + _TILE_Y, last_row)):
                    for i in range(AT_ONCE):
                        along = np.float32(lines[projection + i, 0] * steps[0])
                        begin = np.float32(
                            origin[projection + i]
                            + left * steps[0] * lines[projection + i, 0]
                            - row * steps[1] * lines[projection + i, 1]
                        )
                        for column in range(wide):
                            place = begin + np.float32(column) * along
                            place = min(max(place, np.float32(0)), highest)
                            whole = np.int32(place)
                            offsets[i, column] = np.uint32(whole) * np.uint32(lane_bytes)
                            shares[i, column] = place - np.float32(whole)
                    pixel = image_at + np.uintp(row * columns + left) * lane_bytes
                    for column in range(wide):
                        _add_four(  # type: ignore[call-arg]
                            pixel,
                            one + np.uintp(offsets[0, column]),
                            two + np.uintp(offsets[1, column]),
                            three + np.uintp(offsets[2, column]),
                            four + np.uintp(offsets[3, column]),
                            shares_at + np.uintp(4 * column),
                            share_stride,
                            lanes,
                        )
                        pixel += lane_bytes
