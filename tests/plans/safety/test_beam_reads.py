"""A beam that says one thing and reads as another, or comes on late: nothing is taken with it, and it is said."""

import threading
import time
from typing import Any

import pytest
from bluesky.utils import FailedStatus
from ophyd import Component, Device, Signal
from ophyd.status import Status

from concertino import DeviceError
from concertino.devices import SignalBeam
from tests.plans.laboratory import Laboratory, patience

pytestmark = pytest.mark.disturbed_by_load("deadlines of 0.3 s hold for beams that do answer, too")

LIT = "THE BEAM MAY BE ON"


class OwnBeam:
    """A beam of a facility's own: what it is told, what it does, and what it reads as."""

    parent = None
    is_beam = True
    name = "mybeam"

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.reads = 0
        self.on = False

    def set(self, value: bool) -> Status:
        self.told.append(value)
        status = Status()
        self.turn(value, status)
        return status

    def turn(self, value: bool, status: Status) -> None:
        self.on = value
        status.set_finished()

    def shown(self) -> Any:
        return self.on

    def read(self) -> dict[str, Any]:
        self.reads += 1
        return {self.name: {"value": self.shown(), "timestamp": time.time()}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"source": "own", "dtype": "boolean", "shape": []}}


class LiesOff(OwnBeam):
    def turn(self, value: bool, status: Status) -> None:
        self.on = self.on or value
        status.set_finished()


class LiesOn(OwnBeam):
    def turn(self, value: bool, status: Status) -> None:
        status.set_finished()


class Lags(OwnBeam):
    """Reads as what it is half a second later."""

    since_s = 0.0

    def turn(self, value: bool, status: Status) -> None:
        self.since_s = time.monotonic() if value != self.on else self.since_s
        super().turn(value, status)

    def shown(self) -> bool:
        return self.on if time.monotonic() - self.since_s > 0.5 else not self.on


class Unreadable(OwnBeam):
    def read(self) -> dict[str, Any]:
        raise RuntimeError("no reading")


class Moves(OwnBeam):
    def shown(self) -> str:
        return "MOVING"


class Late(OwnBeam):
    """Comes on late, whatever it is told meanwhile."""

    late_s = 1.5

    def turn(self, value: bool, status: Status) -> None:
        if not value:
            return super().turn(value, status)
        threading.Timer(self.late_s, super().turn, (value, status)).start()


class Shutter(Device):  # type: ignore[misc]
    command = Component(Signal, value=0, kind="config")
    state = Component(Signal, value="Closed", kind="hinted")
    stuck = False

    def set(self, value: str) -> Status:
        if value == "Open" or not self.stuck:
            self.state.put({"Open": "Open", "Close": "Closed"}[value])
        status = Status()
        status.set_finished()
        return status


def said(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, FailedStatus) else None
    return " ".join([str(error), str(cause or ""), *getattr(error, "__notes__", ())])


def stuck_switch() -> SignalBeam:
    shutter = Shutter(name="mybeam")
    shutter.stuck = True
    return SignalBeam(shutter, on="Open", off="Close")


@pytest.mark.parametrize("make", [LiesOff, stuck_switch])
@pytest.mark.parametrize("name", ["radiography", "step_tomography"])
def test_a_beam_that_says_off_and_reads_on(laboratory: Laboratory, name: str, make: Any) -> None:
    with patience(off_s=0.3), pytest.raises(DeviceError) as caught:
        laboratory.run(name, beam=make())
    assert f"mybeam was switched off and still reads on: {LIT}." in said(caught.value)
    stop = laboratory.documents[-1][1]
    assert stop["exit_status"] == "fail"
    assert f"still reads on: {LIT}" in stop["reason"]


def test_a_beam_that_says_on_and_reads_off(laboratory: Laboratory) -> None:
    beam = LiesOn()
    with patience(on_s=0.3), pytest.raises(DeviceError) as caught:
        laboratory.run("radiography", beam=beam)
    assert "mybeam was switched on, says that it is, and still reads off." in said(caught.value)
    assert LIT not in said(caught.value)
    stop = laboratory.documents[-1][1]
    assert stop["exit_status"] == "fail"
    assert stop["num_events"].get("flats", 0) == 0
    assert beam.told[-1] is False


@pytest.mark.parametrize("kind", [OwnBeam, Lags, Unreadable, Moves])
def test_beams_with_which_all_is_well(laboratory: Laboratory, kind: type[OwnBeam]) -> None:
    beam = kind()
    laboratory.run("radiography", beam=beam)
    assert laboratory.documents[-1][1]["exit_status"] == "success"
    assert not beam.on
    if kind is OwnBeam:
        assert beam.reads <= len(beam.told) + 2, "one reading for each switch"


def test_a_beam_that_comes_on_when_it_was_given_up(laboratory: Laboratory) -> None:
    beam = Late()
    with patience(on_s=0.3), pytest.raises(DeviceError) as caught:
        laboratory.run("radiography", beam=beam)
    assert "has not said within 0.3 s that it is. It may still come on: " + LIT in said(
        caught.value
    )
    assert LIT in laboratory.documents[-1][1]["reason"]
    assert not beam.on  # It came on, and was switched off again.
    assert beam.told[-1] is False


def test_a_beam_that_may_yet_come_on(laboratory: Laboratory) -> None:
    beam = Late()
    beam.late_s = 12.0
    with patience(on_s=0.3, off_s=0.3), pytest.raises(DeviceError) as caught:
        laboratory.run("radiography", beam=beam)
    assert f"nor that it will not: {LIT}, now or later." in said(caught.value)
    assert f"nor that it will not: {LIT}, now or later." in laboratory.documents[-1][1]["reason"]


@pytest.mark.parametrize(
    ("on", "off", "value", "state"),
    [
        ("Open", "Close", "Open", True),
        ("Open", "Close", "Closed", False),
        ("Open", "Close", "Moving", None),
        ("Close", "Open", "Closed", None),  # An interlock: the words mean something else.
        (False, True, True, False),
        (1, 0, 0, None),  # A command that falls back, for all we know.
    ],
)
def test_what_a_switch_reads_as(on: Any, off: Any, value: Any, state: bool | None) -> None:
    switch = SignalBeam(Shutter(name="frontend"), on=on, off=off)
    assert switch.state_of(value) is state
