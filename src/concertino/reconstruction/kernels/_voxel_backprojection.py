"""Compiled back projection of filtered projections onto a volume, in any geometry.

The volume is cut into tiles whose shadow on a projection stays in the cache. In a tile positions on the
detector are counted from the corner of its shadow, so that single precision is enough. (numba's cache
on disk watches this file only, not `_interpolate.py`.)
"""

import numpy as np
from numba import njit

from concertino.runtime._code_cache import keep_compiled_code

from ._interpolate import AT_ONCE, INSTRUCTIONS, NEAR_COUNTS, add_piece, add_straight_piece

keep_compiled_code(__file__)

_PICKS = bool(INSTRUCTIONS)
_STRAIGHT = 1e-3  # detector elements by which a line may drift within a tile and count as straight
_ONE = 1 + 1e-6  # detector elements between neighbours that are still near, with what rounding adds

_LOWEST = 0.5  # place of the detector's edge, the repeated element being at 0
_NEAREST = 1e-6  # depth, 1 at the axis, from which on something is in front of the source


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _visible(begin, slope, lowest, highest, count):  # type: ignore[no-untyped-def]
    """Elements [first, last) of a line that are in front of the source and on the detector."""
    low, high = 0.0, count - 1.0
    for condition in range(5):
        axis = condition >> 1
        if condition == 4:
            value, change = begin[2] - _NEAREST, slope[2]
        elif condition & 1:
            value = highest[axis] * begin[2] - begin[axis]
            change = highest[axis] * slope[2] - slope[axis]
        else:
            value = begin[axis] - lowest[axis] * begin[2]
            change = slope[axis] - lowest[axis] * slope[2]
        if abs(change) < 1e-12:
            if value < 0:
                return 0, 0
        elif change > 0:
            low = max(low, -value / change)
        else:
            high = min(high, -value / change)
    if not low <= high:
        return 0, 0
    return int(np.ceil(low)), int(np.floor(high)) + 1


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _shadow(matrix, start, size, box):  # type: ignore[no-untyped-def]
    """Fill `box` with lowest and highest place of a tile per axis; return its least depth.

    Where that is not in front of the source `box` is undefined.
    """
    nearest = np.inf
    box[0, 0] = box[1, 0] = np.inf
    box[0, 1] = box[1, 1] = -np.inf
    for corner in range(8):
        i = start[0] + (corner & 1) * (size[0] - 1)
        j = start[1] + ((corner >> 1) & 1) * (size[1] - 1)
        k = start[2] + (corner >> 2) * (size[2] - 1)
        depth = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
        nearest = min(nearest, depth)
        for axis in range(2):
            place = (
                matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k + matrix[axis, 3]
            ) / depth
            box[axis, 0], box[axis, 1] = min(box[axis, 0], place), max(box[axis, 1], place)
    return nearest


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _add_line(source_at, stride, slow, fast, depth, steps, near, line_at, first, last, depths):  # type: ignore[no-untyped-def]
    """Add a projection to the elements [first, last) of a line."""
    k = first
    while k + AT_ONCE <= last:
        t = np.float32(k)
        add_piece(
            line_at + np.uintp(4 * k), source_at, stride,
            slow + t * steps[0], steps[0], fast + t * steps[1], steps[1],
            depth + t * steps[2], steps[2], near, np.int32(AT_ONCE), depths, (0, 0),  # type: ignore[call-arg]
        )  # fmt: skip
        k += AT_ONCE
    if k < last:
        t = np.float32(k)
        add_piece(
            line_at + np.uintp(4 * k), source_at, stride,
            slow + t * steps[0], steps[0], fast + t * steps[1], steps[1],
            depth + t * steps[2], steps[2], near, np.int32(last - k), depths, (0,),  # type: ignore[call-arg]
        )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _add_straight(source_at, stride, slow, fast, step, depth, near, line_at, first, last, depths):  # type: ignore[no-untyped-def]
    """The same where the whole line sees two slow elements."""
    scale = np.float32(1.0)
    if len(depths) == 2:
        inverse = np.float32(1.0) / depth
        slow, fast, step, scale = slow * inverse, fast * inverse, step * inverse, inverse * inverse
    whole = np.int32(slow)
    share = slow - np.float32(whole)
    source_at += np.uintp(4 * whole * stride)
    beside_at = source_at + np.uintp(4 * stride)
    keep, share = (np.float32(1.0) - share) * scale, share * scale
    k = first
    while k + AT_ONCE <= last:
        add_straight_piece(
            line_at + np.uintp(4 * k), source_at, beside_at, keep, share,
            fast + np.float32(k) * step, step, near, np.int32(AT_ONCE), (0, 0),  # type: ignore[call-arg]
        )  # fmt: skip
        k += AT_ONCE
    if k < last:
        add_straight_piece(
            line_at + np.uintp(4 * k), source_at, beside_at, keep, share,
            fast + np.float32(k) * step, step, near, np.int32(last - k), (0,),  # type: ignore[call-arg]
        )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _trace_tile(source_at, stride, matrix, highest, volume_at, strides, start, size, box, depths):  # type: ignore[no-untyped-def]
    """Add one projection to one tile."""
    nearest = _shadow(matrix, start, size, box)
    before = nearest > _NEAREST
    inside, corner = before, np.zeros(2)
    if before:
        for axis in range(2):
            if box[axis, 1] < _LOWEST or box[axis, 0] > highest[axis]:
                return
            inside = inside and box[axis, 0] >= _LOWEST and box[axis, 1] <= highest[axis]
            corner[axis] = np.floor(min(max(box[axis, 0], 0.0), highest[axis]))
    local = np.empty((3, 4))
    for axis in range(3):
        local[axis] = matrix[axis]
        for other in range(3):
            local[axis, 3] += matrix[axis, other] * start[other]
    corner[1] = corner[1] // AT_ONCE * AT_ONCE
    for axis in range(2):
        local[axis] -= corner[axis] * local[2]
    before_it = (_LOWEST - corner[0], _LOWEST - corner[1])
    beyond_it = (highest[0] - corner[0], highest[1] - corner[1])
    source_at += np.uintp(4 * (int(corner[0]) * stride + int(corner[1])))
    slope = (local[0, 2], local[1, 2], local[2, 2])
    steps = (np.float32(slope[0]), np.float32(slope[1]), np.float32(slope[2]))
    reach = box[0, 1] - box[0, 0] + 1.0
    drift = (abs(slope[0]) + reach * abs(slope[2])) * size[2]
    straight = before and drift < _STRAIGHT * nearest and abs(slope[2]) * size[2] < 1e-6 * nearest
    straight = _PICKS and straight and abs(slope[1]) <= 2 * nearest
    near = np.int32(0)
    if NEAR_COUNTS and before:
        apart = abs(slope[1]) + (box[1, 1] - corner[1]) * abs(slope[2])
        near = np.int32(apart <= _ONE * nearest)
    first, last = 0, size[2]
    for i in range(size[0]):
        row = (
            local[0, 0] * i + local[0, 3],
            local[1, 0] * i + local[1, 3],
            local[2, 0] * i + local[2, 3],
        )
        line_at = volume_at + np.uintp(
            4 * ((start[0] + i) * strides[0] + start[1] * strides[1] + start[2])
        )
        for j in range(size[1]):
            slow = row[0] + local[0, 1] * j
            fast = row[1] + local[1, 1] * j
            depth = row[2] + local[2, 1] * j if len(depths) == 2 else 1.0
            if not inside:
                first, last = _visible((slow, fast, depth), slope, before_it, beyond_it, size[2])
            if straight:
                _add_straight(
                    source_at, stride, np.float32(slow), np.float32(fast), steps[1],
                    np.float32(depth), near, line_at, first, last, depths,
                )  # fmt: skip
            else:
                _add_line(
                    source_at, stride, np.float32(slow), np.float32(fast), np.float32(depth),
                    steps, near, line_at, first, last, depths,
                )  # fmt: skip
            line_at += np.uintp(4 * strides[1])


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def trace(projections, shape, matrices, volume, extent, strides, tile, row, depths):  # type: ignore[no-untyped-def]
    """Add projections to one row of tiles of a volume.

    Parameters
    ----------
    projections
        float32, (projection, slow + 2, fast + 2): what is measured, with its edges repeated, so that
        each element is seen as far as half a step beyond its middle. There are at least three times
        `AT_ONCE` elements more in memory after the last.
    shape
        (slow, fast): measured elements of the detector along its axes.
    matrices
        float64, (projection, 3, 4), from indices (i, j, k, 1) of the volume to (slow * w, fast * w, w)
        on the detector; measured elements begin at 1.
    volume
        float32, all elements in one dimension.
    extent, strides
        Three int, two int: size of the volume along i, j, k; elements between neighbours along i and
        j; along k they are neighbours in memory.
    tile, row
        Three int: size of a tile; int: which of them along i.
    depths
        tuple of int; of length 2 for a point source: divide by the square of the depth.
    """
    highest = (shape[0] + 0.5, shape[1] + 0.5)
    box = np.empty((2, 2))
    stride = np.int32(projections.shape[2])
    projection_bytes = np.uintp(4 * projections.shape[1] * projections.shape[2])
    projections_at, volume_at = np.uintp(projections.ctypes.data), np.uintp(volume.ctypes.data)
    i = row * tile[0]
    for j in range(0, extent[1], tile[1]):
        for k in range(0, extent[2], tile[2]):
            start = (i, j, k)
            size = (
                min(tile[0], extent[0] - i),
                min(tile[1], extent[1] - j),
                min(tile[2], extent[2] - k),
            )
            for index in range(projections.shape[0]):
                _trace_tile(
                    projections_at + np.uintp(index) * projection_bytes, stride, matrices[index],
                    highest, volume_at, strides, start, size, box, depths,
                )  # fmt: skip
