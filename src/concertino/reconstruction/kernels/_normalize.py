"""Compiled step from raw rows to padded, slice-innermost attenuation."""

import numpy as np
from numba import njit

from concertino.runtime._code_cache import keep_compiled_code

from ._announce import announce_compiling

keep_compiled_code(__file__)

announce_compiling()  # here, because every reconstruction begins with this module


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
def mend_transmission(frames):  # type: ignore[no-untyped-def]
    """Replace what is not finite in (frame, row, column): along rows, then whole rows by the nearest ones.

    A frame of which nothing is known becomes 1, as if nothing had been in the beam.
    """
    rows = frames.shape[1]
    for frame in frames:
        known = np.zeros(rows, np.bool_)
        for row in range(rows):
            finite = np.isfinite(frame[row])
            known[row] = finite.any()
            if known[row] and not finite.all():
                _mend(frame[row])
        if not known.any():
            frame[:] = np.float32(1.0)
            continue
        for row in range(rows):
            if known[row]:
                continue
            apart = 1
            while not (
                (row >= apart and known[row - apart]) or (row + apart < rows and known[row + apart])
            ):
                apart += 1
            nearest = row - apart if row >= apart and known[row - apart] else row + apart
            frame[row] = frame[nearest]


@njit(nogil=True, cache=True, error_model="numpy")
def _log(value):  # type: ignore[no-untyped-def]
    """Natural logarithm of a positive float32, written so that it vectorises.

    The argument is split into a power of two and a factor near 1, whose logarithm is the series of
    2 artanh(s) with s = (m - 1) / (m + 1); the error is below 2e-7 of the result or of 1.
    """
    bits = np.float32(value).view(np.int32)
    # factors from sqrt(1/2), whose bits these are, to sqrt(2); numba widens, so each step is cut back
    exponent = np.int32(np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23))
    factor = np.int32(bits - (exponent << np.int32(23))).view(np.float32)
    s = (factor - np.float32(1.0)) / (factor + np.float32(1.0))
    z = s * s
    series = np.float32(2.0 / 9.0)
    series = series * z + np.float32(2.0 / 7.0)
    series = series * z + np.float32(2.0 / 5.0)
    series = series * z + np.float32(2.0 / 3.0)
    series = series * z + np.float32(2.0)
    # NaN and infinity minus themselves are NaN, so that they stay visible
    return s * series + np.float32(exponent) * np.float32(0.6931471805599453) + (value - value)


@njit(nogil=True, cache=True, error_model="numpy")
def _without_zingers(line, threshold):  # type: ignore[no-untyped-def]
    """Replace what is far brighter than the median of the five pixels about it."""
    columns = len(line)
    if columns < 5:
        return
    window = np.empty(5, line.dtype)
    source = line.copy()
    for column in range(columns):
        first = min(max(column - 2, 0), columns - 5)
        for i in range(5):
            value = source[first + i]
            place = i
            while place > 0 and window[place - 1] > value:
                window[place] = window[place - 1]
                place -= 1
            window[place] = value
        if source[column] - window[2] > threshold * abs(window[2]):
            line[column] = window[2]


@njit(nogil=True, cache=True, error_model="numpy")
def log_normalize(  # type: ignore[no-untyped-def]
    row, dark, gain, logarithm, lowest, zinger, mend, line
):
    """Turn one raw row into `line`: (raw - dark) * gain, -log of it, holes mended."""
    columns = len(row)
    if zinger > 0:
        for column in range(columns):
            line[column] = (np.float32(row[column]) - dark[column]) * gain[column]
        _without_zingers(line, zinger)
        if logarithm:
            for column in range(columns):
                value = line[column]
                line[column] = -_log(lowest if value < lowest else value)
    elif logarithm:
        for column in range(columns):
            value = (np.float32(row[column]) - dark[column]) * gain[column]
            # a comparison with NaN is false, so NaN goes through to be mended
            line[column] = -_log(lowest if value < lowest else value)
    else:
        for column in range(columns):
            line[column] = (np.float32(row[column]) - dark[column]) * gain[column]
    if mend:
        bits = line.view(np.int32)
        holes = 0
        for column in range(columns):
            holes += (bits[column] & np.int32(0x7F800000)) == np.int32(0x7F800000)
        if holes:
            _mend(line)


@njit(nogil=True, cache=True, error_model="numpy")
def normalize_and_pad(  # type: ignore[no-untyped-def]
    raw, dark, gain, logarithm, lowest, zinger, mend, padding, padded
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
    zinger
        float32: share by which zingers outshine their neighbours; 0: leave them.
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
                out[:, lane] = 0.0
                continue
            log_normalize(
                raw[projection, lane], dark[0, lane], gain[correction, lane],
                logarithm, lowest, zinger, mend, line,
            )  # fmt: skip
            for column in range(columns):
                out[column, lane] = line[column]
            if padding == 0:
                continue
            for column in range(columns, width):
                if column < width - left:
                    beyond = column - columns
                    source = columns - 1 - (beyond % columns if padding == 2 else 0)
                else:  # on the circle the end of the row is to the left of its beginning
                    source = (width - column - 1) % columns if padding == 2 else 0
                out[column, lane] = line[source]
        if padding == 0:
            out[columns:] = 0.0
