"""Plans with motors and shutters of real Tango servers, and what becomes of them when those fail."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tango
from bluesky.utils import FailedStatus
from ophyd_async.core import NotConnectedError, init_devices

from concertino import ParameterError, plans
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, TangoMotor, TangoShutter
from concertino.guard import TangoSwitch
from concertino.session import Session, open_session
from concertino.storage import open_run, run_angles

from .conftest import PATIENCE_S, Server

pytestmark = pytest.mark.disturbed_by_load("servers of motors are processes that need a processor")

ROT, SLIDE = "t/axis/rot", "t/axis/slide"
BEAMS = {"door": "t/shutter/door", "switch": "t/shutter/switch", "choice": "t/shutter/choice"}
#: What each shutter reads as when it is closed, as its server tells.
CLOSED = {"door": tango.DevState.CLOSE, "switch": False, "choice": 0}
POSITIONS: dict[str, Any] = {
    "radio_position": 0, "flat_position": 5, "num_darks": 1, "num_flats": 1
}  # fmt: skip


@dataclass
class Bench:
    """A session with devices of two servers."""

    session: Session
    motors: Server
    beams: Server
    devices: dict[str, Any]
    beamline: SimulatedBeamline
    directory: Path

    def scan(self, plan: str, beam: str = "door", **parameters: Any) -> Any:
        camera, rot, stage = self.beamline.camera, self.devices["rot"], self.devices["slide"]
        parts: dict[str, tuple[Any, ...]] = {
            "radiography": (camera, self.devices[beam], stage),
            "step_tomography": (camera, rot, self.devices[beam], stage),
            "continuous_tomography": (camera, rot, self.devices[beam], stage),
        }
        given = parts.get(plan)
        if given is None:  # A spiral rises on the slide.
            given = (camera, rot, stage, self.devices[beam], self.beamline.sample_stage)
        self.session.RE(getattr(plans, plan)(*given, **{**POSITIONS, **parameters}))
        return open_run(-1, self.directory)

    def closed(self, beam: str) -> bool:
        device = self.beams.device(BEAMS[beam])
        attribute = {"door": "State", "switch": "opened", "choice": "Shutter"}[beam]
        return bool(device.read_attribute(attribute).value == CLOSED[beam])


@pytest.fixture(scope="module")
def bench(
    servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    motors, beams = servers
    directory = tmp_path_factory.mktemp("tango")
    with open_session(directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        with init_devices(timeout=PATIENCE_S):
            rot = TangoMotor(motors.address(ROT), name="rot", still_s=3.0, timeout_s=3.0)
            told = TangoMotor(motors.address(ROT), name="told", support_events=True)
            slide = TangoMotor(motors.address(SLIDE), name="slide")
            door = TangoShutter(beams.address(BEAMS["door"]), name="door", moves_s=2.0)
            switch = TangoShutter(beams.address(BEAMS["switch"]), name="switch")
            choice = TangoShutter(beams.address(BEAMS["choice"]), name="choice")
        devices = {each.name: each for each in (rot, told, slide, door, switch, choice)}
        beamline = SimulatedBeamline(shape=(8, 16), exposure=0.002, frame_rate=50)
        yield Bench(session, motors, beams, devices, beamline, directory)


@pytest.mark.parametrize(
    ("plan", "beam", "given"),
    [
        ("radiography", "switch", {"num_projections": 3}),
        ("step_tomography", "choice", {"num_projections": 5, "angular_range": "40 deg"}),
        ("continuous_tomography", "door", {"num_projections": 40, "angular_range": "40 deg"}),
        (
            "step_spiral_tomography",
            "switch",
            {
                "num_projections": 4, "start_position_vertical": "1 mm", "sample_height": "0.02 mm",
                "vertical_shift_per_tomogram": "0.02 mm",
            },
        ),
        (
            "continuous_spiral_tomography",
            "door",
            {
                "num_projections": 90, "start_position_vertical": "1 mm", "sample_height": "0.02 mm",
                "vertical_shift_per_tomogram": "0.02 mm",
            },
        ),
    ],
)  # fmt: skip
def test_plans_with_motors_and_shutters(
    bench: Bench, plan: str, beam: str, given: dict[str, Any]
) -> None:
    run = bench.scan(plan, beam, **given)
    assert run.exit_status == "success"
    assert bench.closed(beam)
    if plan == "step_tomography":
        # The read-back is that of Tango's polling, ten times a second; the angles are of after the move.
        assert run_angles(run).angles_deg == pytest.approx(np.arange(5) * 8.0, abs=1e-6)


def test_a_motor_by_event(bench: Bench) -> None:
    told = bench.devices["told"]
    for target in (10.0, -5.0):
        bench.session.RE(plans_move(told, target))
        assert bench.motors.device(ROT).Position == pytest.approx(target, abs=1e-6)


def plans_move(device: Any, target: float) -> Any:
    import bluesky.plan_stubs as bps

    yield from bps.mv(device, target)


def _above(device: Any, attribute: str, value: float) -> Callable[[], bool]:
    return lambda: bool(device.read_attribute(attribute).value > value)


FAULTS: dict[str, tuple[str, list[str]]] = {
    "killed": ("continuous_tomography", ["rot at tango://", ROT, "does not answer", "device server runs"]),
    "frozen": ("step_tomography", ["rot at tango://", "has not answered within 3 s", "the network"]),
    "stall": ("continuous_tomography", ["has not moved for 3 s", "MOVING", "free to move"]),
    "short": ("step_tomography", ["stopped short of it", "its State is ALARM", "limit switches"]),
    "fault": ("continuous_tomography", ["and failed", "its State is FAULT"]),
    "stuck": ("radiography", ["door at tango://", "told to close and reads OPEN", "MAY BE ON", "interlock"]),
    "beam killed": ("continuous_tomography", ["door", "MAY BE ON"]),
}  # fmt: skip


@pytest.fixture
def well(bench: Bench) -> Iterator[Bench]:
    """Return the bench, and have it well again after whatever happens to it."""
    yield bench
    for server, device in ((bench.motors, ROT), (bench.beams, BEAMS["door"])):
        server.restore()
        server.device(device).Break("")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_scan_ends_it_and_the_next_one_works(well: Bench, fault: str) -> None:
    bench = well
    plan, said = FAULTS[fault]
    motor, door = bench.motors.device(ROT), bench.beams.device(BEAMS["door"])
    strike: Callable[[], Any] = {
        "killed": bench.motors.kill,
        "frozen": bench.motors.freeze,
        "stuck": lambda: door.Break("stuck"),
        "beam killed": bench.beams.kill,
    }.get(fault, lambda: motor.Break(fault))
    ready = _above(motor, "Position", 10.0)
    if fault == "stuck":
        ready = lambda: door.State() == tango.DevState.OPEN  # noqa: E731
    bench.session.RE(plans_move(bench.devices["rot"], 0.0))
    struck_s: list[float] = []
    closed_s: list[float] = []
    lost_beam = fault in ("stuck", "beam killed")

    def wait_and_strike() -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not ready() and time.monotonic() < until_s:
            time.sleep(0.01)
        struck_s.append(time.monotonic())
        strike()
        while not lost_beam and not bench.closed("door") and time.monotonic() < until_s:
            time.sleep(0.02)
        closed_s.append(time.monotonic())

    thread = threading.Thread(target=wait_and_strike)
    thread.start()
    turn = {} if plan == "radiography" else {"angular_range": "180 deg"}
    number = {"radiography": 5, "step_tomography": 60, "continuous_tomography": 450}[plan]
    with pytest.raises(Exception) as failed:  # noqa: PT011
        bench.scan(plan, num_projections=number, **turn)
    thread.join(PATIENCE_S)
    print(
        f"{fault}: closed {closed_s[0] - struck_s[0]:.1f} s, ended {time.monotonic() - struck_s[0]:.1f} s after it"
    )
    told = " ".join(_all_said(failed.value))
    for part in said:
        assert part in told
    ended = open_run(-1, bench.directory)
    assert ended.exit_status == "fail"
    assert ("THE BEAM MAY BE ON" in (ended.stop or {})["reason"]) is lost_beam
    if not lost_beam:
        assert bench.closed("door")
    for server, lost in ((bench.motors, fault == "killed"), (bench.beams, fault == "beam killed")):
        if lost:
            server.start()
    if fault == "frozen":
        bench.motors.thaw()
    motor.Break("")
    door.Break("")
    assert motor.State() != tango.DevState.MOVING
    # With the same devices.
    run = bench.scan("step_tomography", num_projections=2, angular_range="10 deg")
    assert run.exit_status == "success"
    assert bench.closed("door")


def _all_said(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield from (str(error), *getattr(error, "__notes__", ()))
        error = error.__cause__


def test_limits_and_velocities(bench: Bench) -> None:
    with pytest.raises(
        ParameterError, match=r"asked to move to 900 deg; its limits are -720 to 720 deg"
    ):
        bench.scan("step_tomography", num_projections=2, start_angle="900 deg")
    with pytest.raises(ParameterError, match=r"at 180 deg/s; it takes at most 150 deg/s"):
        bench.scan("continuous_tomography", num_projections=50, angular_range="180 deg")
    with pytest.raises(FailedStatus) as failed:
        bench.session.RE(plans_move(bench.devices["rot"].velocity, 300.0))
    told = str(failed.value.__cause__)
    assert "rot at tango://" in told
    assert "told to set its Velocity to 300.0 and refused: " in told
    assert "above the maximum" in told


def test_devices_that_are_none(bench: Bench) -> None:
    valves = bench.motors.address("t/valves/1")

    def refused(make: Callable[[], Any]) -> str:
        with pytest.raises(NotConnectedError) as failed, init_devices(timeout=PATIENCE_S):
            made = make()  # noqa: F841
        return str(failed.value)

    said = refused(lambda: TangoMotor(valves, name="valves"))
    assert "has no readback, looked for as position, readback" in said
    assert "its attributes are Pressure, State, Status" in said
    assert "Give its name: readback='…'." in said
    said = refused(lambda: TangoMotor(valves, name="valves", readback="Pressure"))
    assert "has no setpoint, looked for as setpoint (to be written)" in said
    said = refused(lambda: TangoShutter(valves, name="valves"))
    assert "the commands Open and Close; its attributes are Pressure" in said
    said = refused(lambda: TangoShutter(valves, name="valves", attribute="Pressure"))
    assert "which holds float; bool or StrictEnum is needed" in said
    said = refused(
        lambda: TangoMotor(bench.motors.address(SLIDE), name="slide", support_events=True)
    )
    assert "was to tell its position by event, and does not" in said
    said = refused(lambda: TangoMotor("tango://127.0.0.1:9/a/b/c#dbase=no", name="nobody"))
    assert (
        "nobody at tango://127.0.0.1:9/a/b/c#dbase=no was asked what it has and does not answer"
        in said
    )


def test_parameters_that_are_none() -> None:
    with pytest.raises(
        ParameterError, match=r"'rot' was given for a Tango device; give 'domain/family"
    ):
        TangoMotor("rot")
    with pytest.raises(ParameterError, match="give both commands, or an attribute"):
        TangoShutter("a/b/c", open_command="Up")
    with pytest.raises(ParameterError, match="give two values, or none"):
        TangoShutter("a/b/c", on="UP")


def test_how_the_guard_closes_each(bench: Bench) -> None:
    addresses = {name: bench.beams.address(address) for name, address in BEAMS.items()}
    assert {name: bench.devices[name].guard_switch() for name in BEAMS} == {
        "door": TangoSwitch(addresses["door"], command="Close"),
        "switch": TangoSwitch(addresses["switch"], attribute="opened", off=False),
        "choice": TangoSwitch(addresses["choice"], attribute="Shutter", off=0),
    }
