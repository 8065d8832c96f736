"""Closed loops: measure, compare, control, with the live reconstruction's measures, too."""

import asyncio
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.callbacks import OnlineReconstruction
from concertino.plans import closed_loop, outcome_of, step_tomography
from concertino.reconstruction import ReconstructionSettings
from concertino.testing import InjectedFaultError, PlanFault, plan_messages, run_with_fault
from tests.plans.laboratory import Laboratory
from tests.plans.process_laboratory import P, ProcessLaboratory, foam, twin


def position(motor: Any) -> float:
    return float(asyncio.run(motor.user_readback.get_value()))


def test_it_measures_compares_and_controls_until_it_is_right(laboratory: Laboratory) -> None:
    stage, results = laboratory.beamline.vertical_stage, []

    def halve(height: float) -> MsgGenerator[None]:
        yield from bps.mv(stage, height / 2)

    def plan(limit: int) -> MsgGenerator[None]:
        result = yield from closed_loop(
            lambda: bps.rd(stage),
            lambda height: abs(height) < 0.15,
            halve,
            initialise=lambda: bps.mv(stage, 1.0),
            max_iterations=limit,
        )
        results.append(result)

    laboratory.RE(plan(5))
    laboratory.RE(plan(2))
    assert results[0].arrived
    assert results[0].values == (1.0, 0.5, 0.25, 0.125)
    assert results[0].iterations == 4
    assert (results[1].arrived, results[1].values) == (False, (1.0, 0.5))


def test_the_live_reconstruction_brings_the_axis_to_the_middle(tmp_path: Path) -> None:
    shape = (24, 96)
    made = twin(foam(shape), shape, axis_offset_px=7.0)
    lab = ProcessLaboratory(tmp_path, made, ring_bytes=2**24)
    b = lab.beamline
    reconstruction = OnlineReconstruction(ReconstructionSettings(slices=(12,)))
    lab.RE.subscribe(reconstruction)
    middle, pixel_mm = (shape[1] - 1) / 2, made.detector.pixel_size_mm

    def axis() -> MsgGenerator[float]:
        yield from step_tomography(
            b.camera, b.rotation, b.beam, b.sample_stage, num_darks=5, num_flats=10,
            num_projections=60, radio_position=(yield from bps.rd(b.sample_stage)),
            flat_position=P["flat_position"],
            md=lab.directories.new().metadata(),
        )  # fmt: skip
        result = yield from outcome_of(reconstruction.wait, 60)
        return float(result.center_px)

    def shift(found: float) -> MsgGenerator[None]:
        yield from bps.mvr(b.sample_stage, (middle - found) * pixel_mm)

    end: list[Any] = []

    def plan() -> MsgGenerator[None]:
        end.append((yield from closed_loop(axis, lambda px: abs(px - middle) < 0.3, shift)))

    lab.RE(plan())
    lab.close()
    (result,) = end
    assert result.arrived
    assert result.iterations == 2
    assert result.values[0] == pytest.approx(middle + 7, abs=0.3)
    assert position(b.sample_stage) == pytest.approx(-7 * pixel_mm, abs=0.3 * pixel_mm)
    assert not lab.beam_is_on()


def test_what_was_moved_is_stopped_when_something_fails(laboratory: Laboratory) -> None:
    stage = laboratory.beamline.vertical_stage

    def slow(height: float) -> MsgGenerator[None]:
        yield from bps.abs_set(stage, height + 10)
        raise ValueError("the control is broken")

    with pytest.raises(ValueError, match="the control is broken"):
        laboratory.RE(closed_loop(lambda: bps.rd(stage), lambda height: False, slow))
    assert laboratory.moving() == []

    def step(height: float) -> MsgGenerator[None]:
        yield from bps.mvr(stage, 0.01)

    bench = laboratory.bench(
        lambda: closed_loop(lambda: bps.rd(stage), lambda height: False, step, max_iterations=2)
    )
    for index in range(len(plan_messages(bench))):
        outcome = run_with_fault(bench, PlanFault(index, "raise before"))
        assert isinstance(outcome.error, InjectedFaultError), outcome.where
        assert not outcome.moving, outcome.where


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"measure": 1}, "measure: 1 cannot be called. Give a function that returns messages."),
        ({"compare": None}, "compare: None cannot be called. Give a function."),
        (
            {"control": "up"},
            "control: 'up' cannot be called. Give a function that returns messages.",
        ),
        (
            {"initialise": 0},
            "initialise: 0 cannot be called. Give a function that returns messages.",
        ),
        ({"max_iterations": 0}, "max_iterations: 0 is too small. Give at least 1."),
    ],
)
def test_wrong_parameters(laboratory: Laboratory, wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"measure": bps.null, "compare": bool, "control": bps.null}
    given = {**right, **wrong}
    with pytest.raises(ParameterError) as caught:
        laboratory.RE(
            closed_loop(given.pop("measure"), given.pop("compare"), given.pop("control"), **given)
        )
    assert str(caught.value) == message
