"""Match views against their mirror images from behind: where they coincide is the rotation axis.

Only what both see is compared, and nothing is assumed about what lies beyond: the axis may be near an edge,
and the sample wider than the view.
"""

import math
from dataclasses import replace

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from ._result import AxisEstimate
from ._search import vertex

_KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0], dtype=np.float32) / 16
_ALIKE = 3.0  # neighbouring elements that the kernel makes one
_APART = 8  # px; a likeness farther away is another answer
_SURE = 0.1  # px; no answer is taken for more exact
_JOINED = 6  # views, at most, on each side of the joint that are continued to it
_STRAIGHT_PX = 8.0  # over which an edge may move among them
_COARSE_PX = 2.0  # step of an edge between views, from which on they are not continued well


def match_views(
    first: NDArray[np.float32], second: NDArray[np.float32], independent: float, method: str
) -> AxisEstimate:
    """Find the axis about which views are the mirror images of others.

    Of all axes the one that makes the likeness least probable by chance is taken. Its confidence says how
    sure it is that the axis lies within half a pixel: from how sharp that likeness is, and how much less
    probable by chance than any other.

    Parameters
    ----------
    first, second
        float32, (angle, row, column): views at the same angles, half a turn apart.
    independent
        How many of the angles say something that the others do not.
    method
        What to call it in the estimate.
    """
    columns = first.shape[2]
    likeness, shared = _likeness(first, second)
    counted = np.maximum(shared * independent * first.shape[1] / _ALIKE - 3, 0)
    surprise = -0.5 * counted * np.log1p(-(np.clip(likeness, 0, 0.9999) ** 2))
    best = int(np.argmax(surprise))
    shifts = np.arange(-(columns - 2), columns - 1)
    if not 0 < best < len(shifts) - 1 or surprise[best] <= 0:
        return AxisEstimate((columns - 1) / 2, 0.0, f"middle of the frame: {method} say nothing")
    center = (shifts[best] + vertex(-likeness[best - 1 : best + 2]) + columns - 1) / 2
    bend = 2 * surprise[best] - surprise[best - 1] - surprise[best + 1]
    error_px = math.hypot(0.5 / math.sqrt(max(float(bend), 1e-9)), _SURE)
    other = float(surprise[np.abs(shifts - shifts[best]) > _APART].max(initial=0.0))
    ahead = float(surprise[best]) - max(other, math.log(len(shifts)))  # the best of noise has that
    alone = 1 - math.exp(-max(ahead, 0.0) / 3)
    return AxisEstimate(float(center), math.erf(0.5 / (math.sqrt(2) * error_px)) * alone, method)


def _likeness(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlation of views with mirrored ones for each shift, and how many columns both see there."""
    columns = first.shape[2]
    one, other = (_edges(part).reshape(-1, columns - 1) for part in (first, second[:, :, ::-1]))
    width = 2 * columns
    matched = scipy.fft.irfft(
        (scipy.fft.rfft(one, width) * np.conj(scipy.fft.rfft(other, width))).sum(axis=0), width
    )
    sums = [
        np.concatenate([[0.0], np.cumsum((part.astype(np.float64) ** 2).sum(axis=0))])
        for part in (one, other)
    ]
    shifts = np.arange(-(columns - 2), columns - 1)
    size = columns - 1
    low, high = np.maximum(shifts, 0), size + np.minimum(shifts, 0)
    energy = (sums[0][high] - sums[0][low]) * (sums[1][high - shifts] - sums[1][low - shifts])
    shared = (size - np.abs(shifts)).astype(np.float64)
    usable = (shared >= max(8, columns // 32)) & (energy > 1e-9 * energy.max())
    likeness = np.where(usable, matched[shifts] / np.sqrt(np.maximum(energy, 1e-300)), 0.0)
    return likeness, shared


def _edges(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smoothed differences of neighbouring columns: a constant must not match anything."""
    return np.diff(scipy.ndimage.convolve1d(part, _KERNEL, axis=2, mode="nearest"), axis=2)


def match_full_turn(first: NDArray[np.float32], second: NDArray[np.float32]) -> AxisEstimate:
    """Find the axis from a full turn: each projection against the one from behind.

    What is the same at all angles is left out: stripes of the detector are their own mirror images about
    nothing. A sample of which nothing else is left, such as a rod in the axis, is then found by its
    symmetry, with a confidence that says to look.

    Parameters
    ----------
    first, second
        float32, (angle, row, column): the same angles, half a turn apart.
    """
    always = (first.mean(axis=0) + second.mean(axis=0)) / 2
    independent = max(1.0, len(first) / 20)
    found = match_views(
        first - always, second - always, independent, "opposite views of a full turn"
    )
    if found.confidence >= 0.3:
        return found
    method = "opposite views of a full turn, of what is the same at all angles"
    rod = match_views(first, second, 1.0, method)
    if rod.confidence <= found.confidence:
        return found
    return AxisEstimate(rod.center_px, min(rod.confidence, 0.29), method)


def match_joint(views: NDArray[np.float32]) -> AxisEstimate:
    """Find the axis from where half a turn meets its own mirror image.

    The first views and the last ones are each continued, by a straight line through a few of them, to the
    middle between the last and the mirror image of the first. The coarser the steps, the less is that true.

    Parameters
    ----------
    views
        float32, (angle, row, column): half a turn in equal steps, its end excluded.
    """
    step_px = np.pi / len(views) * views.shape[2] / 2  # that an edge of the view moves
    count = int(np.clip(_STRAIGHT_PX / step_px, 2, _JOINED))
    model = np.stack([np.ones(count), np.arange(count)], axis=1)
    weights = np.array([1.0, -0.5]) @ np.linalg.pinv(model)
    first = np.tensordot(weights, views[:count], 1)[None].astype(np.float32)
    last = np.tensordot(weights, views[::-1][:count], 1)[None].astype(np.float32)
    found = match_views(first, last, 1.0, "first view against the last of half a turn")
    return replace(found, confidence=found.confidence * min(1.0, _COARSE_PX / step_px))
