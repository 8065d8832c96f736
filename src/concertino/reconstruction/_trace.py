"""Compiled back projection of filtered projections onto a volume, in any geometry.

Volume and projections have their vertical direction innermost in memory. Where a vertical line of
the volume is seen in one detector column, which is so in the upright, the laminographic and the
aligned cone-beam geometry, the column is found once for the whole line. (numba's cache on disk
watches this file only, not `_emit.py`.)
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from ._emit import FLOAT, INT, Emitter

_AT_ONCE = 8


@intrinsic
def _add_eight(typingctx: Any, target: Any, source: Any, start: Any, step: Any) -> Any:
    """Add to eight neighbours what is interpolated at start, start + step, ... of a row."""
    signature = types.void(types.uintp, types.uintp, types.float32, types.float32)

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        emit = Emitter(builder)
        many = ir.VectorType(FLOAT, _AT_ONCE)
        counting = ir.Constant(many, [float(lane) for lane in range(_AT_ONCE)])
        places = emit.fma(counting, emit.splat(args[3], _AT_ONCE), emit.splat(args[2], _AT_ONCE))
        whole = builder.fptosi(places, ir.VectorType(INT, _AT_ONCE))
        parts = builder.fsub(places, builder.sitofp(whole, many))
        pairs = []
        for lane in range(_AT_ONCE):
            index = builder.extract_element(whole, ir.Constant(INT, lane))
            offset = builder.shl(builder.zext(index, args[1].type), ir.Constant(args[1].type, 2))
            # one load brings both neighbours
            pairs.append(emit.load(builder.add(args[1], offset), 0, ir.VectorType(FLOAT, 2)))
        while len(pairs) > 1:
            size = 2 * pairs[0].type.count
            mask = ir.Constant(ir.VectorType(INT, size), list(range(size)))
            pairs = [
                builder.shuffle_vector(pairs[i], pairs[i + 1], mask)
                for i in range(0, len(pairs), 2)
            ]
        low = emit.shuffled(pairs[0], list(range(0, 2 * _AT_ONCE, 2)))
        high = emit.shuffled(pairs[0], list(range(1, 2 * _AT_ONCE, 2)))
        value = emit.fma(parts, builder.fsub(high, low), low)
        emit.store(builder.fadd(emit.load(args[0], 0, many), value), args[0])
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _within(begin, slope, highest, count):  # type: ignore[no-untyped-def]
    """Range of i in [0, count) with 0 <= begin + i * slope <= highest."""
    if abs(slope) < 1e-9:
        return (0, count) if 0 <= begin <= highest else (0, 0)
    one, other = -begin / slope, (highest - begin) / slope
    low, high = min(one, other), max(one, other)
    first = max(0, int(np.ceil(min(max(low, -1.0), count + 1.0))))
    last = min(count, int(np.floor(min(max(high, -1.0), count + 1.0))) + 1)
    return first, max(first, last)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _straight(one, other, share, begin, slope, first, last, scale, mixed, line):  # type: ignore[no-untyped-def]
    """Add the interpolation between two detector columns to part of a vertical line.

    The columns are mixed first, over the rows that are met: that is contiguous.
    """
    start, step = np.float32(begin), np.float32(slope)
    rest, share = (np.float32(1.0) - share) * scale, share * scale
    ends = (start + np.float32(first) * step, start + np.float32(last - 1) * step)
    low, high = int(min(ends[0], ends[1])), int(max(ends[0], ends[1])) + 3
    # one row more than is met by exact numbers: these are rounded.
    # Slices that begin at 0: a loop over an index that might be negative is not vectorised
    left, right = one[low:high], other[low:high]
    blend = mixed[: len(left)]
    for row in range(len(blend)):
        blend[row] = rest * left[row] + share * right[row]
    target = line[first:last]
    if abs(slope - 1.0) < 1e-7:  # each voxel one row further: no gathering
        part = np.float32(begin + first * slope - low)
        whole = int(part)
        part -= np.float32(whole)
        keep = np.float32(1.0) - part
        above, below = blend[whole:], blend[whole + 1 :]
        for i in range(len(target)):
            target[i] += keep * above[i] + part * below[i]
        return
    start = np.float32(begin + first * slope - low)
    target_at, blend_at = np.uintp(target.ctypes.data), np.uintp(blend.ctypes.data)
    together = len(target) // _AT_ONCE * _AT_ONCE
    for i in range(0, together, _AT_ONCE):
        _add_eight(  # type: ignore[call-arg]
            target_at + np.uintp(4 * i), blend_at, start + np.float32(i) * step, step
        )
    for i in range(together, len(target)):
        place = start + np.float32(i) * step
        row = np.int32(place)  # type: ignore[assignment]
        part = place - np.float32(row)
        value = blend[np.uint32(row)]
        target[i] += value + part * (blend[np.uint32(row + 1)] - value)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _slanted(projection, begin, slope, columns, rows, weighted, line):  # type: ignore[no-untyped-def]
    """Add a projection to a vertical line that crosses detector columns."""
    for i in range(len(line)):
        depth = begin[2] + i * slope[2]
        inverse = 1.0 / depth
        across = (begin[0] + i * slope[0]) * inverse
        down = (begin[1] + i * slope[1]) * inverse
        if not (0 <= across <= columns and 0 <= down <= rows and depth > 0):
            continue
        column, row = int(across), int(down)
        a, b = np.float32(across - column), np.float32(down - row)
        left = projection[column, row] * (1 - b) + projection[column, row + 1] * b
        right = projection[column + 1, row] * (1 - b) + projection[column + 1, row + 1] * b
        scale = np.float32(inverse * inverse) if weighted else np.float32(1.0)
        line[i] += scale * (left * (1 - a) + right * a)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def trace(projections, matrices, shape, weighted, volume, first_row, last_row):  # type: ignore[no-untyped-def]
    """Add projections to the image rows [first_row, last_row) of a volume.

    Parameters
    ----------
    projections
        float32, (projection, column + 1, row + 1): one more of each than is measured.
    matrices
        float64, (projection, 3, 4), from voxel indices (column, row, plane, 1) to (column * w, row *
        w, w) of the detector.
    shape
        (columns, rows) that were measured.
    weighted
        bool: divide by the square of the distance from the source.
    volume
        float32, (row, column, plane).
    """
    planes = volume.shape[2]
    last_column, last_detector_row = shape[0] - 1, shape[1] - 1
    begin, slope = np.empty(3), np.empty(3)
    mixed = np.empty(projections.shape[2], np.float32)
    for row in range(first_row, last_row):
        for column in range(volume.shape[1]):
            line = volume[row, column]
            for index in range(projections.shape[0]):
                matrix = matrices[index]
                for axis in range(3):
                    begin[axis] = matrix[axis, 0] * column + matrix[axis, 1] * row + matrix[axis, 3]
                    slope[axis] = matrix[axis, 2]
                drift = abs(slope[0] - begin[0] / begin[2] * slope[2]) * planes
                if abs(slope[2]) > 1e-12 or drift > 1e-3 * abs(begin[2]):
                    _slanted(
                        projections[index], begin, slope, last_column, last_detector_row,
                        weighted, line,
                    )  # fmt: skip
                    continue
                across = begin[0] / begin[2]
                if not (begin[2] > 0 and 0 <= across <= last_column):
                    continue
                whole = int(across)
                start, step = begin[1] / begin[2], slope[1] / begin[2]
                first, last = _within(start, step, last_detector_row, planes)
                if last <= first:
                    continue
                scale = np.float32(1.0 / (begin[2] * begin[2])) if weighted else np.float32(1.0)
                _straight(
                    projections[index, whole], projections[index, whole + 1],
                    np.float32(across - whole), start, step, first, last, scale, mixed, line,
                )  # fmt: skip
