"""What is written to a PandA, on soft signals of the types that its blocks have."""

from typing import Any

import numpy as np
import pytest
from ophyd_async.core import Device, DeviceVector, init_devices, soft_signal_rw
from ophyd_async.fastcs.panda import PandaTimeUnits, SeqTable, SeqTrigger

from concertino import DeviceError
from concertino.devices import PandaAxis, PandaTrigger
from concertino.frames import PulseTrain
from concertino.plans import TriggerDevice

pytestmark = pytest.mark.anyio


class SoftSequencer(Device):
    """A sequencer block of soft signals, of the same types as the PandA's."""

    def __init__(self) -> None:
        self.table = soft_signal_rw(SeqTable)
        self.repeats = soft_signal_rw(int)
        self.prescale = soft_signal_rw(float)
        self.prescale_units = soft_signal_rw(PandaTimeUnits, PandaTimeUnits.S)
        self.enable = soft_signal_rw(str, "ZERO")
        self.posa = soft_signal_rw(str, "ZERO")
        super().__init__()


class SoftPanda(Device):
    """The blocks of a PandA that are needed."""

    def __init__(self, name: str) -> None:
        self.seq = DeviceVector({1: SoftSequencer()})
        super().__init__(name)


@pytest.fixture
async def panda() -> Any:
    async with init_devices():
        panda = SoftPanda("panda")
    return panda


@pytest.fixture
def trigger(panda: Any) -> PandaTrigger:
    return PandaTrigger(panda, {"rotation": PandaAxis("INENC1.VAL", -1000.0, 5.0)})


async def test_it_is_a_trigger_device(trigger: PandaTrigger) -> None:
    assert isinstance(trigger, TriggerDevice)
    assert trigger.name == "panda"


async def test_positions_become_rows(panda: Any, trigger: PandaTrigger) -> None:
    await trigger.prepare(PulseTrain(3, "rotation", (5.0, 5.5, 6.0)))
    table = await panda.seq[1].table.get_value()
    assert list(table.position) == [0, -500, -1000]
    assert list(table.trigger) == [SeqTrigger.POSA_LT] * 3
    assert np.all(table.outa1)
    assert not np.any(table.outa2)
    assert await panda.seq[1].repeats.get_value() == 1
    assert await panda.seq[1].posa.get_value() == "INENC1.VAL"
    assert await panda.seq[1].enable.get_value() == "ZERO"
    await trigger.set(True)
    assert await panda.seq[1].enable.get_value() == "ONE"
    await trigger.stop()
    assert await panda.seq[1].enable.get_value() == "ZERO"


async def test_times_are_one_row_that_repeats(panda: Any, trigger: PandaTrigger) -> None:
    await trigger.prepare(PulseTrain(20, period_s=0.01))
    table = await panda.seq[1].table.get_value()
    assert (list(table.time1), list(table.time2)) == ([10], [9990])
    assert await panda.seq[1].repeats.get_value() == 20
    with pytest.raises(DeviceError, match="armed for pulses by itself"):
        await trigger.trigger()


async def test_pulses_one_by_one(panda: Any, trigger: PandaTrigger) -> None:
    await trigger.prepare(PulseTrain(2))
    await trigger.set(True)
    assert await panda.seq[1].enable.get_value() == "ZERO"
    await trigger.trigger()
    assert await panda.seq[1].enable.get_value() == "ONE"


async def test_what_it_cannot_do(trigger: PandaTrigger) -> None:
    with pytest.raises(DeviceError, match=r"positions of 'table'; it knows rotation"):
        await trigger.prepare(PulseTrain(1, "table", (1.0,)))
    with pytest.raises(DeviceError, match=r"at 5000 positions; its sequencer has 4096 rows"):
        await trigger.prepare(PulseTrain(5000, "rotation", tuple(map(float, range(5000)))))
