"""Devices given for one another: a beam is on or off, what moves has a position; nothing is set before that is known."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import ophyd
import pytest
from ophyd.sim import SynAxis
from ophyd_async.core import StrictEnum, soft_signal_rw

from concertino import DeviceError, ParameterError
from concertino.devices import SignalBeam, SimulatedMotor
from concertino.plans import (
    align_rotation_axis,
    ascan,
    continuous_spiral_tomography,
    continuous_tomography,
    find_rotation_axis,
    focus,
    grating_stepping,
    radiography,
    step_spiral_tomography,
    step_tomography,
)
from concertino.testing import plan_messages
from tests.plans.laboratory import POSITIONS, SPIRAL, Laboratory

S: dict[str, Any] = POSITIONS
GRATING: dict[str, Any] = {
    "grating_period": "4 um", "stepping_start_position": "0 um", "num_periods": 1,
    "num_steps_per_period": 4,
}  # fmt: skip
#: Each plan with beam and sample stage swapped, or the beam and what it moves.
SWAPPED: dict[str, Callable[[Any], Any]] = {
    "radiography": lambda b: radiography(b.camera, b.sample_stage, b.beam, **S),
    "step_tomography": lambda b: step_tomography(b.camera, b.rotation, b.sample_stage, b.beam, **S),
    "rotation and beam": lambda b: step_tomography(
        b.camera, b.beam, b.rotation, b.sample_stage, **S
    ),
    "continuous_tomography": lambda b: continuous_tomography(
        b.camera, b.rotation, b.sample_stage, b.beam, **S
    ),
    "step_spiral_tomography": lambda b: step_spiral_tomography(
        b.camera, b.rotation, b.vertical_stage, b.sample_stage, b.beam, **S, **SPIRAL
    ),
    "continuous_spiral_tomography": lambda b: continuous_spiral_tomography(
        b.camera, b.rotation, b.vertical_stage, b.sample_stage, b.beam, **S, **SPIRAL
    ),
    "grating_stepping": lambda b: grating_stepping(
        b.camera, b.grating_stage, b.sample_stage, b.beam, **S, **GRATING
    ),
    "find_rotation_axis": lambda b: find_rotation_axis(
        b.camera, b.rotation, b.sample_stage, b.beam, **S
    ),
    "align_rotation_axis": lambda b: align_rotation_axis(
        b.camera, b.rotation, b.axis_roll, b.axis_pitch, b.sample_stage, b.beam, **S
    ),
    "focus": lambda b: focus(b.camera, b.focus_stage, 0, 1, beam=b.sample_stage),
    "ascan": lambda b: ascan([b.ring], b.sample_stage, 0, 1, num=3, beam=b.rotation),
}


@pytest.mark.parametrize("name", SWAPPED)
def test_a_beam_and_a_motor_that_were_swapped(laboratory: Laboratory, name: str) -> None:
    b, since_s = laboratory.beamline, time.time()
    with pytest.raises(ParameterError, match=r"reads as|switches between") as caught:
        laboratory.RE(SWAPPED[name](b))
    part, device = str(caught.value).split(": ", 1)
    assert part in ("beam", "rotation", "sample_stage")
    assert "SignalBeam" in device or "Give a motor here" in device
    assert laboratory.documents == []
    assert all(when_s < since_s for when_s, _ in b.shutter.history._changes)
    assert not laboratory.moving()


def test_a_rotation_and_a_stage_that_were_swapped(laboratory: Laboratory) -> None:
    b = laboratory.beamline
    with pytest.raises(ParameterError) as caught:
        laboratory.run("step_tomography", rotation=b.sample_stage, sample_stage=b.rotation)
    assert str(caught.value) == (
        "rotation: sample_stage moves in 'mm', and the sample_stage rotation in 'deg': they were swapped. Give "
        "what turns as rotation."
    )


class Positions(StrictEnum):
    OUT = "Out"
    IN = "In"


class Switch:
    """A device of somebody's that says only by its attribute what it is."""

    parent = None
    name = "somebodys_switch"
    is_beam = True

    def __init__(self) -> None:
        self._signal = soft_signal_rw(bool, name="inner")
        asyncio.run(self._signal.connect())

    def set(self, value: bool) -> Any:
        return self._signal.set(value)


def connected(signal: Any) -> Any:
    asyncio.run(signal.connect())
    return signal


BEAMS: dict[str, Callable[[], Any]] = {
    "ophyd's of true and false": lambda: ophyd.Signal(name="gate", value=False),
    "ophyd-async's of true and false": lambda: connected(soft_signal_rw(bool, name="gate")),
    "a switch over named states": lambda: SignalBeam(
        connected(soft_signal_rw(Positions, name="gate")), on=Positions.OUT, off=Positions.IN
    ),
    "a switch over numbers": lambda: SignalBeam(
        connected(soft_signal_rw(float, name="gate")), on=40.0, off=0.0
    ),
    "one that says that it is one": Switch,
}


@pytest.mark.parametrize("kind", BEAMS)
def test_what_is_a_beam(laboratory: Laboratory, kind: str) -> None:
    documents = laboratory.run("radiography", beam=BEAMS[kind]())
    assert documents[-1][1]["exit_status"] == "success"


class Silent:
    parent = None
    name = "silent"

    def set(self, value: Any) -> Any:
        raise AssertionError("it was set")


NO_BEAMS: dict[str, tuple[Callable[[], Any], str]] = {
    "ophyd's motor": (lambda: SynAxis(name="m"), "m reads as a number"),
    "a signal of a number": (
        lambda: connected(soft_signal_rw(float, name="voltage")), "voltage reads as a number",
    ),
    "a count": (lambda: ophyd.Signal(name="count", value=0), "count reads as a number"),
    "what says nothing": (Silent, "silent does not say what it reads as"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_BEAMS)
def test_what_is_no_beam(laboratory: Laboratory, kind: str) -> None:
    make, said = NO_BEAMS[kind]
    with pytest.raises(ParameterError) as caught:
        laboratory.run("radiography", beam=make())
    assert str(caught.value) == (
        f"beam: {said}{', as a position does' if 'number' in said else ''}, and a beam is on or off. Give the "
        "shutter or tube here, and motors in their own places; if it is what switches the beam, wrap it in "
        "concertino.devices.SignalBeam(device, on=…, off=…)."
    )


@pytest.mark.parametrize("unit", ["MM", "Millimeter", "mm ", "um", "micron", "µm"])
def test_a_stage_whose_unit_is_written_in_some_way(laboratory: Laboratory, unit: str) -> None:
    per_mm = 1000 if unit[0] in "uµ" or "micron" in unit else 1
    stage = SimulatedMotor(unit, velocity=1e5, max_velocity=1e5, name="table")
    bench = laboratory.bench(
        lambda: laboratory.plan("radiography", sample_stage=stage, flat_position="2 mm")
    )
    moves = [m.args[0] for m in plan_messages(bench) if m.obj is stage and m.args]
    assert moves == pytest.approx([2 * per_mm, 0])


@pytest.mark.parametrize("unit", ["Deg", "DEGREES", "degree", "°"])
def test_a_rotation_whose_unit_is_written_in_some_way(laboratory: Laboratory, unit: str) -> None:
    rotation = SimulatedMotor(unit, velocity=1000, max_velocity=1000, name="turn")
    documents = laboratory.run(
        "step_tomography", rotation=rotation, angular_range="0.1 rad", order=["projections"]
    )
    angles = [document["data"]["turn"] for kind, document in documents if kind == "event"]
    assert angles == pytest.approx([0, 1.90986, 3.81972], abs=1e-3)


def test_a_rotation_whose_unit_nobody_knows(laboratory: Laboratory) -> None:
    rotation = SimulatedMotor("microsteps", velocity=100, max_velocity=100, name="turn")
    with pytest.raises(ParameterError, match="rotation: turn states 'microsteps' as the unit"):
        laboratory.run("step_tomography", rotation=rotation)


class _Switch:
    """Reads as nothing, says that it is a beam, and is switched at once."""

    name, parent, is_beam = "lamp", None, True

    def __init__(self) -> None:
        self.told: list[bool] = []


class _Hasty(_Switch):
    def set(self, value: bool) -> None:
        self.told.append(value)


class _Coroutine(_Switch):
    async def set(self, value: bool) -> None:
        self.told.append(value)


@pytest.mark.parametrize(
    ("beam", "kind", "sentence"),
    [
        (
            _Hasty(),
            DeviceError,
            "lamp was to switch off, and its set returned None. Let it return a status",
        ),
        (
            _Coroutine(),
            ParameterError,
            "beam: the set of lamp is a coroutine, and must return a status",
        ),
    ],
)
def test_a_beam_whose_set_returns_no_status(
    laboratory: Laboratory, beam: Any, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        laboratory.run("radiography", beam=beam)
    assert True not in beam.told
