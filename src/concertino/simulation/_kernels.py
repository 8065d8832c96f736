"""The compiled loops of the digital twin; imported only when a frame or a slice is asked for.

A *shadow* is what an ellipsoid throws on the detector in parallel light: an ellipse in which the
path length is the square root of a parabola along each row. It is a row of seven numbers
(``SHADOW_FIELDS``), so that a pixel costs one multiply-add and one square root.
"""

import math

import numpy as np
from numba import njit

from concertino.runtime._code_cache import keep_compiled_code

keep_compiled_code(__file__)

SHADOW_FIELDS = ("column", "row", "slope", "inverse", "vertical", "weight", "reach")
#: Transmission is computed for line integrals up to this one; beyond, it is below 1e-13.
OPAQUE = np.float32(30.0)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_U30, _U27, _U31, _U33 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(33)
_ONE = np.uint64(1)
_FAST = {"contract", "reassoc", "nsz", "arcp"}


@njit(nogil=True, cache=True)
def scramble(value, salt):  # type: ignore[no-untyped-def]
    """Mix two 64-bit numbers into one (splitmix64)."""
    z = value + _GOLDEN * (salt + _ONE)
    z = (z ^ (z >> _U30)) * _MIX_1
    z = (z ^ (z >> _U27)) * _MIX_2
    return z ^ (z >> _U31)


@njit(nogil=True, cache=True)
def cast_shadows(  # type: ignore[no-untyped-def]
    centres, matrices, attenuations, poses, roll, pitch, pixel_size, out
):
    """Fill ``out`` (pose, ellipsoid, field) with the shadows at each pose.

    ``poses`` is (pose, 3): angle in rad, column and row of the point where the rotation axis's
    origin is projected. ``centres`` (m, 3) in mm, ``matrices`` (m, 3, 3) in 1/mm² (the quadratic
    form of each ellipsoid), ``attenuations`` (m,) per mm.
    """
    cr, sr = math.cos(roll), math.sin(roll)
    cp, sp = math.cos(pitch), math.sin(pitch)
    m = np.empty((3, 3))
    half = np.empty((3, 3))
    q = np.empty((3, 3))
    for pose in range(poses.shape[0]):
        c, s = math.cos(poses[pose, 0]), math.sin(poses[pose, 0])
        # laboratory = roll * pitch * rotation; rows: along the detector, along the beam, up
        m[0, 0], m[0, 1], m[0, 2] = cr * c - sr * sp * s, cr * s + sr * sp * c, sr * cp
        m[1, 0], m[1, 1], m[1, 2] = -cp * s, cp * c, -sp
        m[2, 0], m[2, 1], m[2, 2] = -sr * c - cr * sp * s, -sr * s + cr * sp * c, cr * cp
        for e in range(centres.shape[0]):
            for i in range(3):
                for j in range(3):
                    total = 0.0
                    for k in range(3):
                        total += m[i, k] * matrices[e, k, j]
                    half[i, j] = total
            for i in range(3):
                for j in range(3):
                    total = 0.0
                    for k in range(3):
                        total += half[i, k] * m[j, k]
                    q[i, j] = total
            u = (m[0, 0] * centres[e, 0] + m[0, 1] * centres[e, 1] + m[0, 2] * centres[e, 2]) / (
                pixel_size
            )
            z = (m[2, 0] * centres[e, 0] + m[2, 1] * centres[e, 1] + m[2, 2] * centres[e, 2]) / (
                pixel_size
            )
            square = pixel_size * pixel_size
            uu = (q[0, 0] - q[0, 1] * q[0, 1] / q[1, 1]) * square
            uz = (q[0, 2] - q[0, 1] * q[1, 2] / q[1, 1]) * square
            zz = (q[2, 2] - q[1, 2] * q[1, 2] / q[1, 1]) * square
            vertical = zz - uz * uz / uu
            out[pose, e, 0] = poses[pose, 1] + u
            out[pose, e, 1] = poses[pose, 2] - z
            out[pose, e, 2] = uz / uu  # rows grow downwards, z upwards: the minus signs cancel
            out[pose, e, 3] = 1.0 / uu
            out[pose, e, 4] = vertical
            out[pose, e, 5] = 2.0 * attenuations[e] * math.sqrt(uu / q[1, 1])
            out[pose, e, 6] = 1.0 / math.sqrt(vertical)


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def add_row(line, row, shadows):  # type: ignore[no-untyped-def]
    """Add the line integrals of all shadows to one detector row; return the columns touched."""
    width = line.shape[0]
    first, last = width, 0
    for e in range(shadows.shape[0]):
        dv = row - shadows[e, 1]
        if abs(dv) >= shadows[e, 6]:
            continue
        square = (1.0 - shadows[e, 4] * dv * dv) * shadows[e, 3]
        if square <= 0.0:
            continue
        reach = math.sqrt(square)
        middle = shadows[e, 0] + shadows[e, 2] * dv
        start = max(0, math.ceil(middle - reach))
        stop = min(width, math.floor(middle + reach) + 1)
        if start >= stop:
            continue
        first, last = min(first, start), max(last, stop)
        part = line[start:stop]
        weight = np.float32(shadows[e, 5])
        left = np.float32(start - middle + reach)  # distance to the left edge, then to the right
        right = np.float32(reach - (start - middle))
        for i in range(part.shape[0]):
            step = np.float32(i)
            part[i] += weight * math.sqrt(abs((left + step) * (right - step)))
    return first, last


@njit(nogil=True, cache=True)
def project(shadows, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (h, w) float32 with the mean of the line integrals over all poses."""
    share = np.float32(1.0 / shadows.shape[0])
    for row in range(out.shape[0]):
        line = out[row]
        line[:] = np.float32(0.0)
        for pose in range(shadows.shape[0]):
            add_row(line, row, shadows[pose])
        if shadows.shape[0] > 1:
            line *= share


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def add_transmission(line, total, first, last, share):  # type: ignore[no-untyped-def]
    """Add ``share * (exp(-line) - 1)`` to ``total`` and clear ``line``, between two columns.

    exp(-x) = exp(-x/64)**64 with six terms of the series: no library call, so it vectorises;
    its relative error stays below 2e-5 up to x = 10.
    """
    source = line[first:last]
    target = total[first:last]
    one = np.float32(1.0)
    for i in range(source.shape[0]):
        x = min(max(source[i], np.float32(-10.0)), OPAQUE) * np.float32(-1.0 / 64.0)
        y = one + x * (
            one
            + x
            * np.float32(1 / 2)
            * (
                one
                + x
                * np.float32(1 / 3)
                * (one + x * np.float32(1 / 4) * (one + x * np.float32(1 / 5)))
            )
        )
        y = y * y
        y = y * y
        y = y * y
        y = y * y
        y = y * y
        y = y * y
        target[i] += share * (y - one)
        source[i] = np.float32(0.0)


@njit(nogil=True, cache=True)
def transmit(shadows, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (h, w) float32 with the mean transmission over all poses."""
    line = np.zeros(out.shape[1], np.float32)
    share = np.float32(1.0 / shadows.shape[0])
    out[:, :] = np.float32(1.0)
    for row in range(out.shape[0]):
        for pose in range(shadows.shape[0]):
            first, last = add_row(line, row, shadows[pose])
            if first < last:
                add_transmission(line, out[row], first, last, share)


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def detect_row(  # type: ignore[no-untyped-def]
    line, transmission, flat, drift, curvature, dark, photons, wander, exposure, full_well
):
    """Turn the transmission of a row into the expected electrons of its pixels."""
    inverse = np.float32(1.0) / full_well
    for i in range(line.shape[0]):
        light = photons * transmission[i] * (flat[i] + wander * drift[i])
        charge = light + exposure * dark[i]
        charge *= np.float32(1.0) - curvature[i] * min(charge * inverse, np.float32(1.0))
        line[i] = min(max(charge, np.float32(0.0)), full_well)


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def add_noise(line, normals, sign, read_variance, full_well):  # type: ignore[no-untyped-def]
    """Add shot and read-out noise to the electrons of a row."""
    for i in range(line.shape[0]):
        noisy = line[i] + sign * normals[i] * math.sqrt(line[i] + read_variance)
        line[i] = min(noisy, full_well)


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def digitise(line, out, gain, offset, maximum):  # type: ignore[no-untyped-def]
    """Write electrons as counts: whole numbers, clipped to what the converter can say."""
    for i in range(line.shape[0]):
        value = line[i] * gain + offset + np.float32(0.5)
        out[i] = np.int32(min(max(value, np.float32(0.0)), maximum))


@njit(nogil=True, cache=True)
def expose(  # type: ignore[no-untyped-def]
    out, counts, shadows, flat, drift, curvature, dark, normals, key, noisy, numbers
):
    """Write one exposure into ``out`` (uint16), or its expectation into ``counts`` (float32).

    Either array may have no rows; the other one then is written. ``numbers`` (float32): photons,
    wander, exposure, full well, read-out variance, gain, offset, maximum of the converter.
    """
    height, width = flat.shape
    line = np.zeros(width, np.float32)
    transmission = np.empty(width, np.float32)
    poses = shadows.shape[0]
    share = np.float32(1.0 / max(poses, 1))
    lit = numbers[0] > np.float32(0.0)
    for row in range(height):
        transmission[:] = np.float32(1.0)
        if lit:
            for pose in range(poses):
                first, last = add_row(line, row, shadows[pose])
                if first < last:
                    add_transmission(line, transmission, first, last, share)
        detect_row(
            line, transmission, flat[row], drift[row], curvature[row], dark[row],
            numbers[0], numbers[1], numbers[2], numbers[3],
        )  # fmt: skip
        if noisy:
            draw = scramble(key, np.uint64(row))
            start = np.int64((draw >> _U33) % np.uint64(normals.shape[0] - width))
            sign = np.float32(1.0) if draw & _ONE else np.float32(-1.0)
            add_noise(line, normals[start : start + width], sign, numbers[4], numbers[3])
        if out.shape[0]:
            digitise(line, out[row], numbers[5], numbers[6], numbers[7])
        else:
            counts[row, :] = line * numbers[5] + numbers[6]
        line[:] = np.float32(0.0)


@njit(nogil=True, cache=True)
def fill_slice(centres, matrices, attenuations, z, pixel_size, supersampling, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (n, n) float64 with the mean attenuation of each pixel at height ``z`` (mm).

    Coverage is exact along a row and sampled by ``supersampling`` lines across it.
    """
    n = out.shape[0]
    out[:, :] = 0.0
    for e in range(centres.shape[0]):
        a = matrices[e]
        dz = z - centres[e, 2]
        weight = attenuations[e] / supersampling
        for i in range(n):
            for sub in range(supersampling):
                y = ((n - 1) / 2 - i - (sub + 0.5) / supersampling + 0.5) * pixel_size
                dy = y - centres[e, 1]
                # a00 dx² + 2 b dx + c <= 1 is the chord of this line
                b = a[0, 1] * dy + a[0, 2] * dz
                c = a[1, 1] * dy * dy + 2.0 * a[1, 2] * dy * dz + a[2, 2] * dz * dz - 1.0
                discriminant = b * b - a[0, 0] * c
                if discriminant <= 0.0:
                    continue
                reach = math.sqrt(discriminant) / a[0, 0]
                middle = centres[e, 0] - b / a[0, 0]
                left = (middle - reach) / pixel_size + n / 2  # in pixels from the left border
                right = (middle + reach) / pixel_size + n / 2
                for j in range(max(0, math.floor(left)), min(n, math.ceil(right))):
                    out[i, j] += weight * max(0.0, min(right, j + 1.0) - max(left, float(j)))
