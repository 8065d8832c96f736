"""The simulated PandA: asked by the client of its makers, and its blocks compared to their documented timing."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from pandablocks.asyncio import AsyncioClient
from pandablocks.commands import Arm, CommandError, Disarm, Get, GetBlockInfo, Put
from pandablocks.responses import EndData, FrameData, ReadyData, StartData

from concertino import DeviceError
from concertino.devices import PandaAxis, SimulatedMotor, SimulatedPanda
from concertino.devices.simulated.panda._blocks import PositionCompare, Row, Sequencer, rows
from tests.loopback import free_host

pytestmark = pytest.mark.anyio

AXIS = PandaAxis("INENC1.VAL", 1000.0)


@pytest.fixture
def pulses() -> list[float]:
    return []


@pytest.fixture
def motor() -> SimulatedMotor:
    return SimulatedMotor("deg", velocity=20.0, max_velocity=100.0, position=-1.0, name="rotation")


@pytest.fixture
def panda(pulses: list[float], motor: SimulatedMotor) -> Iterator[SimulatedPanda]:
    with SimulatedPanda(
        pulses.append, {"INENC1.VAL": (motor, AXIS)}, host=free_host(8888, 8889)
    ) as panda:
        yield panda


# From the timing diagrams of the PCOMP block's documentation: what it is armed with, the encoder's counts one after
# the other, and the numbers of those at which its output rises and falls.
COMPARES: dict[str, tuple[tuple[int, int, int, int, int, str], list[int], list[int], list[int]]] = {
    "up": ((4, 3, 2, 3, 0, "Positive"), [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [2, 5, 8], [4, 7, 10]),
    "enabled beyond": ((4, 3, 2, 2, 0, "Positive"), [5, 4, 3, 4, 5, 6, 7, 8, 9], [3, 6], [5, 8]),
    "down": ((2, 3, 2, 2, 0, "Negative"), [3, 2, 1, 0, -1, -2, -3, -4], [1, 4], [3, 6]),
    "once": ((4, 3, 1, 2, 0, "Positive"), [2, 3, 4, 5, 6, 5, 4, 3, 4, 5, 6, 7, 8], [2, 11], [3, 12]),
    "deadband": (
        (4, 3, 2, 2, 2, "Positive"), [5, 4, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [11, 14], [13, 16],
    ),
    "direction guessed": ((2, 3, 2, 2, 0, "Either"), [3, 2, 1, 0, -1, -2, -3, -4], [1, 4], [3, 6]),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPARES)
def test_position_compare_does_as_documented(case: str) -> None:
    armed, counts, rise, fall = COMPARES[case]
    compare = PositionCompare(*armed, 0.0)
    edges: list[tuple[float, bool]] = []
    for number in range(len(counts)):
        # A count a second, looked at in between: it changes once between two looks.
        for end_s in (number + 0.25, number + 0.75):
            edges += compare.run(
                end_s, lambda at_s: counts[max(0, min(int(at_s), len(counts) - 1))]
            )
    assert [int(at_s + 1e-3) for at_s, up in edges if up] == rise
    assert [int(at_s + 1e-3) for at_s, up in edges if not up] == fall
    assert not compare.active


def test_a_sequencer_does_as_documented() -> None:
    # Word by word from the documented bits: two repeats of OUTA 2 ticks and OUTB 3 ticks; then OUTC at POSA>=5.
    words = [2 | 1 << 20 | 1 << 27, 0, 2, 3, 1 | 7 << 16 | 1 << 22, 5, 1, 0]
    assert rows(words)[0] == Row(2, 0, 0, 2, 0b1, 3, 0b10)
    sequencer = Sequencer(rows(words), 1, 1.0, 0.0)
    found: list[tuple[float, int]] = []
    for end_s in (4.0, 12.5, 20.0, 30.0):
        found += sequencer.run(end_s, [lambda at_s: 5 if at_s >= 15 else 0] * 3)
    assert [bits for _, bits in found] == [1, 2, 1, 2, 4, 0, 0]
    assert [at_s for at_s, _ in found] == pytest.approx([0, 2, 5, 7, 15, 16, 17], abs=1e-5)
    assert not sequencer.active


async def test_its_makers_client_finds_its_blocks_and_sets_them(panda: SimulatedPanda) -> None:
    async with AsyncioClient(panda.host) as client:
        blocks = await client.send(GetBlockInfo(skip_description=True), 5)
        assert blocks["PCOMP"].number == 2
        await client.send(Put("PCOMP1.START", "-12"), 5)
        assert await client.send(Get("PCOMP1.START"), 5) == "-12"
        await client.send(Put("SEQ1.PRESCALE.UNITS", "ms"), 5)
        await client.send(Put("SEQ1.PRESCALE", "2.5"), 5)
        await client.send(Put("SEQ1.PRESCALE.UNITS", "us"), 5)
        assert await client.send(Get("SEQ1.PRESCALE"), 5) == "2500"
        await client.send(Put("SEQ1.TABLE", ["1048577", "0", "10", "1"]), 5)
        assert await client.send(Get("SEQ1.TABLE"), 5) == ["1048577", "0", "10", "1"]
        assert await client.send(Get("INENC1.VAL"), 5) == "-1000"
        for refused in (
            Put("PCOMP1.START", str(2**31)), Put("PCOMP1.DIR", "up"), Put("SEQ1.TABLE", ["1"]), Get("PCOMP3.START"),
            Put("PCOMP1.INP", "INENC9.VAL"), Arm(),
        ):  # fmt: skip
            with pytest.raises(CommandError, match="ERR "):
                await client.send(refused, 5)


async def test_its_makers_client_takes_what_it_captures(
    panda: SimulatedPanda, motor: SimulatedMotor, pulses: list[float]
) -> None:
    settings = {
        "PCOMP1.INP": "INENC1.VAL", "PCOMP1.START": "0", "PCOMP1.STEP": "500", "PCOMP1.WIDTH": "100",
        "PCOMP1.PULSES": "6", "PCOMP1.DIR": "Positive", "TTLOUT1.VAL": "PCOMP1.OUT",
        "INENC1.VAL.CAPTURE": "Value", "PCAP.TRIG": "PCOMP1.OUT", "PCAP.ENABLE": "ONE",
    }  # fmt: skip
    got: list[Any] = []
    async with AsyncioClient(panda.host) as client:
        for field, value in settings.items():
            await client.send(Put(field, value), 5)
        async with aclosing(client.data(scaled=False, frame_timeout=20)) as stream:
            async for data in stream:
                got.append(data)
                if isinstance(data, ReadyData):
                    await client.send(Arm(), 5)
                    await client.send(Put("PCOMP1.ENABLE", "ONE"), 5)
                    await motor.set(4.0)
                    assert await client.send(Get("*PCAP.CAPTURED"), 5) == "6"
                    assert await client.send(Get("PCOMP1.PRODUCED"), 5) == "6"
                    await client.send(Disarm(), 5)
                if isinstance(data, EndData):
                    break
    start = next(one for one in got if isinstance(one, StartData))
    assert [(field.name, field.capture) for field in start.fields] == [("INENC1.VAL", "Value")]
    rows = np.concatenate([one.data for one in got if isinstance(one, FrameData)])
    assert rows["INENC1.VAL.Value"] == pytest.approx(np.arange(6) * 500, abs=1)
    assert (got[-1].samples, got[-1].reason.value) == (6, "Disarmed")
    assert [motor.position_at(at_s) for at_s in pulses] == pytest.approx(
        np.arange(6) * 0.5, abs=2e-3
    )


async def test_one_that_is_gone_is_gone_at_once(panda: SimulatedPanda) -> None:
    reader, writer = await asyncio.open_connection(panda.host, 8888)
    begin_s = time.monotonic()
    await asyncio.to_thread(panda.stop)
    with pytest.raises((ConnectionError, EOFError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    assert time.monotonic() - begin_s < 2
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(panda.host, 8888)
    with panda:
        reader, writer = await asyncio.open_connection(panda.host, 8888)
        writer.write(b"*PCAP.STATUS?\n")
        assert await asyncio.wait_for(reader.readline(), 5) == b"OK =Idle 0 0\n"
        writer.close()


async def test_who_is_let_in_as_one_goes_is_cut_off_too(panda: SimulatedPanda) -> None:
    for _ in range(40):
        reader, writer = await asyncio.open_connection(panda.host, 8888)
        stopping = asyncio.create_task(asyncio.to_thread(panda.stop))
        with pytest.raises((ConnectionError, EOFError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()
        await stopping
        panda.start()


def test_one_whose_ports_are_taken_says_so(panda: SimulatedPanda) -> None:
    with pytest.raises(DeviceError, match=r"was told to listen at .* Give it another host"):
        SimulatedPanda(print, {}, host=panda.host).start()
