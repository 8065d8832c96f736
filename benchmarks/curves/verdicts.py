"""Whether a curve is flat or linear: by a straight line through its points, and by the power of its growth.

The line is fitted by least squares. A figure is

flat
    when the line rises or falls, from the smallest size to the largest, by a quarter of the figures' mean at most, or by
    less than can be told: 16 MB of memory, 10 ms of lateness, 2 ms of a busy loop, 0.5 s of closing.
falling
    when it falls by more.
faster
    when the figure grows with more than the 1.25th power of the size: the slope of a line through the logarithms.
linear
    when it grows otherwise, and the line explains nine tenths of its variance.
uneven
    when it grows and the line does not explain that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FLAT = 0.25
_FASTER = 1.25
_EXPLAINED = 0.9
_TOLD = {"memory_mb": 16.0, "late_ms": 10.0, "busy_ms": 2.0, "close_s": 0.5}
#: What is no worse than wanted.
_GOOD = {"flat": {"flat", "falling"}, "linear": {"flat", "falling", "linear", "uneven"}}


@dataclass(frozen=True)
class Wanted:
    """How a figure may grow, and what it may be at most.

    Parameters
    ----------
    growth : {"", "flat", "linear"}
        At most so.
    at_most : float
        In the figure's unit.
    """

    growth: str = ""
    at_most: float = math.inf

    def __str__(self) -> str:
        limit = f"≤ {self.at_most:g}" if self.at_most < math.inf else ""
        return ", ".join(filter(None, (self.growth, limit)))


@dataclass(frozen=True)
class Verdict:
    """How a figure grows.

    Attributes
    ----------
    kind : {"flat", "falling", "linear", "faster", "uneven"}
        See above.
    power : float
        Slope of the line through the logarithms.
    slope : float
        Of the line, in the figure's unit for one more.
    missed : bool
        It is worse than wanted.
    """

    kind: str
    power: float
    slope: float
    missed: bool


def verdict_of(
    figure: str, sizes: Sequence[float], values: Sequence[float], wanted: Wanted
) -> Verdict:
    """Judge a figure.

    Parameters
    ----------
    figure : str
        Its name.
    sizes, values : sequence of float
        Its curve.
    wanted : Wanted
        What it should be.
    """
    told = _TOLD.get(figure, 0.0)
    if len(set(sizes)) < 2:
        return Verdict("flat", math.nan, 0.0, max(values) > wanted.at_most)
    x, y = np.asarray(sizes, float), np.asarray(values, float)
    slope, start = np.polyfit(x, y, 1)
    rise = slope * (x.max() - x.min())
    power = float(np.polyfit(np.log(x), np.log(np.maximum(y, max(told, 1e-9))), 1)[0])
    if abs(rise) <= max(told, _FLAT * abs(y.mean())):
        kind = "flat"
    elif rise < 0:
        kind = "falling"
    elif power > _FASTER:
        kind = "faster"
    else:
        unexplained = np.sum((y - start - slope * x) ** 2) / np.sum((y - y.mean()) ** 2)
        kind = "linear" if unexplained <= 1 - _EXPLAINED else "uneven"
    worse = bool(wanted.growth) and kind not in _GOOD[wanted.growth]
    return Verdict(kind, power, float(slope), worse or max(values) > wanted.at_most)
