"""The plans take any ophyd or ophyd-async device for what moves and what switches the beam."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import ophyd.sim
import pytest
from bluesky.utils import MsgGenerator
from ophyd.sim import SynAxis
from ophyd_async.core import init_devices, soft_signal_rw
from ophyd_async.sim import SimMotor

from concertino.devices import SignalBeam, SimulatedMotor
from concertino.documents import image_kind, validate_run
from concertino.plans import (
    beam_off,
    beam_on,
    imaging_run,
    radiography,
    take_darks,
    take_flats,
    take_frames,
)
from concertino.testing import PlanFault, check_safe_end, plan_messages, run_with_fault
from tests.plans.laboratory import COUNTS, Laboratory


def async_motor(name: str) -> Any:
    with init_devices():
        motor = SimMotor(name=name, instant=True)
    return motor


MOTORS: dict[str, Callable[[str], Any]] = {
    "ophyd": lambda name: SynAxis(name=name),
    "ophyd-async": async_motor,
}


@pytest.mark.parametrize("kind", MOTORS)
@pytest.mark.parametrize("name", ["radiography", "step_tomography", "continuous_tomography"])
def test_motors_of_any_kind(laboratory: Laboratory, kind: str, name: str) -> None:
    rotation, stage = MOTORS[kind]("turn"), MOTORS[kind]("table")
    documents = laboratory.run(name, rotation=rotation, sample_stage=stage)
    validate_run(documents)
    assert documents[-1][1]["exit_status"] == "success"
    if name == "step_tomography":
        angles = [document["data"]["turn"] for kind_, document in documents if kind_ == "event"]
        assert angles == pytest.approx([0, 1, 2])


def test_ready_made_ophyd_motors(laboratory: Laboratory) -> None:
    documents = laboratory.run(
        "step_tomography", rotation=ophyd.sim.motor1, sample_stage=ophyd.sim.motor2
    )
    assert documents[-1][1]["exit_status"] == "success"


def test_a_rotation_in_radians_gets_radians(laboratory: Laboratory) -> None:
    rotation = SimulatedMotor("rad", velocity=10.0, max_velocity=100.0, name="turn")
    documents = laboratory.run(
        "step_tomography", rotation=rotation, angular_range="180 deg", order=["projections"]
    )
    angles = [document["data"]["turn"] for kind, document in documents if kind == "event"]
    assert angles == pytest.approx([0, math.pi / 3, 2 * math.pi / 3])
    assert documents[0][1]["tomo"]["angular_range_deg"] == 180

    bench = laboratory.bench(
        lambda: laboratory.plan("continuous_tomography", rotation=rotation, order=["projections"])
    )
    velocities = [m.args[0] for m in plan_messages(bench) if m.obj is rotation.velocity and m.args]
    # 3 deg in 3 frames at 200 frames/s, then as before.
    assert velocities == pytest.approx([math.radians(200), 10.0, 10.0])


def test_a_rotary_sample_stage(laboratory: Laboratory) -> None:
    stage = SimulatedMotor("deg", velocity=100.0, max_velocity=100.0, name="arm")
    b = laboratory.beamline

    def plan() -> MsgGenerator[Any]:
        return radiography(
            b.camera, b.beam, stage,
            radio_position="0 deg", flat_position="0.1 rad",
            md=laboratory.directories.new().metadata(), **COUNTS,
        )  # fmt: skip

    moves = [m.args[0] for m in plan_messages(laboratory.bench(plan)) if m.obj is stage and m.args]
    assert moves == pytest.approx([math.degrees(0.1), 0])


def test_a_beam_over_a_signal(laboratory: Laboratory) -> None:
    frontend = soft_signal_rw(str, "Close", name="frontend")
    asyncio.run(frontend.connect())
    beam = SignalBeam(frontend, on="Open", off="Close")
    bench = laboratory.bench(lambda: laboratory.plan("radiography", beam=beam))
    messages = plan_messages(bench)
    kickoffs = [i for i, message in enumerate(messages) if message.command == "kickoff"]
    for position in kickoffs:
        outcome = run_with_fault(bench, PlanFault(position, "raise after"))
        check_safe_end(outcome)
        assert _value(laboratory, frontend) == "Close"
    assert outcome.find("start")[0]["plan_args"]["beam"] == "frontend"
    laboratory.RE(beam_on(beam))
    assert _value(laboratory, frontend) == "Open"
    laboratory.RE(beam_off(beam))
    assert _value(laboratory, frontend) == "Close"


def _value(laboratory: Laboratory, signal: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(signal.get_value(), laboratory.RE.loop).result()


def test_the_users_own_order_of_building_blocks(laboratory: Laboratory) -> None:
    b = laboratory.beamline

    def twice() -> MsgGenerator[None]:
        yield from bps.mv(b.sample_stage, 0)
        yield from beam_on(b.beam)
        yield from take_frames(b.camera, 4, "projections")
        yield from beam_off(b.beam)

    laboratory.documents.clear()
    laboratory.RE(
        imaging_run(
            [
                lambda: take_flats(b.camera, b.beam, b.sample_stage, 1, 2),
                twice,
                lambda: take_darks(b.camera, b.beam, 2),
            ],
            camera=b.camera,
            beam=b.beam,
            motors=[b.sample_stage],
            md=laboratory.directories.new().metadata(),
        )
    )
    validate_run(laboratory.documents)
    names = [d["name"] for name, d in laboratory.documents if name == "descriptor"]
    assert names == ["ledger", "flats", "projections", "darks"]
    assert [image_kind(name) for name in names[1:]] == ["flat", "projection", "dark"]
