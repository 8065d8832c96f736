"""Times that know whose clock they were read from, and how one clock is related to another."""

from __future__ import annotations

import inspect
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TRIES = 8
_GOOD_S = 20e-6
_LONG_S = 0.01  # a clock that takes so long to be read is not read again at once
_DRIFT = 2e-4  # of a clock before more is known; quartz is ten times better


@dataclass(frozen=True, eq=False)
class Times:
    """When things happened, by one clock; those of different clocks cannot be compared.

    Parameters
    ----------
    ns : array_like of int64, any shape
        In nanoseconds since the clock's zero; the epoch, of the computer's.
    """

    ns: NDArray[np.int64]

    def __init__(self, ns: ArrayLike) -> None:
        object.__setattr__(self, "ns", np.asarray(ns, np.int64))

    @classmethod
    def of_seconds(cls, seconds: ArrayLike) -> Self:
        """Return times that were given in s."""
        return cls(np.round(np.asarray(seconds, np.float64) * 1e9))

    @property
    def seconds(self) -> NDArray[np.float64]:
        """The same in s."""
        return np.asarray(self.ns * 1e-9)

    def later(self, seconds: ArrayLike) -> Self:
        """Return the times that are so many seconds later."""
        return type(self)(self.ns + np.round(np.asarray(seconds) * 1e9).astype(np.int64))

    def since(self, other: Self) -> NDArray[np.float64]:
        """Return how long after others these are, in s."""
        return np.asarray((self.ns - self._same(other)) * 1e-9)

    def __getitem__(self, which: Any) -> Self:
        return type(self)(self.ns[which])

    def __len__(self) -> int:
        return len(self.ns)

    def __ge__(self, other: Self) -> NDArray[np.bool_]:
        return np.asarray(self.ns >= self._same(other))

    def __gt__(self, other: Self) -> NDArray[np.bool_]:
        return np.asarray(self.ns > self._same(other))

    def __le__(self, other: Self) -> NDArray[np.bool_]:
        return np.asarray(self.ns <= self._same(other))

    def __lt__(self, other: Self) -> NDArray[np.bool_]:
        return np.asarray(self.ns < self._same(other))

    def _same(self, other: Self) -> NDArray[np.int64]:
        if type(other) is not type(self):
            raise TypeError(
                f"{type(self).__name__} were compared with {type(other).__name__}: those of two clocks are "
                "compared after a ClockCalibration has converted the ones into the others."
            )
        return other.ns


class HostTimes(Times):
    """Times by the computer's clock."""


class CameraTimes(Times):
    """Times by a camera's clock."""


class EncoderTimes(Times):
    """Times by an encoder's clock."""


ShownT = TypeVar("ShownT", bound=Times)


class ClockCalibration(Generic[ShownT]):
    """Relates a device's clock to the computer's, by readings between two looks at the latter.

    Parameters
    ----------
    shown : type
        What times by the device's clock are: `CameraTimes`, `EncoderTimes`.
    read : callable, optional
        Returns what the device's clock shows, in s, or an awaitable of that. None: it shows the
        computer's time.
    most : int, optional
        How many readings are remembered, the latest; all by default.

    Notes
    -----
    Each reading happened somewhere between the looks before and after it: half of what they are apart is its
    uncertainty. Through the readings goes a straight line of weighted least squares: offset and drift, the
    latter expected to be within 200 parts per million before the readings tell better. Of several tries in a
    row the best counts, as the computer may have done something else in between.
    """

    def __init__(
        self, shown: type[ShownT], read: Callable[[], Any] | None, most: int | None = None
    ) -> None:
        self._shown, self._read = shown, read
        # (computer's time, how much more the device's clock showed, uncertainty), in s
        self._looks: deque[tuple[float, float, float]] = deque(maxlen=most)
        self._line: _Line | None = None  # replaced as a whole, as another thread may ask for it

    @property
    def same(self) -> bool:
        """Whether the device shows the computer's time."""
        return self._read is None

    async def look(self) -> None:
        """Read the device's clock once more."""
        if self._read is not None:
            tries = _Tries()
            while tries.wanted:
                before_s, shown = time.time(), self._read()
                shown_s = float(await shown if inspect.isawaitable(shown) else shown)
                tries.note(before_s, shown_s, time.time())
            self._note(tries)

    def look_now(self) -> None:
        """Read the device's clock once more, one that answers at once."""
        if self._read is not None:
            tries = _Tries()
            while tries.wanted:
                before_s, shown_s = time.time(), float(self._read())
                tries.note(before_s, shown_s, time.time())
            self._note(tries)

    def of_host(self, host: HostTimes) -> tuple[ShownT, NDArray[np.float64]]:
        """Return what the device's clock shows at times of the computer's, and its uncertainty in s."""
        if self.same:
            return self._shown(host.ns), np.zeros(host.ns.shape)
        line = self._known
        offset, spread = line.at(host.seconds - line.middle_s)
        return self._shown(host.later(offset).ns), spread

    def to_host(self, shown: ShownT) -> tuple[HostTimes, NDArray[np.float64]]:
        """Return the computer's times at which the device's clock shows times, and their uncertainty in s."""
        by_device = HostTimes(shown.ns)
        if self.same:
            return by_device, np.zeros(shown.ns.shape)
        line = self._known
        offset, spread = line.at((shown.seconds - line.middle_s - line.offset_s) / (1 + line.slope))
        return by_device.later(-offset), spread

    @property
    def _known(self) -> _Line:
        assert self._line is not None, (
            "a clock is related to the computer's only after a look at it"
        )
        return self._line

    def _note(self, tries: _Tries) -> None:
        assert tries.best is not None
        self._looks.append(tries.best)
        self._line = _Line.through(self._looks)


@dataclass(frozen=True)
class _Line:
    """How much more a device's clock shows than the computer's, by a straight line of weighted least squares.

    Parameters
    ----------
    middle_s : float
        The computer's time in the middle of the readings, in s.
    offset_s : float
        What the device's clock shows more then, in s.
    slope : float
        By how much that grows in a second, in s.
    weight, width : float
        Sum of the weights, in 1/s²; and of these by the square of the time from the middle.
    """

    middle_s: float
    offset_s: float
    slope: float
    weight: float
    width: float

    @classmethod
    def through(cls, looks: Iterable[tuple[float, float, float]]) -> Self:
        """Return the line through readings: the computer's time, the offset and its uncertainty, in s."""
        host, offset, half = np.array(list(looks)).T
        weight = 1 / (half / math.sqrt(3) + 1e-7) ** 2
        middle = float((weight * host).sum() / weight.sum())
        mean = float((weight * offset).sum() / weight.sum())
        x = host - middle
        width = float((weight * x**2).sum()) + 1 / _DRIFT**2
        slope = float((weight * x * (offset - mean)).sum() / width)
        return cls(middle, mean, slope, float(weight.sum()), width)

    def at(self, away_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the offset so long after the middle by the computer's clock, and its uncertainty, in s."""
        spread = np.sqrt(1 / self.weight + away_s**2 / self.width)
        return self.offset_s + self.slope * away_s, spread


class _Tries:
    """The best of several readings of a clock in a row."""

    def __init__(self) -> None:
        self.best: tuple[float, float, float] | None = None
        self._count = 0
        self._began_s = time.monotonic()

    @property
    def wanted(self) -> bool:
        """Whether another one may be better."""
        if self.best is None:
            return True
        taken_s = time.monotonic() - self._began_s
        return self.best[2] >= _GOOD_S / 2 and self._count < _TRIES and taken_s < _LONG_S

    def note(self, before_s: float, shown_s: float, after_s: float) -> None:
        """Note a reading."""
        self._count += 1
        half_s = max(0.0, after_s - before_s) / 2
        if self.best is None or half_s < self.best[2]:
            self.best = (before_s + half_s, shown_s - before_s - half_s, half_s)
