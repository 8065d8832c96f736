"""A PandA as trigger device: its sequencer gives pulses at positions of an encoder, or at times."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ophyd_async.core import AsyncStatus

from concertino import DeviceError
from concertino.frames import PulseTrain

_LONGEST_TABLE = 4096
_TICKS_PER_S = 1_000_000
_PULSE_TICKS = 10
_COUNTS = 2**31


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


class PandaTrigger:
    """Gives pulses by a PandA's sequencer, for the parameter `trigger` of the plans.

    The first output of the sequencer (OUTA) goes to the camera's trigger input. Each position is a row of the
    sequencer's table, 4096 at most; times are one row that repeats. A pulse lasts 10 us.

    Parameters
    ----------
    panda : device
        Of `ophyd_async.fastcs.panda`, connected: an ``HDFPanda``, or anything with ``seq`` blocks.
    axes : mapping of str to PandaAxis
        How the axes are connected, by their names.
    seq : int
        Number of the sequencer.

    Notes
    -----
    Tested on soft signals of the types that the blocks have, never on hardware: what is proven is what is
    written to the blocks, not what the box does with it. Connecting to one needs ``ophyd-async[pva]``.
    """

    parent = None

    def __init__(
        self,
        panda: Any,
        axes: Mapping[str, PandaAxis] | None = None,
        *,
        seq: int = 1,
    ) -> None:
        self.axes = dict(axes or {})
        self._panda = panda
        self._number = seq
        self._single = False

    @property
    def name(self) -> str:
        """Name of the PandA."""
        return str(self._panda.name)

    def check_train(self, value: PulseTrain) -> None:
        """Raise `DeviceError` if the box cannot give some pulses; nothing is written to it."""
        if value.positions:
            self._counts(value)
        elif value.period_s and round(value.period_s * _TICKS_PER_S) <= _PULSE_TICKS:
            raise DeviceError(
                f"Trigger device {self.name} was asked for a pulse each {value.period_s:g} s; one lasts "
                f"{_PULSE_TICKS / _TICKS_PER_S:g} s. Take fewer frames a second."
            )

    @AsyncStatus.wrap
    async def prepare(self, value: PulseTrain) -> None:
        """Write the sequencer's table.

        Raises
        ------
        DeviceError
            As `check_train`.
        """
        from ophyd_async.fastcs.panda import PandaPosMux, PandaTimeUnits

        self.check_train(value)
        table, repeats = self._table(value)
        self._single = not value.positions and not value.period_s
        seq = self._panda.seq[self._number]
        mux: Any = self.axes[value.axis].input if value.positions else PandaPosMux.ZERO
        await self.stop()
        # The units first: the box converts what it holds when they change.
        await seq.prescale_units.set(PandaTimeUnits.US)
        await asyncio.gather(
            seq.prescale.set(1.0), seq.posa.set(mux), seq.repeats.set(repeats), seq.table.set(table)
        )

    @AsyncStatus.wrap
    async def set(self, value: bool) -> None:
        """Give pulses from now on (True), or no more (False)."""
        if not value:
            await self.stop()
        elif not self._single:
            await self._enable()

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Give one pulse."""
        if not self._single:
            raise DeviceError(
                f"Trigger device {self.name} is armed for pulses by itself; prepare it with "
                "PulseTrain(count) for pulses one by one."
            )
        await self.stop()
        await self._enable()

    async def stop(self, success: bool = True) -> None:
        """Give no more pulses."""
        from ophyd_async.fastcs.panda import PandaBitMux

        await self._panda.seq[self._number].enable.set(PandaBitMux.ZERO)

    async def _enable(self) -> None:
        from ophyd_async.fastcs.panda import PandaBitMux

        await self._panda.seq[self._number].enable.set(PandaBitMux.ONE)

    def _table(self, train: PulseTrain) -> tuple[Any, int]:
        """Return the sequencer's table, and how often it is to be repeated."""
        from ophyd_async.fastcs.panda import SeqTable, SeqTrigger

        if not train.positions:
            rest = max(1, round(train.period_s * _TICKS_PER_S) - _PULSE_TICKS)
            row = SeqTable.row(time1=_PULSE_TICKS, outa1=True, time2=rest)
            return row, train.count if train.period_s else 1
        counts = self._counts(train)
        up = counts[-1] >= counts[0]
        table = SeqTable.empty()
        for count in counts:
            table += SeqTable.row(
                trigger=SeqTrigger.POSA_GT if up else SeqTrigger.POSA_LT, position=count,
                time1=_PULSE_TICKS, outa1=True, time2=1,
            )  # fmt: skip
        return table, 1

    def _counts(self, train: PulseTrain) -> list[int]:
        """Return the encoder's counts at the positions, as the sequencer can compare them."""
        axis, asked = (
            self.axes.get(train.axis),
            f"Trigger device {self.name} was asked for pulses at",
        )
        if axis is None:
            raise DeviceError(
                f"{asked} positions of {train.axis!r}; it knows {', '.join(self.axes) or 'none'}. Give "
                "PandaTrigger its axes."
            )
        if len(train.positions) > _LONGEST_TABLE:
            raise DeviceError(
                f"{asked} {len(train.positions)} positions; its sequencer has {_LONGEST_TABLE} rows. Take fewer "
                "projections a run, or give pulses at times."
            )
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
