"""Off wins: nothing comes on, or starts, after it was told to go off."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from ophyd_async.core import AsyncStatus

from concertino import DeviceError, SessionError
from concertino.devices import SignalBeam, SimulatedBeamline, SimulatedShutter, SimulatedTube
from concertino.frames import PulseTrain
from concertino.plans import radiography
from concertino.servers import Lease
from concertino.session import open_session

RAMP_S = 1.0

pytestmark = pytest.mark.anyio


def beams() -> dict[str, Callable[[], tuple[Any, Any]]]:
    """A beam, and the device that shines."""

    def bare(device: Any) -> tuple[Any, Any]:
        return device, device

    def wrapped(device: Any) -> tuple[Any, Any]:
        return SignalBeam(device, on="on", off="off"), device

    return {
        "tube": lambda: bare(SimulatedTube(ramp_s=RAMP_S, name="tube")),
        "shutter": lambda: bare(SimulatedShutter(delay_s=RAMP_S, name="shutter")),
        "switch": lambda: wrapped(SimulatedTube(ramp_s=RAMP_S, name="tube")),
        "switch of a plain device": lambda: wrapped(_Oven()),
    }


class _Oven(SimulatedTube):
    """A device of somebody else's, which knows nothing of orders that are taken back."""

    def __init__(self) -> None:
        super().__init__(ramp_s=RAMP_S, name="oven")

    def set(self, value: Any) -> Any:
        async def turn() -> None:
            if value == "on":
                await asyncio.sleep(RAMP_S)
            self._turned(value == "on")

        return AsyncStatus(turn())


def shone(device: Any, since_s: float) -> float:
    """Return the share of the time since then in which there was beam."""
    return float(device.history.fraction(since_s, time.time()))


@pytest.mark.parametrize("kind", beams())
async def test_off_takes_back_an_on_that_is_coming(kind: str) -> None:
    beam, device = beams()[kind]()
    began_s = time.time()
    coming = beam.set(True)
    await asyncio.sleep(RAMP_S / 4)
    await beam.set(False)
    with pytest.raises((DeviceError, asyncio.CancelledError)):
        await coming
    await asyncio.sleep(2 * RAMP_S)
    assert shone(device, began_s) == 0
    await beam.set(True)  # Whoever wants beam afterwards gets it.
    assert shone(device, time.time()) == 1


@pytest.mark.parametrize("kind", ["tube", "shutter"])
async def test_what_an_on_says_that_was_taken_back(kind: str) -> None:
    beam, _ = beams()[kind]()
    coming = beam.set(True)
    await beam.set(False)
    with pytest.raises(DeviceError) as caught:
        await coming
    assert str(caught.value) == (
        f"Beam switch {kind} was on its way to give beam when it was switched off; it stays off. "
        "Switch it on again if beam is wanted."
    )


async def test_two_offs_after_an_on() -> None:
    beam, device = beams()["shutter"]()
    await beam.set(True)
    first, second = beam.set(False), beam.set(False)
    await first
    await second
    assert shone(device, time.time()) == 0


def test_no_beam_after_a_run_that_was_aborted_while_the_tube_came_on(tmp_path: Path) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=200, source="tube")
    b.tube._ramp_s = RAMP_S
    with open_session(tmp_path, catalog=False, progress=False) as session:

        def abort_soon(message: Any) -> None:
            if message.command == "set" and message.args == (True,):
                session.RE.msg_hook = None
                threading.Timer(RAMP_S / 4, session.RE.abort).start()

        session.RE.msg_hook = abort_soon
        began_s = time.time()
        with suppress(RunEngineInterrupted):
            session.RE(
                radiography(
                    b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=10,
                    num_darks=1, num_flats=1, num_projections=10,
                )
            )  # fmt: skip
        assert time.time() - began_s < 60
        time.sleep(2 * RAMP_S)
    assert shone(b.tube, began_s) == 0


def test_a_trigger_box_that_is_stopped_at_once_gives_no_pulse() -> None:
    given: list[float] = []
    b = SimulatedBeamline(shape=(16, 16))
    box = type(b.trigger_box)(given.append, [b.rotation])

    async def start_and_stop() -> None:
        await box.prepare(PulseTrain(1000, period_s=0.001))
        started = box.set(True)
        await box.stop()
        with pytest.raises(
            DeviceError, match="was stopped before it gave the first of 1000 pulses"
        ):
            await started

    RunEngine({})(bps.wait_for([start_and_stop]))
    time.sleep(0.3)
    assert given == []


def test_a_server_ends_the_work_of_a_lost_session_before_another_gets_it() -> None:
    ending, go_on = threading.Event(), threading.Event()
    working: list[str] = []

    def end(session: str) -> None:
        ending.set()
        assert go_on.wait(240)
        working.clear()

    lease = Lease("The server", 0.2, end)
    lease.take("first")
    working.append("first")
    assert ending.wait(240)
    lease.release("first")  # It is heard of after all.
    for session, said in (("first", "is ending its work"), ("second", "serves another session")):
        with pytest.raises(SessionError, match=said):
            lease.take(session)
    go_on.set()
    deadline = time.monotonic() + 240
    while lease.holder:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert working == []
    lease.take("second")
