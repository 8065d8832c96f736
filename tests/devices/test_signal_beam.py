"""A beam by signals: what tells whether it is on, and what becomes of a shutter that does not do what it is told."""

import asyncio
from typing import Any

import pytest
from ophyd.sim import SynSignal
from ophyd_async.core import soft_signal_rw

from concertino import OverdueError, ParameterError
from concertino.devices import SignalBeam
from concertino.plans import Interlock

pytestmark = pytest.mark.anyio


def signal(name: str, value: Any = 0) -> Any:
    return soft_signal_rw(type(value), value, name=name)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reads_on": 1}, "reads_on, reads_off, mask: given for beam opens, which has no readback."),
        ({"mask": 1}, "reads_on, reads_off, mask: given for beam opens, which has no readback."),
        ({"off": 1, "readback": signal("status")}, "reads_on, reads_off: beam opens would read 1 with beam"),
        ({"timeout_s": 0}, "timeout_s: 0 was given for beam opens; give a number of seconds"),
        ({"timeout_s": "1 s"}, "timeout_s: '1 s' was given for beam opens; give a number of seconds"),
    ],
)  # fmt: skip
async def test_what_cannot_tell_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        SignalBeam(signal("opens"), **({"on": 1, "off": 0} | given))
    assert str(caught.value).startswith(said)


async def test_a_switch_is_done_when_the_read_back_says_so() -> None:
    opens, closes, status = signal("opens"), signal("closes"), signal("status", 0b110)
    beam = SignalBeam(
        opens, on=1, off_signal=closes, off=1, readback=status, reads_on=0b01, reads_off=0b10, mask=0b11,
        timeout_s=60.0, name="pss",
    )  # fmt: skip
    coming = beam.set(True)
    for bits in (0b110, 0b100):  # Closed, on its way.
        await status.set(bits)
        await asyncio.sleep(0.1)
        assert not coming.done
    await status.set(0b101)
    await coming
    assert (await opens.get_value(), await closes.get_value()) == (1, 0)
    # It is told to open once more, and takes that back when it is told to close.
    await status.set(0b110)
    coming = beam.set(True)
    await beam.set(False)
    with pytest.raises(asyncio.CancelledError):
        await coming
    assert await closes.get_value() == 1


async def test_a_shutter_that_stays_where_it_is() -> None:
    beam = SignalBeam(
        signal("shutter"), on=1, off=0, readback=signal("status", "Open"), reads_on="Open",
        reads_off="Closed", timeout_s=0.2,
    )  # fmt: skip
    await beam.set(True)
    with pytest.raises(OverdueError) as caught:
        await beam.set(False)
    assert str(caught.value).startswith(
        "shutter was switched off, and 0.2 s later its read-back status reads 'Open', not 'Closed'. THE BEAM MAY BE ON."
    )


async def test_a_signal_that_takes_nothing() -> None:
    class Refusing(SynSignal):  # type: ignore[misc]
        def put(self, *args: Any, **more: Any) -> None:
            raise ConnectionError("no IOC")

    beam = SignalBeam(
        Refusing(name="shutter"), on=1, off=0, readback=signal("status"), timeout_s=0.2
    )
    await beam.set(False)  # It is closed, whatever its IOC says.
    with pytest.raises(OverdueError) as caught:
        await beam.set(True)
    assert str(caught.value).startswith(
        "shutter was to be switched on and failed: ConnectionError: no IOC. No frames are taken with it."
    )


@pytest.mark.parametrize(
    ("condition", "value", "must"),
    [
        ({"low": 80}, 79.9, "be at least 80"),
        ({"high": 1e-5}, float("nan"), "be a number"),
        ({"high": 1e-5}, "broken", "be a number"),
        ({"equals": "Closed"}, "Open", "be 'Closed'"),
        ({"holds": lambda value: value & 4}, 3, "fulfil its condition"),
        ({"holds": lambda value: value["x"]}, 3, "fulfil its condition, which failed with TypeError"),
    ],
)  # fmt: skip
async def test_conditions(condition: dict[str, Any], value: Any, must: str) -> None:
    said = Interlock(signal("pressure"), **condition).why_not(value)
    assert said.startswith(f"Interlock pressure: it is {value!r}, and must {must}")


async def test_no_condition_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"low, high, equals, holds: none was given"):
        Interlock(signal("pressure"))
