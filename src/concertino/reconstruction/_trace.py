"""Compiled back projection of filtered projections onto a volume, in any geometry.

Volume and projections have their vertical direction innermost in memory. Where a vertical line of
the volume is seen in one detector column, which is so in the upright, the laminographic and the
aligned cone-beam geometry, the column is found once for the whole line.
"""

import numpy as np
from numba import njit


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
def _straight(one, other, share, begin, slope, first, last, scale, line):  # type: ignore[no-untyped-def]
    """Add the interpolation between two detector columns to part of a vertical line."""
    start, step = np.float32(begin), np.float32(slope)
    rest = (np.float32(1.0) - share) * scale
    share = share * scale
    for i in range(first, last):
        place = start + np.float32(i) * step
        row = np.uintp(np.int32(place))
        part = place - np.float32(np.int32(place))
        low = rest * one[row] + share * other[row]
        high = rest * one[row + np.uintp(1)] + share * other[row + np.uintp(1)]
        line[i] += low + part * (high - low)


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
                scale = np.float32(1.0 / (begin[2] * begin[2])) if weighted else np.float32(1.0)
                _straight(
                    projections[index, whole], projections[index, whole + 1],
                    np.float32(across - whole), start, step, first, last, scale, line,
                )  # fmt: skip
