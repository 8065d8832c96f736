"""The shutter and the ring, or the tube, of the twin as records."""

import asyncio
import time
from collections.abc import Iterator

from concertino.devices import SimulatedBeamline

from ._record import Record, Value

#: What can go wrong with a shutter.
SHUTTER_FAULTS = ("none", "stuck")
_RING_S = 1.0


class BeamSwitchModel:
    """Switches the twin's beam for clients of a control system; one that is stuck takes its orders and does nothing.

    Parameters
    ----------
    beamline : SimulatedBeamline
        The twin.
    """

    def __init__(self, beamline: SimulatedBeamline) -> None:
        self._beam = beamline.beam
        self.fault = "none"

    @property
    def on(self) -> bool:
        """Whether there is beam."""
        return self._beam.history.fraction(time.time(), 0) > 0

    async def turn(self, on: bool) -> None:
        """Switch it; returns when that is done."""
        if self.fault == "none":
            await self._beam.set(on)


class BeamRecords:
    """A shutter as one record that opens and closes, as commands of their own, and as a status; and the ring's current.

    Parameters
    ----------
    beamline : SimulatedBeamline
        The twin.
    switch : BeamSwitchModel
        Its beam.
    """

    def __init__(self, beamline: SimulatedBeamline, switch: BeamSwitchModel) -> None:
        self._beamline, self._switch = beamline, switch
        tube = beamline.source == "tube"
        name, words = ("tube", ("Off", "On")) if tube else ("shutter", ("Close", "Open"))
        self._order = Record(name, 0, choices=words, put=self._put)
        self._open = Record(f"{name}:Open", 0, put=self._put_open)
        self._close = Record(f"{name}:Close", 0, put=self._put_close)
        self._status = Record(f"{name}:Status", 0, choices=("Closed", "Open"))
        self._fault = Record(f"{name}:Fault", 0, choices=SHUTTER_FAULTS, put=self._fail)
        self._ring = Record("ring:Current", self._current(), unit="mA", precision=3)

    def records(self) -> Iterator[Record]:
        """Yield the records."""
        yield from (self._order, self._open, self._close, self._status, self._fault)
        if self._beamline.source == "synchrotron":
            yield self._ring

    async def follow(self) -> None:
        """Tell the ring's current once a second, for ever."""
        while True:
            await self._ring.set(self._current())
            await asyncio.sleep(_RING_S)

    def _current(self) -> float:
        return self._beamline.ring.current_at(time.time())

    async def _put(self, value: Value) -> None:
        await self._switch.turn(bool(value))
        # The record shows what was asked, as an output does; Status tells what came of it.
        await self._order.set(value)
        await self._status.set(int(self._switch.on))

    async def _put_open(self, value: Value) -> None:
        if value:
            await self._put(1)

    async def _put_close(self, value: Value) -> None:
        if value:
            await self._put(0)

    async def _fail(self, value: Value) -> None:
        await self._fault.set(value)
        self._switch.fault = self._fault.word
