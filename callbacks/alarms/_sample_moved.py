"""Watches whether the sample stays where it is, by projections that must show the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from concertino import DocumentError
from concertino.documents import ImageKind, TomoBlock
from concertino.reconstruction import image_shift

from ._alarm import Alarm, Level, check_level, check_positive
from ._alarm_checks import Examiner, Idle, Later, SeenFrame

_LARGEST_PX = 768
_NEARLY_STEPS = 1.5
_DARKS_AND_FLATS = 4  # of each, which are enough to see structures by

_Sums: TypeAlias = dict[str, tuple[Any, int]]


@dataclass(frozen=True)
class SampleMoved:
    """Compares projections at angles half a turn apart, mirrored, and a whole turn apart.

    The first pair half a turn apart tells where the rotation axis is, unless the run's ``tomo`` block
    does; each pair after it, and each a whole turn apart, how far the sample has moved since. In a scan
    of half a turn only the last projection is nearly opposite to the first, and only a move along the axis
    is seen in it. In one of a little more, a move across the axis is not seen where every pair has it between
    its two: give the plan its ``rotation_axis``, or scan a whole turn.

    Parameters
    ----------
    limit_px : float
        How far the sample may have moved, in px.
    confidence : float
        Confidence below which a comparison counts for nothing, 0 to 1.
    pairs : int
        Pairs that are compared at most; each takes the memory of one frame at most, in float32.
    level : {"note", "warn", "pause", "fail"}
        What the alarm does.
    """

    limit_px: float = 2.0
    confidence: float = 0.5
    pairs: int = 8
    level: Level = "warn"

    def __post_init__(self) -> None:
        check_level(self.level)
        check_positive("limit_px", self.limit_px, "how far the sample may move in px")
        check_positive("pairs", self.pairs, "how many pairs are compared")

    def examiner(self, start: Mapping[str, Any], tomo: TomoBlock) -> Examiner:
        """Return what examines a run."""
        return _Movement(self, tomo)


@dataclass(frozen=True)
class _Pair:
    first: int
    second: int
    mirrored: bool


class _Movement(Idle):
    def __init__(self, asked: SampleMoved, tomo: TomoBlock) -> None:
        self._asked = asked
        self._pairs = {pair.second: pair for pair in _pairs(tomo, asked.pairs)}
        self._references = {pair.first for pair in self._pairs.values()}
        self._kept: dict[int, NDArray[np.float32]] = {}
        self._sums: _Sums = {}
        self._axis_px = tomo.rotation_axis_px
        self._said = False

    def wants(self, kind: ImageKind, index: int) -> bool:
        return kind == "projection" and (index in self._references or index in self._pairs)

    def frame(self, frame: SeenFrame) -> Iterator[Alarm | Later]:
        bins = max(1, -(-max(frame.image.shape) // _LARGEST_PX))
        if frame.kind != "projection":
            known, count = self._sums.get(frame.kind, (0.0, 0))
            if count < _DARKS_AND_FLATS:
                self._sums[frame.kind] = known + _binned(frame.image, bins), count + 1
            return
        if self.wants("projection", frame.index):
            image, beam = _binned(frame.image, bins), dict(self._sums)
            # Not here: it takes longer than a camera may have to wait.
            yield lambda: self._projection(frame.stream, frame.index, image, beam, bins)

    def _projection(
        self, stream: str, index: int, raw: NDArray[np.float32], beam: _Sums, bins: int
    ) -> Iterator[Alarm]:
        image = _attenuation(raw, beam)
        pair = self._pairs.get(index)
        if pair is not None and pair.first in self._kept:
            yield from self._compare(stream, index, pair, image, bins)
        if index in self._references:
            self._kept[index] = image

    def _compare(
        self, stream: str, index: int, pair: _Pair, image: NDArray[np.float32], bins: int
    ) -> Iterator[Alarm]:
        second = image[:, ::-1] if pair.mirrored else image
        found = image_shift(self._kept[pair.first], second)
        if found.confidence < self._asked.confidence:
            return
        rows, columns = bins * found.rows_px, bins * found.columns_px
        if pair.mirrored:
            width = bins * image.shape[1]
            # Mirrored at the middle of the frame, it lies as far off as twice the axis does.
            if self._axis_px is None:
                self._axis_px = (width - 1 - columns) / 2
            columns = width - 1 - 2 * self._axis_px - columns
        moved = math.hypot(rows, columns)
        if moved > self._asked.limit_px and not self._said:
            self._said = True
            against = "mirrored, half a turn before" if pair.mirrored else "a whole turn before"
            yield Alarm(
                "sample moved", self._asked.level, stream, index, moved,
                self._asked.limit_px, "px",
                f"The sample moved by {moved:.2f} px ({columns:+.2f} px across, {rows:+.2f} px along the "
                f"axis) until frame {index} of {stream}, compared with frame {pair.first} "
                f"({against}), confidence {found.confidence:.2f}; {self._asked.limit_px:g} px are "
                "allowed. Fix the sample, or scan faster.",
                found.confidence,
            )  # fmt: skip


def _attenuation(image: NDArray[np.float32], beam: _Sums) -> NDArray[np.float32]:
    """Return an image without what the beam and the camera put into it, as far as that is known."""
    means = {kind: total / count for kind, (total, count) in beam.items()}
    below = means.get("dark", 0.0)
    light = np.maximum(image - below, 1e-3)
    open_beam = np.maximum(means["flat"] - below, 1e-3) if "flat" in means else light.mean()
    return np.asarray(-np.log(light / open_beam), np.float32)


def _pairs(tomo: TomoBlock, most: int) -> list[_Pair]:
    """Return pairs of projections that must show the same, spread over the scan."""
    try:
        angles = np.rad2deg(tomo.angles_rad())
    except DocumentError:
        return []
    if len(angles) < 2 or tomo.scheme == "spiral":
        return []
    turned = np.sort(np.mod(angles, 360.0))
    steps = np.diff(turned)
    near = _NEARLY_STEPS * float(np.median(steps[steps > 1e-9], axis=0)) if steps.any() else 0.1
    found = []
    for first in range(len(angles)):
        # The next that comes near enough, of either kind, so that a move is told early.
        later = angles[first + 1 :] - angles[first]
        for half in (180.0, 360.0):
            off = np.abs(np.mod(later - half + 180.0, 360.0) - 180.0)
            off[np.abs(later) < 90.0] = np.inf
            if half == 360.0:
                off[np.abs(later) < 270.0] = np.inf
            if len(off) and off.min() <= near:
                second = first + 1 + int(np.flatnonzero(off <= off.min() + 1e-6)[0])
                found.append(_Pair(first, second, half == 180.0))
    found.sort(key=lambda pair: pair.second)
    if len(found) <= most:
        chosen = found
    else:
        chosen = [found[i] for i in np.linspace(0, len(found) - 1, most).round().astype(int)]
    return list({pair.second: pair for pair in chosen}.values())


def _binned(image: NDArray[Any], bins: int) -> NDArray[np.float32]:
    if bins == 1:
        return image.astype(np.float32)
    rows, columns = (size // bins for size in image.shape)
    total = np.zeros((rows, columns), np.float32)
    for down in range(bins):
        for right in range(bins):
            total += image[down : rows * bins : bins, right : columns * bins : bins]
    total /= bins * bins
    return total
