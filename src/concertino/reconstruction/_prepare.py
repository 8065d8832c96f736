"""Compiled step from raw rows to padded, slice-innermost attenuation."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def _mend(line):  # type: ignore[no-untyped-def]
    """Replace what is not finite by the nearest finite values, weighted by distance."""
    columns = len(line)
    last = -1
    column = 0
    while column < columns:
        if np.isfinite(line[column]):
            last = column
            column += 1
            continue
        after = column
        while after < columns and not np.isfinite(line[after]):
            after += 1
        for hole in range(column, after):
            if last < 0 and after >= columns:
                line[hole] = 0.0
            elif last < 0:
                line[hole] = line[after]
            elif after >= columns:
                line[hole] = line[last]
            else:
                share = np.float32(hole - last) / np.float32(after - last)
                line[hole] = line[last] * (np.float32(1.0) - share) + line[after] * share
        column = after


@njit(nogil=True, cache=True, error_model="numpy")
def attenuation(  # type: ignore[no-untyped-def]
    row, dark, gain, logarithm, lowest, mend, line
):
    """Turn one raw row into `line`: (raw - dark) * gain, -log of it, holes mended."""
    columns = len(row)
    for column in range(columns):
        line[column] = (np.float32(row[column]) - dark[column]) * gain[column]
    if logarithm:
        for column in range(columns):
            value = line[column]
            # a comparison with NaN is false, so NaN goes through to be mended
            line[column] = -np.log(lowest if value < lowest else value)
    if mend:
        finite = True
        for column in range(columns):
            if not np.isfinite(line[column]):
                finite = False
                break
        if not finite:
            _mend(line)


@njit(nogil=True, cache=True, error_model="numpy")
def prepare(  # type: ignore[no-untyped-def]
    raw, dark, gain, logarithm, lowest, mend, padding, padded
):
    """Fill `padded` from the rows of `raw`, one in each lane; lanes without a row become zero.

    Parameters
    ----------
    raw
        (projection, row, column), counts or attenuation.
    dark, gain
        float32, (1, row, column) and (projection or 1, row, column).
    logarithm
        bool: take -log of the transmission.
    lowest
        float32: transmission is not taken for lower.
    mend
        bool: replace NaN and infinity.
    padding
        int: 0 zero, 1 edge, 2 mirror.
    padded
        float32, (projection, width, lane), written in full.
    """
    projections, rows, columns = raw.shape
    width, lanes = padded.shape[1], padded.shape[2]
    line = np.empty(columns, np.float32)
    left = (width - columns) // 2
    for projection in range(projections):
        correction = projection if gain.shape[0] > 1 else 0
        out = padded[projection]
        for lane in range(lanes):
            if lane >= rows:
                for column in range(width):
                    out[column, lane] = 0.0
                continue
            attenuation(
                raw[projection, lane], dark[0, lane], gain[correction, lane],
                logarithm, lowest, mend, line,
            )  # fmt: skip
            for column in range(columns):
                out[column, lane] = line[column]
            for column in range(columns, width):
                before = width - column  # how far to the left of the first pixel, on the circle
                if padding == 0:
                    out[column, lane] = 0.0
                elif column < width - left:
                    after = column - columns
                    out[column, lane] = line[columns - 1 - (after % columns if padding == 2 else 0)]
                else:
                    out[column, lane] = line[(before - 1) % columns if padding == 2 else 0]
