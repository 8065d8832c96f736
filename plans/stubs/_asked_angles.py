"""Angles that were asked of a sweep beside those that its projections have."""

import logging
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from bluesky.protocols import Readable, Reading
from event_model import DataKey
from numpy.typing import NDArray

from concertino import CameraError

LOG = logging.getLogger("concertino.plans")

STREAM = "angles_compared"
_TOLD_SHARE = 0.05  # of the projections, or of the range: from there on it is told
_ASTRAY_SHARE = 0.5  # of the projections are elsewhere: another scan, though all angles are known
_LOST_SHARE = 0.1  # ... have the angle of the one before, or of the range has none: angles are lost
_SHAKEN_S = 0.1  # what a busy computer, or frames that are stamped together, may be off
_SHAKEN_STEPS = 10  # ... which is never more steps than these, or than that share of the range
_TOLD_STEPS = 2  # ... and no more than these go untold
_STANDS = 0.1  # of a step: who turned less, stood


@dataclass(frozen=True)
class Compared:
    """By how much a sweep is another one than was asked for, as shares from 0 to 1.

    Attributes
    ----------
    astray : float
        Of the projections: those further than half a step from where they were asked for.
    repeated : float
        Of the projections: those with the angle of the one before.
    missing : float
        Of the range: the largest part without a projection.
    """

    astray: float
    repeated: float
    missing: float

    @property
    def largest(self) -> float:
        """Of the three."""
        return max(self.astray, self.repeated, self.missing)

    @property
    def is_another_scan(self) -> bool:
        """Whether that is more than a scan may be off."""
        return self.astray > _ASTRAY_SHARE or max(self.repeated, self.missing) > _LOST_SHARE


@dataclass
class AskedAngles:
    """What a sweep was to give, and what it gave.

    Parameters
    ----------
    step_deg : float
        From projection to projection, with its sign.
    count : int
        Projections.
    velocity_deg : float
        Of the rotation, in deg/s.
    """

    step_deg: float
    count: int
    velocity_deg: float
    _numbers: list[NDArray[np.int64]] = field(default_factory=list)
    _angles: list[NDArray[np.float64]] = field(default_factory=list)
    _spread: list[NDArray[np.float64]] = field(default_factory=list)

    def got(
        self,
        numbers: NDArray[np.int64],
        angles_deg: NDArray[np.float64],
        spread_deg: NDArray[np.float64],
    ) -> None:
        """Note which projections came, the angles that they have, and how uncertain these are."""
        self._numbers.append(numbers)
        self._angles.append(angles_deg)
        self._spread.append(spread_deg)

    def compared(self, shaken_steps: float = 0.0) -> Compared:
        """Compare angles asked and got.

        The median of all deviations does not count: a scan may be turned as a whole. Nor does what clocks cannot
        tell, which is three times the uncertainty.

        Parameters
        ----------
        shaken_steps : float
            How far a busy computer may have put a projection, and how many it may have put together, in steps.
        """
        step = abs(self.step_deg)
        numbers = np.concatenate([np.empty(0, np.int64), *self._numbers])
        if len(numbers) < 2 or not step:
            return Compared(0.0, 0.0, 0.0)
        # In steps, turned so that they rise.
        got = np.concatenate(self._angles) / self.step_deg
        clocks = 3 * np.concatenate(self._spread) / step
        allowed = (0.5 + shaken_steps) * (1 + 1e-9)
        off = got - numbers
        astray = np.mean(np.abs(off - np.median(off)) - clocks > allowed)
        stood = np.abs(np.diff(got)) < _STANDS
        begins, ends = _runs(stood)
        stood_long = (ends - begins)[ends - begins > shaken_steps]
        span = numbers.max() - numbers.min()
        lost = float(np.diff(np.sort(numbers)).max())  # of frames: told where they are counted
        short = max(np.diff(np.sort(got)).max() - lost, span - np.ptp(got))
        missing = short - (allowed if shaken_steps else 0.0) - 2 * np.median(clocks)
        return Compared(
            float(astray),
            float(stood_long.sum() / len(numbers)),
            float(np.clip(missing / max(span, 1), 0, 1)),
        )

    @property
    def shaken_steps(self) -> float:
        """What a tenth of a second is in steps; never many, nor much of the scan."""
        shaken = _SHAKEN_S * abs(self.velocity_deg) / max(abs(self.step_deg), 1e-300)
        return float(min(shaken, max(_SHAKEN_STEPS, _LOST_SHARE * self.count)))

    @cached_property
    def facts(self) -> Compared:
        """The comparison with nothing allowed for a busy computer, when all have come."""
        return self.compared()

    def check(self, camera: str, slowest: str, *, fail: bool) -> None:
        """Tell when the projections are not where they were asked for, and fail when it is another scan.

        Parameters
        ----------
        camera : str
            Who took them, for the message.
        slowest : str
            Whom the camera waited for; empty if for nobody.
        fail : bool
            Whether it may fail.

        Raises
        ------
        CameraError
            If more than half of them are not, more than a tenth repeat an angle, or more than a tenth of the
            range has none.
        """
        told = self.compared(min(self.shaken_steps, _TOLD_STEPS))
        failing = self.compared(self.shaken_steps)
        if told.largest <= _TOLD_SHARE and not failing.is_another_scan:
            return
        angles, facts = np.concatenate(self._angles), self.facts
        why = slowest or "nobody who takes its frames held it up"
        text = (
            f"Camera {camera} was asked for {self.count} projections every {abs(self.step_deg):.4g} deg, and "
            f"{100 * facts.astray:.0f} % of them are more than half a step from where they were asked for, "
            f"{100 * facts.repeated:.0f} % have the angle of the one before, and {100 * facts.missing:.0f} % "
            f"of the range in one piece has none: they lie at "
            f"{angles.min():.4g} to {angles.max():.4g} deg. It took frames at another pace than it was set to; {why}. "
            "Lower the frame rate, or give what takes the frames less to do or a faster disk."
        )
        if fail and failing.is_another_scan:
            raise CameraError(f"{text} With on_lost='flag' this is told and the run goes on.")
        LOG.warning("%s", text)


class AnglesCompared(Readable[float]):
    """Says in the documents how angles asked and got compare, sweep by sweep of a run.

    Parameters
    ----------
    name : str
        For the documents.

    Attributes
    ----------
    of : AskedAngles or None
        The last sweep.
    """

    parent: Any = None

    def __init__(self, name: str) -> None:
        self._name = name
        self.of: AskedAngles | None = None

    @property
    def name(self) -> str:
        """For the documents."""
        return self._name

    def describe(self) -> dict[str, DataKey]:
        """Describe the shares."""
        return {
            key: DataKey(source=self.name, shape=[], dtype="number", dtype_numpy="<f8")
            for key in ("astray", "repeated", "missing")
        }

    def read(self) -> dict[str, Reading[float]]:
        """Return the shares, with nothing allowed for a busy computer."""
        now_s, of = time.time(), self.of
        facts = Compared(0.0, 0.0, 0.0) if of is None else of.facts
        return {key: Reading(value=getattr(facts, key), timestamp=now_s) for key in self.describe()}


def _runs(these: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where runs of true values begin, and where they have ended."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], these.astype(np.int8), [0]])))
    return edges[::2], edges[1::2]
