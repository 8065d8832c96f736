"""The motor record of the twin does as EPICS' does, and fails as it is told."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from concertino.devices import SimulatedMotor
from concertino.twin._axis import Axis
from concertino.twin._motor_record import MotorRecord

DEADLINE_S = 60.0


def record() -> MotorRecord:
    motor = SimulatedMotor(
        "mm", velocity=50, acceleration_time=0.01, max_velocity=80, limits=(-5, 5), name="stage"
    )
    return MotorRecord(
        "stage", Axis(motor), velocity=50.0, acceleration_time=0.01, readback_hz=100.0
    )


def run(work: Callable[[MotorRecord], Awaitable[None]]) -> None:
    """Do something with a new record, in time."""

    async def done() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await work(record())

    asyncio.run(done())


def test_a_put_is_done_when_the_move_is_and_play_is_taken_up_from_one_side() -> None:
    async def work(stage: MotorRecord) -> None:
        await stage["BDST"].put(0.5)
        moves: list[tuple[float, ...]] = []
        move = stage.axis.move

        async def moved(*targets: float) -> None:
            moves.append(targets)
            await move(*targets)

        stage.axis.move = moved  # type: ignore[method-assign]
        await stage["VAL"].put(2.0)
        await stage["VAL"].put(1.0)

        assert moves == [(2.0,), (0.5, 1.0)]
        assert (stage["RBV"].value, stage["DMOV"].value, stage["MOVN"].value) == (1.0, 1, 0)

    run(work)


def test_limits_and_greatest_velocity_hold() -> None:
    async def work(stage: MotorRecord) -> None:
        await stage["VELO"].put(1000.0)
        await stage["VAL"].put(7.0)

        assert stage["VELO"].value == 80.0
        assert (stage["LVIO"].value, stage["VAL"].value, stage["RBV"].value) == (1, 0.0, 0.0)

    run(work)


def test_a_direction_turns_positions_and_limits_round() -> None:
    async def work(stage: MotorRecord) -> None:
        await stage["HLM"].put(3.0)
        await stage["DIR"].put("Neg")
        await stage["VAL"].put(-3.0)

        assert (stage["LLM"].value, stage["HLM"].value) == (-3.0, 5.0)
        assert (stage["RBV"].value, stage["DRBV"].value) == (-3.0, 3.0)

    run(work)


@pytest.mark.parametrize("fault", ["none", "stalls", "stops short", "does not move"])
def test_faults(fault: str) -> None:
    async def work(stage: MotorRecord) -> None:
        told = {one.name: one for one in stage.records()}
        await told["stage:Fault"].put(fault)
        move = asyncio.create_task(stage["VAL"].put(4.0))
        if fault == "stalls":
            while stage.axis.position(time.time()) != pytest.approx(1.6):
                await asyncio.sleep(0.01)
            assert stage["DMOV"].value == 0
            await stage["STOP"].put(1)
        await move

        places = {"none": 4.0, "stalls": 1.6, "stops short": 1.6, "does not move": 0.0}
        assert stage["RBV"].value == pytest.approx(places[fault])
        assert stage["HLS"].value == int(fault == "stops short")
        assert stage["DMOV"].value == 1

    run(work)


def test_spmg_pauses_and_goes_on() -> None:
    async def work(stage: MotorRecord) -> None:
        await stage["VELO"].put(1.0)
        move = asyncio.create_task(stage["VAL"].put(0.2))
        while not stage.axis.moving:
            await asyncio.sleep(0.001)
        await stage["SPMG"].put("Pause")
        await move
        assert stage["DMOV"].value == 1
        await stage["SPMG"].put("Go")

        assert stage["RBV"].value == pytest.approx(0.2)

    run(work)
