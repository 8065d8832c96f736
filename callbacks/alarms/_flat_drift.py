"""Watches the beam as the frames see it: in flats, and beside or through the sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.documents import TomoBlock

from ._alarm import Alarm, Level, check_level, check_positive
from ._alarm_checks import Examiner, Idle, SeenFrame

#: A frame is judged by the means of so many blocks down and across it.
_BLOCKS = (8, 32)
#: Frames of a kind that make what later ones are compared with.
_FIRST = 5
_COVERED = " If a round and even sample covers both sides, it is the sample: give FlatDrift a region that is free."
#: Which share of the blocks is as bright as the background or darker, in percent.
_BRIGHT = 95.0


@dataclass(frozen=True)
class FlatDrift:
    """Watches whether the beam is as bright as in the first flats, darks taken off.

    Flats are compared with the first flats by their mean. Projections are compared with them in the
    `region`, if one is given. Without one, the beam has changed when

    - the brightest twentieth of a projection is brighter than the flats: no sample does that;
    - while the sample turns through a quarter of the projections both sides of the frame are darker than the
      flats, evenly and always the same, as where there is no sample;
    - in the first projections the brightest twentieth was as bright as the flats, and since then it and the
      mean of the logarithm have both changed in the same direction: a sample that turns until it covers all
      of the field loses some of its mass out of it, so the mean tells of less sample, and not of more.

    Behind a sample that always covers the whole field a weak beam and a thick sample look the same: nothing
    is said of it, unless it is as round and even as the beam is; give the `region` then. Phase stepping, where each step has another brightness, is not looked at.

    Parameters
    ----------
    change : float
        By how much the brightness may differ, relative.
    region : ((int, int), (int, int)), optional
        Rows and columns, from and to, that the sample never covers, in px.
    level : {"note", "warn", "pause", "fail"}
        What the alarm does.
    """

    change: float = 0.05
    region: tuple[tuple[int, int], tuple[int, int]] | None = None
    level: Level = "warn"

    def __post_init__(self) -> None:
        check_level(self.level)
        check_positive("change", self.change, "the relative change that is allowed")

    def examiner(self, start: Mapping[str, Any], tomo: TomoBlock) -> Examiner:
        """Return what examines a run."""
        if "grating" in start:
            return Idle()
        return _Drift(self, None if tomo.rotation is None else tomo.num_projections // 4)


class _Mean:
    """The mean of the first arrays that come."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sum: NDArray[np.float64] | None = None
        self._count = 0

    def take(self, values: NDArray[np.float64]) -> bool:
        """Take values, and tell whether there was room for them."""
        if self._count >= self._most:
            return False
        self._sum = values if self._sum is None else self._sum + values
        self._count += 1
        return True

    @property
    def value(self) -> NDArray[np.float64] | None:
        return None if self._sum is None else self._sum / self._count


class _Drift(Idle):
    def __init__(self, asked: FlatDrift, quarter: int | None) -> None:
        self._asked = asked
        self._quarter = quarter
        self._steady: tuple[int, float, float] | None = None
        self._darks, self._flats = _Mean(10**9), _Mean(_FIRST)
        self._projections = _Mean(_FIRST)
        self._said: set[str] = set()

    def frame(self, frame: SeenFrame) -> Iterator[Alarm]:
        seen = self._blocks(frame.image)
        if frame.kind == "dark":
            self._darks.take(seen)
            return
        if frame.kind == "flat" and self._flats.take(seen):
            return
        if frame.stream in self._said:
            return
        if frame.kind == "flat":
            change, what = self._beside_flats(seen), "the flats are"
        elif self._asked.region is not None:
            change, what = self._beside_flats(seen), "the empty region is"
        else:
            change, what = self._of_projection(seen, frame.index)
        if change is not None and abs(change) > self._asked.change:
            self._said.add(frame.stream)
            yield self._alarm(frame, change, what)

    def _alarm(self, frame: SeenFrame, change: float, what: str) -> Alarm:
        allowed = self._asked.change
        than = "in the first projections" if what.startswith("the beam") else "in the first flats"
        return Alarm(
            "flat drift", self._asked.level, frame.stream, frame.index, change, allowed, "",
            f"In frame {frame.index} of {frame.stream} {what} {100 * abs(change):.3g} % "
            f"{'brighter' if change > 0 else 'darker'} than {than}; "
            f"{100 * allowed:.3g} % is allowed. Take flats again, or look at the beam."
            + (_COVERED if what.startswith("both sides") else ""),
        )  # fmt: skip

    def _light(self, mean: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        dark = self._darks.value
        return mean if mean is None or dark is None else mean - dark

    def _beside_flats(self, seen: NDArray[np.float64]) -> float | None:
        """Return the relative change of the mean since the first flats."""
        flat, light = self._light(self._flats.value), self._light(seen)
        if flat is None or light is None or flat.mean() <= 0:
            return None
        return float(light.mean() / flat.mean() - 1)

    def _of_projection(self, seen: NDArray[np.float64], index: int) -> tuple[float | None, str]:
        """Return the relative change of the beam in a projection, and how it shows."""
        flat, light = self._light(self._flats.value), self._light(seen)
        if flat is None or light is None or flat.min() <= 0:
            return None, ""
        allowed, light = self._asked.change, light / flat
        bright = float(np.percentile(light, _BRIGHT)) - 1
        if bright > allowed:
            return bright, "the brightest part of the field is"
        if self._sides_are_dark(light[:, [0, -1]], index):
            return float(np.median(light[:, [0, -1]])) - 1, "both sides of the field are"
        first = self._projections.value
        if self._projections.take(light) or first is None:
            return None, ""
        if abs(float(np.percentile(first, _BRIGHT)) - 1) > allowed:
            return None, ""
        return _common_change(light, first), "the beam seems"

    def _sides_are_dark(self, sides: NDArray[np.float64], index: int) -> bool:
        """Tell whether the sides have been evenly dark for a quarter of the projections."""
        low, high, allowed = float(sides.min()), float(sides.max()), self._asked.change
        since = index
        if self._steady is not None:
            since = self._steady[0]
            low, high = min(low, self._steady[1]), max(high, self._steady[2])
        if high - low > allowed * low or high > 1 - allowed:
            self._steady = None
            return False
        self._steady = (since, low, high)
        return self._quarter is not None and index - since >= max(1, self._quarter)

    def _blocks(self, image: NDArray[Any]) -> NDArray[np.float64]:
        """Return the means of blocks, or that of the region."""
        if self._asked.region is not None:
            (top, bottom), (left, right) = self._asked.region
            part = image[top:bottom, left:right]
            image = part if part.size else image
            return np.full((1, 1), image.mean(dtype=np.float64))
        # Every second pixel tells enough, and takes a quarter of the time.
        part = image[::2, ::2] if min(image.shape) >= 2 * max(_BLOCKS) else image
        places = [
            np.arange(min(wanted, size)) * size // min(wanted, size)
            for wanted, size in zip(_BLOCKS, part.shape, strict=True)
        ]
        sums = np.add.reduceat(part, places[0], axis=0, dtype=np.float64)
        sums = np.add.reduceat(sums, places[1], axis=1)
        rows, columns = (
            np.diff([*place, size]) for place, size in zip(places, part.shape, strict=True)
        )
        return np.asarray(sums / rows[:, None] / columns[None, :])


def _common_change(light: NDArray[np.float64], first: NDArray[np.float64]) -> float:
    """Return the relative change that the brightest parts and all of them agree on."""
    least = 1e-3 * max(float(first.max()), 1e-30)
    now, before = np.maximum(light, least), np.maximum(first, least)
    bright = float(np.log(np.percentile(now, _BRIGHT) / np.percentile(before, _BRIGHT)))
    all_of_it = float(np.mean(np.log(now)) - np.mean(np.log(before)))
    if bright * all_of_it <= 0:
        return 0.0
    return float(np.expm1(min(bright, all_of_it, key=abs)))
