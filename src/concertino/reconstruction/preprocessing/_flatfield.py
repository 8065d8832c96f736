"""Darks and flats as they come, combined into what turns counts into transmission."""

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ReconstructionError
from concertino.reconstruction.settings._settings import Combination, ReconstructionSettings

from ._correct import FlatFieldCorrection

_DEAD = 1e-3  # of the usual light, below which a pixel tells nothing
_STRAY = 10 * 1.4826  # times the median deviation: ten standard deviations of what is normal
_STRAY_DARK, _STRAY_FLAT = 1e-3, 1e-2  # of the light: smaller shifts matter to nobody
_LOOKED_AT_ROWS = 256
_NAMED = 5


class FrameMean:
    """Average, median or first of the frames added, on the wanted rows only.

    Frames are added one by one in float64, so that it does not matter how they were batched.

    Parameters
    ----------
    rows
        The rows that are kept.
    how
        'average', 'median' or 'first'.
    """

    def __init__(self, rows: NDArray[np.int64], how: Combination) -> None:
        self._rows, self._how = rows, how
        self._sum: NDArray[np.float64] | None = None
        self._kept: list[NDArray[np.float64]] = []
        self.count = 0
        self.levels: list[float] = []  # mean of each frame, also of rows that are not kept

    def add(self, frames: NDArray[np.generic]) -> None:
        """Add frames (frame, row, column)."""
        for frame in frames:
            self.count += 1
            looked_at = frame[:: max(1, len(frame) // _LOOKED_AT_ROWS)]
            self.levels.append(float(looked_at.mean(dtype=np.float64)))
            if self._how == "first" and self.count > 1:
                continue
            wanted = frame[self._rows].astype(np.float64)
            if self._how == "median":
                self._kept.append(wanted)
            elif self._sum is None:
                self._sum = wanted
            else:
                self._sum += wanted

    def combined(self) -> NDArray[np.float64] | None:
        """The combination, float64 (row, column); None when nothing was added."""
        if self._kept:
            return np.asarray(np.median(self._kept, axis=0))
        if self._sum is None:
            return None
        return self._sum / (1 if self._how == "first" else self.count)

    def doubt(self, what: str, setting: str, least: float) -> str:
        """Say which of the frames that count stand out by more than `least`; empty when none does."""
        levels = np.array(self.levels)
        if len(levels) < 3 or self._how == "median":
            return ""
        usual = float(np.median(levels))
        away = np.abs(levels - usual)
        strays = np.flatnonzero(away > max(least, _STRAY * float(np.median(away))))
        if self._how == "first":
            strays = strays[strays == 0]
        if not len(strays):
            return ""
        named = ", ".join(f"{index} (mean {levels[index]:.6g})" for index in strays[:_NAMED])
        more = f" and {len(strays) - _NAMED} more" if len(strays) > _NAMED else ""
        return (
            f"Of the {len(levels)} {what}, counted from 0, these stand out from the usual mean of {usual:.6g}: "
            f"{named}{more}. They are used all the same. Look at them; {setting}='median' leaves them out."
        )

    def empty(self) -> "FrameMean":
        """The same without frames."""
        return FrameMean(self._rows, self._how)

    def part(self, rows: NDArray[np.int64]) -> "FrameMean":
        """The same for some of the rows, given by their places among those kept."""
        other = FrameMean(self._rows[rows], self._how)
        other.count, other.levels = self.count, list(self.levels)
        other._sum = None if self._sum is None else self._sum[rows]
        other._kept = [frame[rows] for frame in self._kept]
        return other


class DarksAndFlats:
    """Darks, flats before and flats after the projections of one scan.

    Parameters
    ----------
    rows
        The detector rows that are kept.
    settings
        How frames are combined.
    """

    def __init__(self, rows: NDArray[np.int64], settings: ReconstructionSettings) -> None:
        self.darks = FrameMean(rows, settings.darks)
        self.before = FrameMean(rows, settings.flats)
        self.after = FrameMean(rows, settings.flats)
        self._forgotten = 0

    @property
    def key(self) -> tuple[int, ...]:
        """Changes when a frame is added, or all are forgotten."""
        return (self.darks.count, self.before.count, self.after.count, self._forgotten)

    def forget_darks(self) -> None:
        """Leave out the darks until now."""
        self.darks = self.darks.empty()
        self._forgotten += 1

    def forget_flats(self) -> None:
        """Leave out the flats until now."""
        self.before, self.after = self.before.empty(), self.after.empty()
        self._forgotten += 1

    @property
    def flats(self) -> int:
        """Number of flats."""
        return self.before.count + self.after.count

    def take(self, other: "DarksAndFlats", rows: NDArray[np.int64]) -> None:
        """Take the frames of another, of rows given by their places there."""
        self.darks = other.darks.part(rows)
        self.before = other.before.part(rows)
        self.after = other.after.part(rows)

    def doubts(self, settings: ReconstructionSettings) -> tuple[str, ...]:
        """A sentence for each group of used frames of which some stand out, as when a shutter was late."""
        flats = self.before.levels + self.after.levels
        dark = float(np.median(self.darks.levels)) if self.darks.levels else 0.0
        light = abs(float(np.median(flats)) - dark) if flats else abs(dark)
        found = [
            self.darks.doubt("darks", "darks", (_STRAY_DARK if flats else _STRAY_FLAT) * light),
            self.before.doubt("flats", "flats", _STRAY_FLAT * light),
        ]
        if settings.flats_after != "ignore" or not self.before.count:
            found += [self.after.doubt("flats after the projections", "flats", _STRAY_FLAT * light)]
        return tuple(doubt for doubt in found if doubt)

    def field(
        self, settings: ReconstructionSettings, shape: tuple[int, int]
    ) -> FlatFieldCorrection:
        """Combine what is there, for kept rows of shape (row, column)."""
        dark = self.darks.combined()
        scales = (settings.dark_scale, settings.flat_scale)
        flat, after = self.before.combined(), self.after.combined()
        gain_after = None
        if flat is None:
            flat = after
        elif settings.flats_after == "average":
            flat = mean_of_both(self.before, self.after)
        elif settings.flats_after == "interpolate" and after is not None:
            gain_after = correction(dark, after, shape, *scales)[1]
        offset, gain = correction(dark, flat, shape, *scales)
        logarithm = settings.absorptivity
        return FlatFieldCorrection(
            offset, gain, gain_after, flat is not None if logarithm is None else logarithm
        )


def mean_of_both(before: FrameMean, after: FrameMean) -> NDArray[np.float64] | None:
    """Flats of both ends of a scan together, weighted by their numbers."""
    one, other = before.combined(), after.combined()
    if one is None or other is None:
        return one if other is None else other
    return (one * before.count + other * after.count) / (before.count + after.count)


def correction(
    dark: NDArray[np.float64] | None,
    flat: NDArray[np.float64] | None,
    shape: tuple[int, int],
    dark_scale: float,
    flat_scale: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Offset and gain with which transmission is (counts - offset) * gain.

    Pixels where the flat is hardly brighter than the dark (a thousandth of what is usual) get a NaN gain:
    their values are unknown.

    Parameters
    ----------
    dark, flat
        float64, (row, column), or None: no offset, no gain.
    shape
        (row, column).
    dark_scale, flat_scale
        Factors of the dark and the flat.

    Returns
    -------
    offset, gain
        float32, (row, column).

    Raises
    ------
    ReconstructionError
        The flat is nowhere brighter than the dark.
    """
    offset = np.zeros(shape) if dark is None else dark * dark_scale
    if flat is None:
        return offset.astype(np.float32), np.ones(shape, np.float32)
    light = flat * flat_scale - offset
    if not (light > 0).any():
        raise ReconstructionError(
            f"The flats (mean {flat.mean():.6g}) are nowhere brighter than the darks (mean "
            f"{offset.mean():.6g}). Take flats with the beam on, or set absorptivity=False and give "
            "none."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(light > _DEAD * np.median(light[light > 0]), 1.0 / light, np.nan)
    return offset.astype(np.float32), gain.astype(np.float32)
