"""A PandA as trigger device: it gives pulses at positions of an encoder, or at times, and notes where it was."""

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import AsyncStatus

from concertino import DeviceError
from concertino.frames import PulseTrain

from .panda._box import PandaBox
from .panda._limits import ComparePulses, PandaAxis, check_table, compare_pulses, counts_of

_TICKS_PER_S = 1_000_000
_PULSE_TICKS = 10


class PandaTrigger:
    """Gives pulses by a PandA's sequencer or position compare, for the parameter `trigger` of the plans.

    The camera's trigger input is connected to the first output of the sequencer (OUTA): each position is a row of its table,
    4096 at most; times are one row that repeats; a pulse lasts 10 us. With `pcomp`, positions are given by the
    position compare instead (OUT), as many as there are, equally far apart; a pulse lasts half of the way to the next.

    Parameters
    ----------
    panda : device
        A `PandaBox`; or one of `ophyd_async.fastcs.panda`, connected: an ``HDFPanda``, or anything with ``seq``
        and ``pcomp`` blocks.
    axes : mapping of str to PandaAxis
        How the axes are connected, by their names.
    seq : int
        Number of the sequencer.
    pcomp : int, optional
        Number of the position compare that gives the pulses at positions.
    capture : bool
        Have a `PandaBox` note the encoder at each pulse: these are the angles of the frames. Otherwise they are
        where the pulses were asked for, as the box counts.

    Notes
    -----
    Tested on the box' protocol with a simulated one, and on soft signals of the types of an IOC's blocks, never on hardware.
    Connecting an ``HDFPanda`` needs ``ophyd-async[pva]``.
    """

    parent = None

    def __init__(
        self,
        panda: Any,
        axes: Mapping[str, PandaAxis] | None = None,
        *,
        seq: int = 1,
        pcomp: int | None = None,
        capture: bool = True,
    ) -> None:
        self.axes = dict(axes or {})
        self._panda = panda
        self._number, self._pcomp = seq, pcomp
        self._single = False
        self._capture = panda.capture if capture and isinstance(panda, PandaBox) else None
        self._train = PulseTrain(0)
        self._compared: list[int] = []

    @property
    def name(self) -> str:
        """Name of the PandA."""
        return str(self._panda.name)

    @property
    def resolution(self) -> float:
        """One encoder count, in the unit of the axis."""
        axis = self.axes.get(self._train.axis)
        return 0.0 if axis is None else 1 / abs(axis.counts_per_unit)

    def check_train(self, value: PulseTrain) -> None:
        """Raise `DeviceError` if the box cannot give some pulses; nothing is written to it."""
        if value.positions:
            self._pulses(value)
        elif value.period_s and round(value.period_s * _TICKS_PER_S) <= _PULSE_TICKS:
            raise DeviceError(
                f"Trigger device {self.name} was asked for a pulse each {value.period_s:g} s; one lasts "
                f"{_PULSE_TICKS / _TICKS_PER_S:g} s. Take fewer frames a second."
            )

    @AsyncStatus.wrap
    async def prepare(self, value: PulseTrain) -> None:
        """Write the sequencer's table, or what the position compare needs; begin to note positions.

        Raises
        ------
        DeviceError
            As `check_train`; or if the box is not there.
        """
        self.check_train(value)
        self._single = not value.positions and not value.period_s
        await self.stop()
        self._train = value
        pulses = self._pulses(value) if value.positions else []
        if isinstance(pulses, ComparePulses):
            self._compared = pulses.counts
            await self._prepare_compare(pulses)
        else:
            self._compared = pulses
            await self._prepare_sequencer(value)
        if value.positions and self._capture is not None:
            bit = f"SEQ{self._number}.OUTA" if self._pcomp is None else f"PCOMP{self._pcomp}.OUT"
            await self._capture.start(self.axes[value.axis].input, bit)

    async def _prepare_compare(self, pulses: ComparePulses) -> None:
        from ophyd_async.fastcs.panda import PandaPcompDirection

        direction = PandaPcompDirection.POSITIVE if pulses.up else PandaPcompDirection.NEGATIVE
        pcomp = self._panda.pcomp[self._pcomp]
        await asyncio.gather(
            pcomp.inp.set(self.axes[self._train.axis].input), pcomp.pre_start.set(0),
            pcomp.start.set(pulses.start), pcomp.step.set(pulses.step), pcomp.width.set(pulses.width),
            pcomp.pulses.set(pulses.number), pcomp.dir.set(direction),
        )  # fmt: skip

    async def _prepare_sequencer(self, value: PulseTrain) -> None:
        from ophyd_async.fastcs.panda import PandaPosMux, PandaTimeUnits

        table, repeats = self._table(value)
        seq = self._panda.seq[self._number]
        mux: Any = self.axes[value.axis].input if value.positions else PandaPosMux.ZERO
        # The units first: the box converts what it holds when they change.
        await seq.prescale_units.set(PandaTimeUnits.US)
        await asyncio.gather(
            seq.prescale.set(1.0), seq.posa.set(mux), seq.repeats.set(repeats), seq.table.set(table)
        )

    @AsyncStatus.wrap
    async def set(self, value: bool) -> None:
        """Give pulses from now on (True), or no more (False).

        Raises
        ------
        DeviceError
            If the box is lost; or, as a `PandaBox` tells, the axis is beyond the first position already.
        """
        if not value:
            await self.stop()
        elif not self._single:
            await self._check_before()
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

        try:
            await self._panda.seq[self._number].enable.set(PandaBitMux.ZERO)
            if self._pcomp is not None:
                await self._panda.pcomp[self._pcomp].enable.set(PandaBitMux.ZERO)
        finally:
            if self._capture is not None:
                await self._capture.stop()
            if isinstance(self._panda, PandaBox):
                self._panda.link.close()

    async def captured(self, since: int = 0) -> NDArray[np.float64]:
        """Return where the axis was at the pulses, in its unit, from pulse `since` on.

        Raises
        ------
        DeviceError
            If the box that notes them is lost.
        """
        counts = self._compared if self._capture is None else await self._capture.counts()
        axis = self.axes[self._train.axis]
        return np.array([axis.position(count) for count in counts[since:]], np.float64)

    async def _check_before(self) -> None:
        """Check that the axis has the first position before it."""
        if not (self._compared and isinstance(self._panda, PandaBox)):
            return
        axis, train = self.axes[self._train.axis], self._train
        here, first, last = (
            int(await self._panda.link.get(axis.input)), self._compared[0], self._compared[-1],
        )  # fmt: skip
        up = last > first or (last == first and axis.counts_per_unit > 0)
        if here >= first if up else here <= first:
            raise DeviceError(
                f"Trigger device {self.name} was told to give pulses from {train.axis} = {train.positions[0]:g} on, and the "
                f"encoder at {axis.input} is at {axis.position(here):g}, beyond it: pulses would come at wrong places or "
                "never. Check counts_per_unit and offset of its PandaAxis, and the encoder's zero."
            )

    async def _enable(self) -> None:
        from ophyd_async.fastcs.panda import PandaBitMux

        by_compare = self._pcomp is not None and bool(self._train.positions)
        block = self._panda.pcomp[self._pcomp] if by_compare else self._panda.seq[self._number]
        await block.enable.set(PandaBitMux.ONE)

    def _table(self, train: PulseTrain) -> tuple[Any, int]:
        """Return the sequencer's table, and how often it is to be repeated."""
        from ophyd_async.fastcs.panda import SeqTable, SeqTrigger

        if not train.positions:
            rest = max(1, round(train.period_s * _TICKS_PER_S) - _PULSE_TICKS)
            row = SeqTable.row(time1=_PULSE_TICKS, outa1=True, time2=rest)
            return row, train.count if train.period_s else 1
        counts = self._compared
        up = counts[-1] >= counts[0]
        number = len(counts)
        trigger = SeqTrigger.POSA_GT if up else SeqTrigger.POSA_LT
        empty = {name: [False] * number for name in SeqTable.model_fields if name.startswith("out")}
        table = SeqTable(
            **(empty | {"outa1": [True] * number}),
            repeats=[1] * number, trigger=[trigger] * number, position=counts,
            time1=[_PULSE_TICKS] * number, time2=[1] * number,
        )  # fmt: skip
        return table, 1

    def _pulses(self, train: PulseTrain) -> list[int] | ComparePulses:
        """Return where the box gives its pulses."""
        axis = self.axes.get(train.axis)
        if axis is None:
            raise DeviceError(
                f"Trigger device {self.name} was asked for pulses at positions of {train.axis!r}; it knows "
                f"{', '.join(self.axes) or 'none'}. Give PandaTrigger its axes."
            )
        if self._pcomp is not None:
            return compare_pulses(self.name, axis, train)
        check_table(self.name, train)
        return counts_of(self.name, axis, train)
