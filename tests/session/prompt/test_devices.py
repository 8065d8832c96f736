"""The table of devices, moves with units and limits, and the stop of everything."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ophyd import Signal
from ophyd_async.core import DEFAULT_TIMEOUT
from ophyd_async.epics.motor import Motor

from concertino import ConcertinoError, ParameterError, SessionError
from concertino.devices import SimulatedBeamline, SimulatedMotor
from concertino.session import Session, open_session


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(16, 24))


@pytest.fixture
def session(tmp_path: Path, beamline: SimulatedBeamline) -> Iterator[Session]:
    with open_session(
        tmp_path, progress=False, catalog=False, guard=False, baseline=beamline.baseline
    ) as session:
        session.add_devices(beamline.camera, Signal(name="slit", value=2.5))
        yield session


def test_each_device_and_what_moves(session: Session, beamline: SimulatedBeamline) -> None:
    found = {state.name: state for state in session.status()}
    assert set(found) == {
        "rotation", "sample_stage", "vertical_stage", "shutter", "ring", "camera", "slit",
    }  # fmt: skip
    assert all(state.reachable for state in found.values())
    assert (found["rotation"].value, found["rotation"].unit) == (0.0, "deg")
    assert (found["sample_stage"].low, found["sample_stage"].high) == beamline.sample_stage.limits
    assert found["shutter"].value == "closed"
    assert found["slit"].value == 2.5
    assert found["rotation"].moving is False
    moving = session.start(_turn(beamline))
    table = session.status()
    assert {state.name for state in table if state.moving} == {"rotation"}
    moving.abort()
    assert "rotation" in str(table)
    assert "<td>rotation</td>" in table._repr_html_()


def _turn(beamline: SimulatedBeamline):  # type: ignore[no-untyped-def]
    import bluesky.plan_stubs as bps

    yield from bps.mv(beamline.rotation, 3600)


def test_what_is_not_reached_is_told_with_its_address_and_holds_up_nothing(
    session: Session,
) -> None:
    session.add_devices(*(Motor(f"NOBODY:M{number}", name=f"m{number}") for number in range(5)))
    begun_s = time.monotonic()
    table = session.status(timeout_s=1.0)
    assert time.monotonic() - begun_s < DEFAULT_TIMEOUT
    lost = [state for state in table if not state.reachable]
    assert [state.name for state in lost] == [f"m{number}" for number in range(5)]
    assert "NOBODY:M3" in lost[3].address
    assert "NOBODY:M3" in str(table)
    assert "not reached" in str(table)


def test_moves(session: Session, beamline: SimulatedBeamline) -> None:
    assert session.move("rotation", "0.5 turn") == pytest.approx(180)
    assert beamline.rotation.position_at(time.time()) == pytest.approx(180)
    assert session.move(beamline.sample_stage, 1.5) == pytest.approx(1.5)
    low, high = beamline.sample_stage.limits
    for device, position, said in (
        ("rotation", "3 mm", "rotation: an angle in deg is wanted, but '3 mm' is a length"),
        ("sample_stage", high + 1, f"its limits are {low:g} to {high:g} mm"),
        ("rotatoin", 3, "there is no 'rotatoin'; give one of rotation, sample_stage"),
        ("ring", 3, "'ring' is no device that moves"),
    ):
        with pytest.raises(ParameterError, match=said):
            session.move(device, position)
    assert beamline.sample_stage.position_at(time.time()) == pytest.approx(1.5)


def test_everything_is_stopped(session: Session, beamline: SimulatedBeamline) -> None:
    tube = SimulatedBeamline(shape=(8, 8), source="tube").tube
    session.add_devices(tube)

    async def go() -> None:
        await beamline.shutter.set(True)
        await tube.set(True)

    import asyncio

    asyncio.run_coroutine_threadsafe(go(), session.RE.loop).result(20)
    session.RE.loop.call_soon_threadsafe(beamline.rotation.set, 3600)
    time.sleep(0.3)
    assert beamline.shutter.is_open
    assert tube.is_on
    assert beamline.rotation.velocity_at(time.time()) > 0
    session.stop_all()
    assert not beamline.shutter.is_open
    assert not tube.is_on
    assert beamline.rotation.velocity_at(time.time()) == 0


def test_two_devices_of_one_name(session: Session) -> None:
    with pytest.raises(ParameterError, match="there are two with the name rotation"):
        session.add_devices(SimulatedMotor("mm", velocity=1, max_velocity=1, name="rotation"))
    with pytest.raises(ParameterError, match="3 has no name"):
        session.add_devices(3)


def test_a_closed_session(tmp_path: Path) -> None:
    session = open_session(tmp_path, progress=False, catalog=False, guard=False)
    session.close()
    for act in (session.status, session.stop_all, lambda: session.move("rotation", 3)):
        with pytest.raises((SessionError, ConcertinoError), match=r"closed|ended"):
            act()
