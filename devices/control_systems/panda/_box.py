"""A PandA without an IOC: the signals of its blocks, at its own ports."""

import asyncio
import time
from typing import Generic, cast

import numpy as np
from bluesky.protocols import Reading
from event_model import DataKey
from ophyd_async.core import (
    Array1D,
    Callback,
    Device,
    DeviceVector,
    SignalBackend,
    SignalDatatypeT,
    SignalR,
    SignalRW,
    make_datakey,
)

from concertino import DeviceError

from ._capture import PandaCapture
from ._link import PandaLink

_POLL_S = 0.1
_TIMEOUT_S = 3.0
_BLOCKS = (1, 2)
#: Where the columns of a sequencer's table are: word of a row, lowest bit, and how many.
_OUTPUTS = tuple(f"out{letter}{phase}" for phase in "12" for letter in "abcdef")


class FieldBackend(SignalBackend[SignalDatatypeT], Generic[SignalDatatypeT]):
    """A field of a PandA's block, as text over its control port; watched by looking ten times a second."""

    def __init__(self, datatype: type[SignalDatatypeT], link: PandaLink, field: str) -> None:
        super().__init__(datatype)
        self._kind = datatype
        self._link, self._field = link, field
        self._task: asyncio.Task[None] | None = None

    def source(self, name: str, read: bool) -> str:
        """Return where it is."""
        return f"panda://{self._link.host}:{self._link.port}/{self._field}"

    async def connect(self, timeout: float) -> None:
        """Ask for its value."""
        await self._link.get(self._field)

    async def put(self, value: SignalDatatypeT | None) -> None:
        """Write it."""
        text = str(int(value)) if isinstance(value, bool) else str(value)
        await self._link.put(self._field, text)

    async def get_datakey(self, source: str) -> DataKey:
        """Describe it."""
        return make_datakey(self._kind, await self.get_value(), source, {})

    async def get_reading(self) -> Reading[SignalDatatypeT]:
        """Return its value and when it was read."""
        return Reading(value=await self.get_value(), timestamp=time.time())

    async def get_value(self) -> SignalDatatypeT:
        """Return its value."""
        text = await self._link.get(self._field)
        made: object = bool(int(text)) if self._kind is bool else self._kind(text)  # type: ignore[call-arg,arg-type]
        return cast(SignalDatatypeT, made)

    async def get_setpoint(self) -> SignalDatatypeT:
        """Return its value: a box has no other."""
        return await self.get_value()

    def set_callback(self, callback: Callback[Reading[SignalDatatypeT]] | None) -> None:
        """Tell somebody what it is, again and again."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if callback is not None:
            self._task = asyncio.create_task(self._watch(callback))

    async def _watch(self, callback: Callback[Reading[SignalDatatypeT]]) -> None:
        while True:
            callback(await self.get_reading())
            await asyncio.sleep(_POLL_S)


class TableBackend(FieldBackend[SignalDatatypeT]):
    """The table of a sequencer, of four words of 32 bits a row."""

    async def connect(self, timeout: float) -> None:
        """Ask for it."""
        await self._link.get_lines(self._field)

    async def put(self, value: SignalDatatypeT | None) -> None:
        """Write it."""
        from ophyd_async.fastcs.panda import SeqTable

        assert isinstance(value, SeqTable)
        await self._link.put_lines(self._field, [str(word) for word in table_words(value)])

    async def get_value(self) -> SignalDatatypeT:
        """Refuse: what it is made of is for the box."""
        raise DeviceError(
            f"PandA {self._link.name} was asked for its table {self._field}; it can be written, and not read as one. "
            f"Look at the box' own page, http://{self._link.host}."
        )


def table_words(table: object) -> Array1D[np.uint32]:
    """Return a sequencer's table as a PandA takes it.

    Parameters
    ----------
    table : SeqTable
        Of `ophyd_async.fastcs.panda`.

    Returns
    -------
    ndarray of uint32, shape (4 * rows,)
    """
    from ophyd_async.fastcs.panda import SeqTable, SeqTrigger

    assert isinstance(table, SeqTable)
    triggers = list(SeqTrigger)
    columns = table.model_dump()
    head = np.asarray(table.repeats, np.int64)
    head = head | np.array([triggers.index(one) for one in table.trigger], np.int64) << 16
    for place, name in enumerate(_OUTPUTS):
        head = head | np.asarray(columns[name], np.int64) << (20 + place)
    rest = (
        np.asarray(table.position, np.int64) % 2**32,
        np.asarray(table.time1, np.int64),
        np.asarray(table.time2, np.int64),
    )
    return np.stack([head, *rest], axis=1).astype(np.uint32).reshape(-1)


class PandaBox(Device):
    """A PandA at its own ports, with the signals that a `PandaTrigger` needs and what it captures at its pulses.

    Parameters
    ----------
    host : str
        Name or address of the box.
    name : str
        Of the device.
    control_port, data_port : int
        Of its server.
    timeout_s : float
        How long an answer may take, in s.

    Attributes
    ----------
    seq, pcomp : DeviceVector
        Sequencers and position compares, two each, as ``HDFPanda`` of ophyd-async has them.
    capture : PandaCapture
        The encoder's counts at pulses.
    """

    def __init__(
        self,
        host: str,
        name: str = "panda",
        *,
        control_port: int = 8888,
        data_port: int = 8889,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.link = PandaLink(name, host, control_port, timeout_s)
        self.capture = PandaCapture(self.link, data_port)
        self.seq = DeviceVector(
            {number: _Sequencer(self.link, f"SEQ{number}") for number in _BLOCKS}
        )
        self.pcomp = DeviceVector(
            {number: _Compare(self.link, f"PCOMP{number}") for number in _BLOCKS}
        )
        super().__init__(name)


class _Block(Device):
    def __init__(self, link: PandaLink, block: str) -> None:
        self._link, self._block = link, block
        self.enable = self._rw(str, "ENABLE")
        self.active = SignalR(FieldBackend(bool, link, f"{block}.ACTIVE"), timeout=link.timeout_s)
        super().__init__()

    def _rw(self, datatype: type[SignalDatatypeT], field: str) -> SignalRW[SignalDatatypeT]:
        backend = FieldBackend(datatype, self._link, f"{self._block}.{field}")
        return SignalRW(backend, timeout=2 * self._link.timeout_s)


class _Sequencer(_Block):
    def __init__(self, link: PandaLink, block: str) -> None:
        from ophyd_async.fastcs.panda import SeqTable

        super().__init__(link, block)
        table = TableBackend(SeqTable, link, f"{block}.TABLE")
        self.table = SignalRW(table, timeout=2 * link.timeout_s)
        self.repeats = self._rw(int, "REPEATS")
        self.prescale = self._rw(float, "PRESCALE")
        self.prescale_units = self._rw(str, "PRESCALE.UNITS")
        self.posa = self._rw(str, "POSA")


class _Compare(_Block):
    def __init__(self, link: PandaLink, block: str) -> None:
        super().__init__(link, block)
        for field in ("start", "step", "width", "pulses", "pre_start"):
            setattr(self, field, self._rw(int, field.upper()))
        self.dir, self.inp = self._rw(str, "DIR"), self._rw(str, "INP")
