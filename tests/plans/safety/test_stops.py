"""A motor whose stop never returns: the beam is off at once, and the RunEngine idle in time."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from ophyd_async.core import AsyncStatus

from concertino import DeviceError
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, SimulatedMotor, SimulatedShutter
from concertino.plans import radiography
from concertino.session import open_session
from tests.plans.laboratory import POSITIONS, patience

pytestmark = pytest.mark.disturbed_by_load(
    "deadlines of half a second hold for devices that do answer, too"
)


class StopHangs(SimulatedMotor):
    """A motor that never says that it has stopped; it does not come to 1 mm either."""

    stops = 0

    @AsyncStatus.wrap
    async def set(self, value: float) -> None:  # type: ignore[override]
        if value == 1:
            await asyncio.sleep(3600)
        await super().set(value)

    async def stop(self, success: bool = True) -> None:
        self.stops += 1
        await asyncio.sleep(3600)


@pytest.fixture
def stage() -> StopHangs:
    return StopHangs("mm", velocity=5.0, max_velocity=10.0, name="stage")


@pytest.fixture(params=["stock", "session"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunEngine]:
    if request.param == "session":
        with open_session(tmp_path / "data", progress=False, catalog=False) as session:
            session.subscribe(ImageWriter())
            yield session.RE
    else:
        RE = RunEngine({})
        RE.subscribe(ImageWriter())
        RE.md["run_directory"] = str(tmp_path)
        yield RE


def ends_in_time(RE: RunEngine, run: Callable[[], Any]) -> BaseException | None:
    """Run something in another thread, as the main one would wait for ever; return what it raised."""
    RE.context_managers = []  # Signals are the main thread's.
    raised: list[BaseException] = []

    def go() -> None:
        try:
            run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join(40)
    assert not thread.is_alive(), f"the RunEngine is {RE.state} for ever"
    return raised[0] if raised else None


def test_a_motor_whose_stop_hangs(engine: RunEngine, stage: StopHangs) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=100)
    with patience(stop_s=0.5, still_s=0.5):
        error = ends_in_time(
            engine, lambda: engine(radiography(b.camera, b.beam, stage, **POSITIONS))
        )
    assert isinstance(error, DeviceError)
    assert "stage was to move to 1 mm and has not said that it is there" in str(error)
    notes = " ".join(error.__notes__)
    assert "stage was told to stop and has not said within 0.5 s that it did. Look at it." in notes
    assert stage.stops == 2  # By the plan, and by the RunEngine.
    assert engine.state == "idle"
    assert not b.shutter.is_open


@pytest.mark.parametrize("how", ["halt", "abort"])
def test_the_beam_goes_off_before_a_motor_whose_stop_hangs(
    engine: RunEngine, stage: StopHangs, how: str
) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=100)
    closed_s: list[float] = []

    def interrupt() -> None:
        deadline_s = time.monotonic() + 240
        while not (b.shutter.is_open and b.camera.num_exposed) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        began_s = time.monotonic()
        threading.Thread(target=getattr(engine, how), daemon=True).start()
        while b.shutter.is_open and time.monotonic() < deadline_s:
            time.sleep(0.01)
        closed_s.append(time.monotonic() - began_s)

    watch = threading.Thread(target=interrupt, daemon=True)
    watch.start()
    plan = radiography(
        b.camera, b.beam, stage, order=["projections"], num_projections=5000, **POSITIONS
    )
    with patience(stop_s=6):
        error = ends_in_time(engine, lambda: engine(plan))
    watch.join(240)
    assert isinstance(error, RunEngineInterrupted)
    assert engine.state == "idle"
    assert closed_s[0] < 5, "the beam waited for the motor"


def test_a_motor_that_the_users_plan_moved(engine: RunEngine, stage: StopHangs) -> None:
    with patience(stop_s=0.5):
        assert ends_in_time(engine, lambda: engine(bps.mv(stage, 0.1))) is None
    assert stage.stops == 1
    assert engine.state == "idle"


class CannotClose(SimulatedShutter):
    """A shutter that does not close any more once it is stuck; without a word, or with one."""

    stuck = False
    silent = False

    @AsyncStatus.wrap
    async def set(self, value: bool | str) -> None:
        if self.stuck and not value:
            if self.silent:
                await asyncio.sleep(3600)
            raise DeviceError("the blade is stuck")
        await super().set(value)


@pytest.mark.parametrize("silent", [False, True])
def test_the_stop_document_says_that_the_beam_may_be_on_after_a_halt(
    engine: RunEngine, silent: bool, tmp_path: Path
) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=100)
    shutter = CannotClose(name="shutter")
    shutter.silent = silent
    stops: list[dict[str, Any]] = []
    engine.subscribe(lambda name, document: stops.append(document), "stop")

    def interrupt() -> None:
        deadline_s = time.monotonic() + 240
        while not (shutter.is_open and b.camera.num_exposed) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        shutter.stuck = True
        threading.Thread(target=engine.halt, daemon=True).start()

    threading.Thread(target=interrupt, daemon=True).start()
    plan = radiography(
        b.camera, shutter, b.sample_stage, order=["projections"], num_projections=5000, **POSITIONS
    )
    with patience(off_s=0.5):
        assert ends_in_time(engine, lambda: engine(plan)) is not None
    assert engine.state == "idle"
    assert shutter.is_open
    (stop,) = stops
    assert stop["reason"].startswith("shutter could not be switched off: THE BEAM MAY BE ON.")
    assert stop["reason"].count("could not be switched off") == 1
    # The next run is none the worse.
    shutter.stuck = False
    engine.md.update(
        {"run_directory": str(tmp_path / "next")} if "run_directory" in engine.md else {}
    )
    engine(
        radiography(
            b.camera, shutter, b.sample_stage, order=["projections"], num_projections=5, **POSITIONS
        )
    )
    assert stops[1]["exit_status"] == "success"
    assert not stops[1].get("reason")
