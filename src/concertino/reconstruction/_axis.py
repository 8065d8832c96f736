"""Find the rotation axis from the symmetry that half a turn must have.

A projection seen from behind is its mirror image about the axis. A sinogram over half a turn can so
be continued to a full turn, and only with the right axis does the continuation stay a sinogram: the
Fourier transform of one is empty where a point would have to move faster over the detector than the
edge of the view does. The energy found there is, for every axis at once, one Fourier series in the
column of the axis, so that no search is needed and noise averages over all projections.

References
----------
P. R. Edholm, R. M. Lewitt and B. Lindholm, Novel properties of the Fourier decomposition of the
sinogram, doi:10.1117/12.966665

N. T. Vo, M. Drakopoulos, R. C. Atwood and C. Reinhard, Reliable method for calculating the center
of rotation in parallel-beam tomography, doi:10.1364/OE.22.019078
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from ._result import AxisEstimate

_LOWEST_FREQUENCY = 2  # below, a drift of the beam outweighs the sample
_MARGIN = 2  # harmonics that leak over the border because the turn is sampled
_FINENESS = 8  # places tried per half pixel
_WIDEST_GAP = 4.0  # usual steps between angles that may be interpolated over


@dataclass(frozen=True)
class MirrorEvidence:
    """What rows say about the axis, before it is asked where it is.

    Attributes
    ----------
    columns
        Width of the detector in px.
    series
        complex128, (frequency,): amplitude of the forbidden energy's dependence on the axis.
    total
        Sum of the energies that the right axis would cancel.
    """

    columns: int
    series: NDArray[np.complex128]
    total: float

    def __add__(self, other: "MirrorEvidence") -> "MirrorEvidence":
        """Evidence of the rows of both."""
        series = np.zeros(max(len(self.series), len(other.series)), np.complex128)
        series[: len(self.series)] += self.series
        series[: len(other.series)] += other.series
        return MirrorEvidence(self.columns, series, self.total + other.total)

    def axis(self, method: str = "mirror symmetry of half a turn") -> AxisEstimate:
        """Return the axis that leaves the least forbidden energy."""
        if not self.total > 0:
            return AxisEstimate((self.columns - 1) / 2, 0.0, "middle of the frame: nothing is seen")
        size = 2 * self.columns * _FINENESS
        padded = np.zeros(size, np.complex128)
        padded[: len(self.series)] = self.series
        energy = scipy.fft.ifft(padded).real[: 2 * self.columns * _FINENESS] * size
        energy = energy[: (self.columns - 1) * 2 * _FINENESS + 1]
        best = int(np.argmin(energy))
        place = best + (_vertex(energy[best - 1 : best + 2]) if 0 < best < len(energy) - 1 else 0.0)
        explained = -2.0 * float(energy[best]) / self.total
        return AxisEstimate(place / (2 * _FINENESS), float(np.clip(explained, 0.0, 1.0)), method)


def half_turns(angles: NDArray[np.float64]) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Find the half turns that a scan covers without wide gaps.

    Parameters
    ----------
    angles
        float64, (projection,), radians, any order.

    Returns
    -------
    list of (indices, positions)
        Projections in the order of their angle, and where each of as many equal steps of the half
        turn lies among them (float64, fractional index).
    """
    turned = np.mod(angles - angles.min(), 2 * np.pi)
    turned[turned > 2 * np.pi - 1e-9] = 0.0
    order = np.argsort(turned, kind="stable")
    ordered = turned[order]
    found = []
    for begin in (0.0, np.pi):
        inside = np.flatnonzero((ordered >= begin - 1e-9) & (ordered < begin + np.pi - 1e-9))
        if len(inside) < 8:
            continue
        part = ordered[inside] - begin
        gaps = np.diff(part, prepend=0.0, append=np.pi)
        if gaps.max() > _WIDEST_GAP * np.pi / len(inside):
            continue
        steps = np.arange(len(inside)) * np.pi / len(inside)
        found.append((order[inside], np.interp(steps, part, np.arange(len(inside)))))
    return found


def mirror_evidence(sinogram: NDArray[np.float32], radius: float | None = None) -> MirrorEvidence:
    """Forbidden energy of the rows of equal steps over half a turn.

    Parameters
    ----------
    sinogram
        float32, (angle, column), attenuation, end of the half turn excluded.
    radius
        Distance in px from the axis beyond which there is nothing; None: half of the width.
    """
    count, columns = sinogram.shape
    width = 2 * columns
    reach = columns / 2 if radius is None else radius
    highest = int(min(columns - 1, (count - _MARGIN) * width / (2 * np.pi * reach)))
    frequencies = np.arange(highest + 1)
    spectra = scipy.fft.rfft(sinogram, width, axis=1)
    trust = _signal_share(spectra)[: highest + 1] ** 2
    harmonics = scipy.fft.fft(spectra[:, : highest + 1], 2 * count, axis=0)
    # a sinogram is real: harmonic -n of the mirrored half is the conjugate of harmonic n
    rising, falling = harmonics[1:count], harmonics[:count:-1]
    order = np.arange(1, count)
    forbidden = order[:, None] > 2 * np.pi * reach / width * frequencies + _MARGIN
    forbidden &= frequencies >= _LOWEST_FREQUENCY
    signs = np.where(order % 2 == 0, 1.0, -1.0).astype(np.float32)
    series = np.einsum("n,nk,nk,nk->k", signs, rising, falling, forbidden)
    energy = ((np.abs(rising) ** 2 + np.abs(falling) ** 2) * forbidden).sum(axis=0)
    return MirrorEvidence(
        columns, series.astype(np.complex128) * trust, float((energy * trust).sum())
    )


def opposite_views(first: NDArray[np.float32], second: NDArray[np.float32]) -> AxisEstimate:
    """Axis from a full turn: each projection against the one from behind, where both see.

    Nothing is assumed about what lies outside of the view, so the axis may be near an edge.

    Parameters
    ----------
    first, second
        float32, (angle, row, column): the same angles, half a turn apart.
    """
    columns = first.shape[2]
    one, other = (_edges(part).reshape(-1, columns - 1) for part in (first, second[:, :, ::-1]))
    width = 2 * columns
    matched = scipy.fft.irfft(
        (scipy.fft.rfft(one, width) * np.conj(scipy.fft.rfft(other, width))).sum(axis=0), width
    )
    sums = [np.concatenate([[0.0], np.cumsum((part**2).sum(axis=0))]) for part in (one, other)]
    shifts = np.arange(-(columns - 2), columns - 1)
    size = columns - 1
    low, high = np.maximum(shifts, 0), size + np.minimum(shifts, 0)
    energy = (sums[0][high] - sums[0][low]) * (sums[1][high - shifts] - sums[1][low - shifts])
    wide = size - np.abs(shifts) >= max(8, columns // 16)
    usable = wide & (energy > 1e-6 * energy.max())
    likeness = np.where(usable, matched[shifts] / np.sqrt(np.maximum(energy, 1e-300)), -1.0)
    best = int(np.argmax(likeness))
    bend = _vertex(-likeness[best - 1 : best + 2]) if 0 < best < len(shifts) - 1 else 0.0
    center = (float(shifts[best]) + bend + columns - 1) / 2
    confidence = float(np.clip(likeness[best], 0.0, 1.0))
    return AxisEstimate(center, confidence, "opposite views of a full turn")


def _edges(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smoothed differences of neighbouring columns: a constant must not match anything."""
    kernel = np.array([1.0, 4.0, 6.0, 4.0, 1.0], dtype=np.float32) / 16
    return np.diff(scipy.ndimage.convolve1d(part, kernel, axis=2, mode="nearest"), axis=2)


def _levelled(sinogram: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract the line through both ends of each projection.

    Where the sample is wider than the view, the jump to nothing at the detector's edges would
    speak louder than the sample.
    """
    columns = sinogram.shape[1]
    end = max(1, columns // 64)
    left = sinogram[:, :end].mean(axis=1, keepdims=True)
    right = sinogram[:, -end:].mean(axis=1, keepdims=True)
    share = np.clip((np.arange(columns) - (end - 1) / 2) / (columns - end), 0.0, 1.0)
    return np.asarray(sinogram - left * (1.0 - share) - right * share, dtype=np.float32)


def _signal_share(spectra: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Share of each frequency's power that stands above the noise."""
    squares = spectra.real**2 + spectra.imag**2
    power = np.asarray(squares.mean(axis=0, dtype=np.float64), dtype=np.float64)
    noise = float(np.median(power[-max(2, len(power) // 5) :]))
    return np.asarray(np.clip(1.0 - noise / np.maximum(power, 1e-300), 0.0, 1.0))


def _vertex(values: NDArray[np.floating]) -> float:
    """Offset of a parabola's lowest point through three values."""
    left, middle, right = (float(value) for value in values)
    curve = left - 2.0 * middle + right
    return 0.0 if curve <= 0 else float(np.clip(0.5 * (left - right) / curve, -0.5, 0.5))


def estimate_axis(sinograms: NDArray[np.floating], angles: NDArray[np.float64]) -> AxisEstimate:
    """Find the axis in rows of attenuation.

    Parameters
    ----------
    sinograms
        float, (angle, row, column).
    angles
        float64, (angle,), radians.

    Returns
    -------
    AxisEstimate
        The middle of the frame with confidence 0 when the angles do not cover half a turn.
    """
    columns = sinograms.shape[2]
    turns = half_turns(angles)
    if not turns:
        return AxisEstimate(
            (columns - 1) / 2, 0.0, "middle of the frame: the angles do not cover half a turn"
        )
    if len(turns) == 2:
        count = min(len(places) for _, places in turns)
        views = [
            np.stack(
                [
                    _resampled(
                        sinograms[indices, row],
                        np.interp(
                            np.arange(count) / count, np.arange(len(places)) / len(places), places
                        ),
                    )
                    for row in range(sinograms.shape[1])
                ],
                axis=1,
            )
            for indices, places in turns
        ]
        return opposite_views(views[0], views[1])
    parts = [
        _resampled(sinograms[indices, row], places)
        for indices, places in turns
        for row in range(sinograms.shape[1])
    ]
    empty = MirrorEvidence(columns, np.zeros(1, np.complex128), 0.0)
    plain = sum((mirror_evidence(part) for part in parts), empty)
    levelled = sum((mirror_evidence(_levelled(part)) for part in parts), empty)
    return max(plain.axis(), levelled.axis(), key=lambda found: found.confidence)


def estimate_tilt(
    sinograms: NDArray[np.floating],
    rows: NDArray[np.int64],
    middle: float,
    angles: NDArray[np.float64],
) -> AxisEstimate:
    """Find the axis and its roll from where it stands in many rows.

    Parameters
    ----------
    sinograms
        float, (angle, row, column).
    rows
        int64: detector row of each.
    middle
        Detector row where `center_px` is told.
    angles
        float64, (angle,), radians.
    """
    found = [estimate_axis(sinograms[:, place : place + 1], angles) for place in range(len(rows))]
    centers = np.array([one.center_px for one in found])
    trust = np.array([one.confidence for one in found])
    heights = middle - rows.astype(np.float64)
    trust = np.where(trust >= 0.5 * trust.max(), trust, 0.0)
    slope, center = 0.0, float(np.median(centers))
    for _ in range(5):
        if np.count_nonzero(trust) < 3:
            break
        slope, center = (float(value) for value in np.polyfit(heights, centers, 1, w=trust))
        apart = np.abs(centers - center - slope * heights)
        limit = 3.0 * 1.5 * float(np.median(apart[trust > 0])) + 1e-3
        trust = np.where(apart <= limit, trust, 0.0)
    return AxisEstimate(
        center,
        float(np.mean(trust)),
        f"{found[0].method}, line through {np.count_nonzero(trust)} rows",
        float(np.arctan(slope)),
    )


def _resampled(
    sinogram: NDArray[np.floating], positions: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Rows at fractional indices, by linear interpolation."""
    values = np.asarray(sinogram, dtype=np.float32)
    if np.allclose(positions, np.arange(len(positions)), atol=0.02):
        return values
    below = np.minimum(positions.astype(np.int64), len(values) - 2)
    share = (positions - below).astype(np.float32)[:, None]
    return np.asarray(values[below] * (1.0 - share) + values[below + 1] * share)
