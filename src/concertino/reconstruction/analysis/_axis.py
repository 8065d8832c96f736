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

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from ._axis_match import match_full_turn, match_joint
from ._result import AxisEstimate
from ._search import vertex

_LOWEST_FREQUENCY = 2  # below, a drift of the beam outweighs the sample
_MARGIN = 2  # harmonics that leak over the border because the turn is sampled
_FINENESS = 8  # places tried per half pixel
_NOTHING = 0.04  # of the strongest attenuation, below which a projection ends at nothing
_DISAGREE_PX = 0.75
_STRIPE_PX = 2.0  # standard deviation
_MANY_STRIPES = 0.06  # of the strongest attenuation: they halve the confidence
_BESIDE = 0.02  # of a step, that counts as none
_ROUNDS = 8  # of finding the axis with the axis
_SETTLED_PX = 0.05
_FOLLOWS = 0.9  # an answer that follows what was taken more closely than this says nothing
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

    def axis(self) -> AxisEstimate:
        """Return the axis that leaves the least forbidden energy."""
        if not self.total > 0:
            return AxisEstimate((self.columns - 1) / 2, 0.0, "middle of the frame: nothing is seen")
        size = 2 * self.columns * _FINENESS
        padded = np.zeros(size, np.complex128)
        padded[: len(self.series)] = self.series
        energy = scipy.fft.ifft(padded).real[: 2 * self.columns * _FINENESS] * size
        energy = energy[: (self.columns - 1) * 2 * _FINENESS + 1]
        best = int(np.argmin(energy))
        place = best + (vertex(energy[best - 1 : best + 2]) if 0 < best < len(energy) - 1 else 0.0)
        explained = -2.0 * float(energy[best]) / self.total
        confidence = float(np.clip(explained, 0.0, 1.0))
        return AxisEstimate(place / (2 * _FINENESS), confidence, "mirror symmetry of half a turn")


@dataclass(frozen=True)
class HalfTurn:
    """The projections of half a turn, with the one before and the one after.

    Attributes
    ----------
    indices
        int64: projections in the order of their angle.
    positions
        float64: where each of as many equal steps of the half turn lies among them (fractional
        place in `indices`).
    neighbours
        Projections before the first and after the last. When `mirrored`, it is their mirror images that are
        there: the last and the first of the half turn itself, seen from behind.
    mirrored
        Whether the scan has no other half.
    """

    indices: NDArray[np.int64]
    positions: NDArray[np.float64]
    neighbours: tuple[int, int]
    mirrored: bool

    @property
    def reaches_out(self) -> bool:
        """Whether steps lie before the first or after the last projection."""
        outside = max(-self.positions.min(), self.positions.max() - len(self.indices) + 1)
        return bool(outside > _BESIDE)

    def views(self, sinograms: NDArray[np.floating], center: float | None) -> NDArray[np.float32]:
        """Return the equal steps, float32 (step, row, column), when the axis is in this column.

        None: nobody knows; where a mirror image is needed, the nearest projection is repeated.
        """
        values = np.asarray(sinograms[self.indices], dtype=np.float32)
        if np.allclose(self.positions, np.arange(len(values)), atol=_BESIDE):
            return values
        ends = [np.asarray(sinograms[index], np.float32) for index in self.neighbours]
        if self.mirrored and center is None:
            ends = [values[0], values[-1]]
        elif self.mirrored and center is not None:
            columns = np.arange(values.shape[2])
            ends = [
                np.stack([np.interp(2 * center - columns, columns, row) for row in end])
                for end in ends
            ]
        values = np.concatenate([ends[:1], values, ends[1:]]).astype(np.float32)
        below = np.clip(np.floor(self.positions).astype(np.int64) + 1, 0, len(values) - 2)
        share = (self.positions + 1 - below).astype(np.float32)[:, None, None]
        return np.asarray(values[below] * (1.0 - share) + values[below + 1] * share)


def half_turns(angles: NDArray[np.float64]) -> list[HalfTurn]:
    """Find the half turns that a scan covers without wide gaps.

    Parameters
    ----------
    angles
        float64, (projection,), radians, any order.
    """
    turned = np.mod(angles - angles.min(), 2 * np.pi)
    turned[turned > 2 * np.pi - 1e-9] = 0.0
    order = np.argsort(turned, kind="stable")
    ordered = turned[order]
    parts = []
    for begin in (0.0, np.pi):
        inside = np.flatnonzero((ordered >= begin - 1e-9) & (ordered < begin + np.pi - 1e-9))
        if len(inside) < 8:
            continue
        part = ordered[inside] - begin
        gaps = np.diff(part, prepend=0.0, append=np.pi)
        if gaps.max() > _WIDEST_GAP * np.pi / len(inside):
            continue
        parts.append((order[inside], part))
    found = []
    for (indices, part), (others, its) in zip(parts, parts[::-1], strict=True):
        steps = np.arange(len(part)) * np.pi / len(part)
        around = np.concatenate([[its[-1] - np.pi], part, [its[0] + np.pi]])
        places = np.interp(steps, around, np.arange(-1, len(part) + 1))
        found.append(HalfTurn(indices, places, (int(others[-1]), int(others[0])), len(parts) == 1))
    return found


def mirror_evidence(sinogram: NDArray[np.float32]) -> MirrorEvidence:
    """Forbidden energy of the rows of equal steps over half a turn.

    Parameters
    ----------
    sinogram
        float32, (angle, column), attenuation, end of the half turn excluded. Beyond half of its width from the
        axis there is taken to be nothing.
    """
    count, columns = sinogram.shape
    width = 2 * columns
    reach = columns / 2
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


def _stripes(views: NDArray[np.float32]) -> float:
    """How strong is what is sharp and the same at all angles: stripes of the detector, hardly any sample.

    Returns
    -------
    float
        Its standard deviation, as a share of the strongest attenuation.
    """
    always = views.mean(axis=0, dtype=np.float64)
    sharp = always - scipy.ndimage.gaussian_filter1d(always, _STRIPE_PX, axis=-1, mode="nearest")
    return float(sharp.std() / max(np.percentile(np.abs(views), 99), 1e-30))


def _signal_share(spectra: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Share of each frequency's power that stands above the noise."""
    squares = spectra.real**2 + spectra.imag**2
    power = np.asarray(squares.mean(axis=0, dtype=np.float64), dtype=np.float64)
    noise = float(np.median(power[-max(2, len(power) // 5) :]))
    return np.asarray(np.clip(1.0 - noise / np.maximum(power, 1e-300), 0.0, 1.0))


def _overflows(sinograms: NDArray[np.floating]) -> bool:
    """Whether the sample is wider than the view: projections do not end at nothing."""
    end = max(1, sinograms.shape[2] // 64)
    ends = np.stack([sinograms[..., :end].mean(axis=-1), sinograms[..., -end:].mean(axis=-1)])
    parts = np.array_split(ends, min(16, len(sinograms)), axis=1)  # noise must not count
    level = np.percentile([part.mean(axis=1).max() for part in parts], 90)
    return bool(level > _NOTHING * np.percentile(np.abs(sinograms), 99))


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
        count = min(len(turn.indices) for turn in turns)
        first, second = (
            _fewer(turn.views(sinograms, None), count) for turn in turns
        )  # each has the other beside it, so no axis is needed
        return match_full_turn(first, second)
    return _settled(sinograms, turns[0])


def _fewer(views: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Equal steps, fewer of them, by linear interpolation."""
    if len(views) == count:
        return views
    places = np.arange(count) * len(views) / count
    below = places.astype(np.int64)
    share = (places - below).astype(np.float32)[:, None, None]
    return np.asarray(
        views[below] * (1.0 - share) + views[np.minimum(below + 1, len(views) - 1)] * share
    )


def _settled(sinograms: NDArray[np.floating], turn: HalfTurn) -> AxisEstimate:
    """Find the axis in half a turn; where it ends early, the first view's mirror image leads on.

    That image needs the axis, so the axis is found again until it stays where it is.
    """
    views = turn.views(sinograms, None)
    joint = match_joint(views)  # an image that was mirrored at an axis would be like it there
    found = _of_half_turn(views, joint)
    if not turn.reaches_out:
        return found
    last = sinograms.shape[2] - 1.0
    before, taken, answer = last / 2, found.center_px, found.center_px
    for _ in range(_ROUNDS):
        found = _of_half_turn(turn.views(sinograms, taken), joint)
        follows = (found.center_px - answer) / (taken - before) if taken != before else 0.0
        follows = float(np.clip(follows, -1.0, _FOLLOWS))
        step = (found.center_px - taken) / (1 - follows)  # the answer follows what was taken
        before, answer = taken, found.center_px
        taken = float(np.clip(taken + step, 0.0, last))
        if abs(step) < _SETTLED_PX and follows < _FOLLOWS:
            return replace(found, center_px=taken)
    return replace(found, confidence=min(found.confidence, 0.29))


def _of_half_turn(views: NDArray[np.float32], joint: AxisEstimate) -> AxisEstimate:
    """Find the axis in half a turn, (angle, row, column), of equal steps, its end excluded."""
    doubt = 1 + (_stripes(views) / _MANY_STRIPES) ** 2
    joint = replace(joint, confidence=joint.confidence / doubt)
    columns, parts = views.shape[2], [views[:, row] for row in range(views.shape[1])]
    empty = MirrorEvidence(columns, np.zeros(1, np.complex128), 0.0)
    plain = sum((mirror_evidence(part) for part in parts), empty)
    levelled = sum((mirror_evidence(_levelled(part)) for part in parts), empty)
    found = max(plain.axis(), levelled.axis(), key=lambda found: found.confidence)
    found = replace(found, confidence=found.confidence / doubt)
    overflows = _overflows(views)
    apart = abs(joint.center_px - found.center_px)
    if joint.confidence >= (0.5 if overflows else 0.9) and (overflows or apart > _DISAGREE_PX):
        return joint
    if overflows:  # what lies beyond the view speaks for its middle
        unsure = min(found.confidence, 0.29)
        return AxisEstimate(
            found.center_px, unsure, f"{found.method}, of a sample that is wider than the view"
        )
    return found


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
