"""Simulated motors take their time, keep their limits and can be stopped."""

import asyncio
import math
import threading
import time
from typing import Any

import bluesky.plans as bp
import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted

from concertino import DeviceError
from concertino.devices import SimulatedMotor

pytestmark = pytest.mark.anyio


def make(**settings: object) -> SimulatedMotor:
    given = {"velocity": 100.0, "acceleration_time": 0.01, "max_velocity": 200.0, "name": "stage"}
    return SimulatedMotor("mm", **{**given, **settings})  # type: ignore[arg-type]


@pytest.mark.disturbed_by_load("a move of 60 ms must be over within a second")
async def test_move() -> None:
    motor = make()
    began = time.monotonic()
    await motor.set(5)
    # 5 mm at 100 mm/s, and a ramp.
    assert 0.06 <= time.monotonic() - began < 1
    assert motor.position_at(time.time()) == 5
    location = await motor.locate()
    assert (location["setpoint"], location["readback"]) == (5, 5)
    assert (await motor.read())["stage"]["value"] == 5
    assert (await motor.describe())["stage"]["units"] == "mm"


async def test_progress_is_told() -> None:
    motor = make(velocity=10.0)
    status = motor.set(3)
    seen: list[float] = []
    status.watch(lambda *_, **update: seen.append(update["current"]))
    await status
    assert seen == sorted(seen)
    assert any(0 < position < 3 for position in seen)


async def test_a_stop_in_mid_move() -> None:
    motor = make(velocity=10.0)
    status = motor.set(50)
    await asyncio.sleep(0.1)
    await motor.stop()
    stopped_at = motor.position_at(time.time())
    assert 0 < stopped_at < 10
    with pytest.raises(
        DeviceError, match=r"^Motor stage was stopped at [0-9.]+ mm on its way to 50 mm\.$"
    ):
        await status
    assert motor.position_at(time.time() + 10) == stopped_at
    await motor.set(stopped_at + 0.5)
    assert motor.position_at(time.time()) == stopped_at + 0.5


async def test_a_stop_that_is_to_be_no_failure() -> None:
    motor = make(velocity=10.0)
    status = motor.set(50)
    await asyncio.sleep(0.1)
    await motor.stop(success=True)
    await motor.stop(success=True)
    await status
    assert 0 < motor.position_at(time.time()) < 10
    status = motor.set(50)
    await asyncio.sleep(0.1)
    await motor.stop(success=False)
    with pytest.raises(DeviceError, match="was stopped at"):
        await status


def test_a_scan_of_bluesky_pauses_and_goes_on() -> None:
    RE, motor = RunEngine({}), SimulatedMotor("mm", velocity=4.0, max_velocity=50, name="stage")
    documents: list[Any] = []
    RE.subscribe(lambda name, document: documents.append((name, document)))

    def pause() -> None:
        deadline_s = time.monotonic() + 240
        while motor.position_at(time.time()) < 0.5 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        RE.request_pause()

    threading.Thread(target=pause, daemon=True).start()
    with pytest.raises(RunEngineInterrupted):
        RE(bp.scan([motor], motor, 4, 8, 3))
    RE.resume()
    at = [document["data"]["stage"] for name, document in documents if name == "event"]
    assert at == [4, 6, 8]
    assert documents[-1][1]["exit_status"] == "success"


async def test_a_stop_just_after_the_order() -> None:
    motor = make()
    status = motor.set(50)
    await motor.stop()
    with pytest.raises(DeviceError, match="was stopped at 0 mm on its way to 50 mm"):
        await status
    assert motor.position_at(time.time() + 10) == 0


async def test_a_stop_at_rest_does_nothing() -> None:
    motor = make()
    await motor.set(1)
    await motor.stop()
    assert motor.position_at(time.time() + 10) == 1


async def test_another_order_in_mid_move_wins() -> None:
    motor = make(velocity=10.0)
    first = motor.set(50)
    await asyncio.sleep(0.05)
    await motor.set(0)
    with pytest.raises(DeviceError, match="on its way to 50 mm"):
        await first
    assert motor.position_at(time.time()) == 0


@pytest.mark.parametrize(
    ("settings", "target", "message"),
    [
        (
            {"limits": (-1.0, 1.0)},
            1.5,
            "Motor stage was asked to move to 1.5 mm; its limits are -1 to 1 mm.",
        ),
        ({}, math.nan, "Motor stage was asked to move to nan mm; give a finite number."),
        ({}, math.inf, "Motor stage was asked to move to inf mm; give a finite number."),
        (
            {"velocity": 201.0},
            1,
            "Motor stage was asked to move at 201 mm/s; it takes more than 0 and at most 200 mm/s.",
        ),
        (
            {"velocity": 0.0},
            1,
            "Motor stage was asked to move at 0 mm/s; it takes more than 0 and at most 200 mm/s.",
        ),
        (
            {"acceleration_time": 0.0},
            1,
            "Motor stage has an acceleration time of 0 s; it needs more than 0 s.",
        ),
    ],
)
async def test_refusals(settings: dict[str, object], target: float, message: str) -> None:
    motor = make(**settings)
    with pytest.raises(DeviceError) as caught:
        await motor.set(target)
    assert str(caught.value) == message
    assert motor.position_at(time.time() + 10) == 0
