"""What a PandA can do with some pulses, told in sentences before anything moves."""

import itertools
from dataclasses import dataclass

from concertino import DeviceError
from concertino.frames import PulseTrain

_LONGEST_TABLE = 4096
_COUNTS = 2**31
#: How far the last pulse of PCOMP may be from where it was asked for, as a part of the way between two.
_DRIFT = 0.1


@dataclass(frozen=True)
class PandaAxis:
    """How an axis is connected to a PandA.

    Parameters
    ----------
    input : str
        The position output that the sequencer compares, such as ``"INENC1.VAL"``.
    counts_per_unit : float
        Encoder counts for one unit of the axis (deg, mm), with its sign.
    offset : float
        Position of the axis at 0 counts, in its unit.
    """

    input: str
    counts_per_unit: float
    offset: float = 0.0

    def counts(self, position: float) -> int:
        """Return the encoder's counts at a position of the axis."""
        return round((position - self.offset) * self.counts_per_unit)

    def position(self, counts: float) -> float:
        """Return the position of the axis, in its unit, at the encoder's counts."""
        return counts / self.counts_per_unit + self.offset


@dataclass(frozen=True)
class ComparePulses:
    """What PCOMP is armed with, in counts.

    Parameters
    ----------
    start, step, width, number : int
        The first pulse, the way to the next, how long each is, and how many.
    up : bool
        Whether counts grow meanwhile.
    """

    start: int
    step: int
    width: int
    number: int
    up: bool

    @property
    def counts(self) -> list[int]:
        """Counts at which the pulses begin."""
        step = self.step if self.up else -self.step
        return [self.start + number * step for number in range(self.number)]


def counts_of(name: str, axis: PandaAxis, train: PulseTrain) -> list[int]:
    """Return the encoder's counts at the positions of some pulses.

    Parameters
    ----------
    name : str
        Of the box, for messages.
    axis : PandaAxis
        Whose encoder counts.
    train : PulseTrain
        With positions.

    Raises
    ------
    DeviceError
        If they are beyond 32 bits, the same, or not in one direction.
    """
    asked = f"Trigger device {name} was asked for pulses at"
    counts = [axis.counts(position) for position in train.positions]
    for position, count in zip(train.positions, counts, strict=True):
        if not -_COUNTS <= count < _COUNTS:
            raise DeviceError(
                f"{asked} {train.axis} = {position:g}, which are {count} counts; it compares 32 bits, {-_COUNTS} to "
                f"{_COUNTS - 1}. Set the encoder's zero nearer to the scan, or check counts_per_unit."
            )
    steps = [after - before for before, after in itertools.pairwise(counts)]
    if steps and not (min(steps) > 0 or max(steps) < 0):
        raise DeviceError(
            f"{asked} {len(counts)} positions from {train.positions[0]:g} to {train.positions[-1]:g} of {train.axis}, "
            f"and some are the same encoder count or go back: it counts {abs(axis.counts_per_unit):g} a unit. Take "
            "fewer projections or a larger range, in one direction, or give pulses at times."
        )
    return counts


def check_table(name: str, train: PulseTrain) -> None:
    """Check that a sequencer's table has a row for each position.

    Raises
    ------
    DeviceError
        If it has not.
    """
    if len(train.positions) > _LONGEST_TABLE:
        raise DeviceError(
            f"Trigger device {name} was asked for pulses at {len(train.positions)} positions; its sequencer has "
            f"{_LONGEST_TABLE} rows. Take fewer projections a run, or give pulses at times."
        )


def compare_pulses(name: str, axis: PandaAxis, train: PulseTrain) -> ComparePulses:
    """Return what PCOMP is armed with for some pulses: it steps by whole counts, all alike.

    Parameters
    ----------
    name, axis, train
        As for `counts_of`.

    Raises
    ------
    DeviceError
        As `counts_of`; and if the positions are not equally far apart, or pulses would run into one another.
    """
    counts = counts_of(name, axis, train)
    asked = f"Trigger device {name} was asked for {len(counts)} pulses by PCOMP from {train.positions[0]:g} to "
    asked += f"{train.positions[-1]:g} of {train.axis}"
    if len(counts) == 1:
        up = axis.counts_per_unit > 0
        return ComparePulses(counts[0], 2, 1, 1, up)
    step = round(abs(counts[-1] - counts[0]) / (len(counts) - 1))
    up = counts[-1] > counts[0]
    if step < 2:
        raise DeviceError(
            f"{asked}, which are {step} encoder count apart; a pulse lasts 1 count and so does the gap after it. Take "
            "fewer projections or a larger range, or give pulses at times."
        )
    made = ComparePulses(counts[0], step, step // 2, len(counts), up)
    off, where = max(
        (abs(made_at - asked_at), asked_at)
        for made_at, asked_at in zip(made.counts, counts, strict=True)
    )
    if off > max(1.0, _DRIFT * step):
        raise DeviceError(
            f"{asked}; PCOMP gives them at steps of {step} counts, and one would be {off} counts "
            f"({off / abs(axis.counts_per_unit):g}) away from {axis.position(where):g}. Take positions equally far apart "
            "whose steps are nearly whole counts, or use the sequencer: PandaTrigger(…, pcomp=None)."
        )
    return made
