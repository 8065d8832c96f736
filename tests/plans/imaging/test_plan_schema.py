"""A JSON schema follows for every public plan, and for what an imaging run takes."""

import inspect
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from concertino import ParameterError, plans
from concertino.plans import (
    Darks,
    Flats,
    ImagingScan,
    MultiTurn,
    SpiralProjections,
    StepProjections,
    plan_schema,
)

EVERY = [
    name
    for name in plans.__all__
    if inspect.isgeneratorfunction(inspect.unwrap(getattr(plans, name)))
]
STEPS: dict[str, Any] = {
    "camera": "camera", "rotation": "rotation", "beam": "shutter", "sample_stage": "stage",
    "radio_position": 0, "flat_position": "10 mm",
}  # fmt: skip


def test_all_imaging_plans_are_among_them() -> None:
    assert {
        "radiography", "retrospective_radiography", "step_tomography", "continuous_tomography",
        "step_spiral_tomography", "continuous_spiral_tomography", "grating_stepping", "resume", "take_again",
        "take_scan", "find_rotation_axis", "align_rotation_axis", "focus",
    } <= set(EVERY)  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_every_plan_has_a_schema(name: str) -> None:
    plan = getattr(plans, name)
    schema = json.loads(json.dumps(plan_schema(plan)))
    Draft202012Validator.check_schema(schema)
    assert list(schema["properties"]) == list(inspect.signature(plan).parameters)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"camera": ["camera", "detail"], "num_darks": 5},
        {"angular_range": {"value": 0.5, "unit": "turn"}, "scheme": "golden_ratio"},
        {"scheme": [0, 1.5, 3], "order": ["darks", "flats every 10 projections"]},
        {
            "scheme": {"name": "multi_turn", "turns": 7},
            "trigger": "panda",
            "md": {"sample": "tooth"},
        },
    ],
)
def test_what_a_plan_takes_is_valid(more: dict[str, Any]) -> None:
    Draft202012Validator(plan_schema(plans.step_tomography)).validate({**STEPS, **more})


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_lost": "shrug"},
        {"num_darks": "many"},
        {"order": "darks"},
        {"scheme": {"name": "multi_turn", "turns": "many"}},
        {"half_acquisition": 3},
        {"exposure": 1},
        {"radio_position": None},
    ],
)
def test_what_a_plan_does_not_take_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Draft202012Validator(plan_schema(plans.step_tomography)).validate({**STEPS, **wrong})


def test_the_value_of_a_run_has_a_schema() -> None:
    schema = plan_schema(plans.take_scan)
    validator = Draft202012Validator({**schema["properties"]["scan"], "$defs": schema["$defs"]})
    scan = ImagingScan(
        acquisitions=[
            Darks(number=3),
            Flats(number=3),
            StepProjections(number=9, scheme=MultiTurn(turns=2)),
        ],
        radio_position="0 mm", flat_position=3, max_blur="2 px",
    )  # fmt: skip
    value = scan.to_json()
    validator.validate(value)
    spiral = SpiralProjections(
        number=9, start_position_vertical=0, vertical_shift_per_tomogram=2, sample_height="4 mm"
    )
    validator.validate({**value, "acquisitions": [spiral.to_json()]})
    for wrong in (
        {"acquisitions": [{"kind": "dose"}]},
        {"acquisitions": [{"kind": "darks"}]},
        {"acquisitions": [{"kind": "darks", "number": 3, "exposure": 1}]},
        {"on_lost": "shrug"},
        {"flat_position": None},
    ):
        with pytest.raises(ValidationError):
            validator.validate({**value, **wrong})


@pytest.mark.parametrize("given", ["step_tomography", None, 3])
def test_what_is_no_plan_has_no_schema(given: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        plan_schema(given)
    assert str(caught.value) == (
        f"plan: {given!r} was given. Give a plan itself, a function such as step_tomography."
    )


def test_a_dataclass_has_its_schema() -> None:
    schema = plan_schema(plans.set_deadlines)
    assert "answer_s" in json.dumps(schema)
