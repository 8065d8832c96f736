"""Find the rotation axis in projections half a turn apart, then by the sharpest slice."""

from collections.abc import Callable

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ._result import AxisEstimate

_PAIRS = 8


def opposite_pairs(angles: NDArray[np.float64], limit: int = _PAIRS) -> list[tuple[int, int]]:
    """Indices of projections closest to half a turn apart, the best pairs first."""
    turned = np.exp(1j * angles)
    first = np.arange(len(angles))
    second = np.array([int(np.argmin(np.abs(turned + turned[i]))) for i in first])
    miss = np.abs(turned[first] + turned[second])
    order = [i for i in np.argsort(miss, kind="stable") if first[i] < second[i]]
    if not order:
        order = [int(np.argmin(miss))]
    best = miss[order[0]]
    close = [i for i in order if miss[i] <= best + 1e-6]
    chosen = close if len(close) <= limit else [close[i] for i in _spaced(len(close), limit)]
    return [(int(first[i]), int(second[i])) for i in chosen]


def _spaced(count: int, wanted: int) -> list[int]:
    return [round(value) for value in np.linspace(0, count - 1, wanted)]


def register_mirrored(
    one: NDArray[np.floating], other: NDArray[np.floating]
) -> tuple[float, float]:
    """Axis column from rows of two projections half a turn apart.

    Parameters
    ----------
    one, other
        float, (row, column).

    Returns
    -------
    center
        Column of the axis in px.
    score
        Normalised correlation (-1 to 1) of the overlapping parts at that place.
    """
    columns = one.shape[1]
    a = _band_passed(one)
    b = _band_passed(other)[:, ::-1]
    width = scipy.fft.next_fast_len(2 * columns)
    spectrum = scipy.fft.fft(a, width) * np.conj(scipy.fft.fft(b, width))
    total = spectrum.sum(axis=0)
    correlation = scipy.fft.ifft(total).real
    energy = _overlap_energy(a, b, width)
    usable = energy > 0.05 * energy.max()
    score = np.where(usable, correlation / np.sqrt(np.maximum(energy, 1e-30)), -1.0)
    peak = int(np.argmax(score))
    fine = _parabola(score[(np.arange(-1, 2) + peak) % width])
    shift = ((peak + width // 2) % width) - width // 2 + fine
    return (shift + columns - 1) / 2, float(score[peak])


def _band_passed(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Remove the mean: a constant background would pull the peak to the middle."""
    values = np.asarray(rows, dtype=np.float64)
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def _overlap_energy(
    a: NDArray[np.float64], b: NDArray[np.float64], width: int
) -> NDArray[np.float64]:
    """Product of the energies of the parts that overlap at each shift."""
    ones = scipy.fft.fft(np.ones(a.shape[1]), width)
    of_a = scipy.fft.ifft(scipy.fft.fft((a * a).sum(0), width) * np.conj(ones)).real
    of_b = scipy.fft.ifft(ones * np.conj(scipy.fft.fft((b * b).sum(0), width))).real
    return np.asarray(np.maximum(of_a, 0.0) * np.maximum(of_b, 0.0))


def _parabola(values: NDArray[np.floating]) -> float:
    left, middle, right = (float(value) for value in values)
    curve = left - 2 * middle + right
    return 0.0 if curve == 0 else float(np.clip(0.5 * (left - right) / curve, -0.5, 0.5))


def estimate_axis(
    sinograms: NDArray[np.float32],
    angles: NDArray[np.float64],
    slice_at: Callable[[float], NDArray[np.float32]],
) -> AxisEstimate:
    """Find the axis in rows of attenuation.

    Parameters
    ----------
    sinograms
        float32, (angle, row, column).
    angles
        float64, (angle,), radians.
    slice_at
        Reconstructs the rows with an axis column: (row, y, x).
    """
    columns = sinograms.shape[2]
    found = [
        register_mirrored(sinograms[one], sinograms[other]) for one, other in opposite_pairs(angles)
    ]
    coarse = float(np.median([center for center, _ in found]))
    score = float(np.median([value for _, value in found]))
    coarse = min(max(coarse, 0.0), columns - 1.0)

    def blur(center: float) -> float:
        return float(np.abs(slice_at(center)).astype(np.float64).sum())

    center, spread = coarse, 2.0
    for step in (1.0, 0.25, 0.0625):
        places = [center + step * i for i in range(-int(spread / step), int(spread / step) + 1)]
        places = [place for place in places if 0 <= place <= columns - 1]
        values = np.array([blur(place) for place in places])
        best = int(np.argmin(values))
        center = places[best]
        if 0 < best < len(places) - 1:
            center += step * _parabola(values[best - 1 : best + 2])
        spread = step
    center = min(max(center, 0.0), columns - 1.0)
    confidence = float(np.clip(score, 0.0, 1.0))
    return AxisEstimate(center, confidence, "mirrored pairs, sharpest slice")
