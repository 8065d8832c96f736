"""An interlock whose signal falls silent ends the run; `stop_all` stops what no plan has moved."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted

from concertino import DeviceError, SessionError
from concertino.devices import SimulatedBeamline
from concertino.plans import Interlock, radiography, stop_all
from concertino.session import open_session


class Silent:
    """A signal that answers until it falls silent."""

    parent = None
    name = "water"

    def __init__(self) -> None:
        self.answers = True

    async def read(self) -> Any:
        if not self.answers:
            await asyncio.Event().wait()
        return {"water": {"value": 1.0, "timestamp": 0.0}}

    def subscribe(self, function: Any, **how: Any) -> None:
        """Tell nothing by itself."""

    def clear_sub(self, function: Any) -> None:
        """Forget nobody."""


def test_a_signal_that_falls_silent_ends_the_run(tmp_path: Path) -> None:
    b = SimulatedBeamline(shape=(8, 16), exposure=0.01, frame_rate=20)
    water = Silent()
    reasons: list[str] = []
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.RE.install_suspender(Interlock(water, low=0.5, silent_s=0.5))
        session.RE.subscribe(lambda _, stop: reasons.append(stop.get("reason", "")), "stop")

        def silence(name: str, document: Any) -> None:
            water.answers = False

        session.RE.subscribe(silence, "descriptor")
        with pytest.raises(RunEngineInterrupted):
            session.RE(
                radiography(
                    b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=1, num_darks=2,
                    num_flats=2, num_projections=2000,
                )
            )  # fmt: skip
        session.RE.clear_suspenders()
    assert not b.shutter.is_open
    assert "Interlock water: it does not answer for" in reasons[0]


def test_stop_all_stops_what_no_plan_has_moved() -> None:
    b = SimulatedBeamline(shape=(8, 16))
    engine = RunEngine()
    moving: list[Any] = []

    async def begin() -> None:
        await b.rotation.velocity.set(1.0)
        moving.extend([b.beam.set(True), b.rotation.set(90.0)])
        await moving[0]

    asyncio.run_coroutine_threadsafe(begin(), engine.loop).result(60)
    assert b.shutter.is_open
    stop_all(engine, b.beam, [b.rotation], reason="a test")
    assert not b.shutter.is_open

    async def end() -> None:
        with pytest.raises(DeviceError, match="was stopped"):
            await moving[1]

    asyncio.run_coroutine_threadsafe(end(), engine.loop).result(60)
    now_s = time.time()
    assert b.rotation.position_at(now_s + 60) == b.rotation.position_at(now_s) < 60

    async def wrong() -> str:
        with pytest.raises(SessionError) as caught:
            stop_all(engine, b.beam)
        return str(caught.value)

    assert "Call it in another thread" in asyncio.run_coroutine_threadsafe(
        wrong(), engine.loop
    ).result(60)
