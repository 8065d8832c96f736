"""What bluesky's queue server accepts and refuses when a plan is added, by its own validation.

The descriptions are those of the start-up module, loaded as the server's worker loads it.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bluesky_queueserver")

from bluesky_queueserver.manager.profile_ops import load_allowed_plans_and_devices, validate_plan

LOAD = """
import json, sys
from bluesky_queueserver.manager.profile_ops import (
    existing_plans_and_devices_from_nspace, load_startup_module
)
found = existing_plans_and_devices_from_nspace(nspace=load_startup_module("concertino.queueserver"))
print("\\n" + json.dumps(found[:2]))
"""
PERMISSIONS = {
    "root": {"allowed_plans": [None], "allowed_devices": [None]},
    "primary": {"allowed_plans": [":.*"], "allowed_devices": [":?.*:depth=5"]},
    "students": {
        "allowed_plans": ["radiography", ":tomography$"],
        "forbidden_plans": [":^continuous"],
        "allowed_devices": [":^(camera|rotation|shutter|sample_stage)$"],
    },
}

PLACE = {"radio_position": "0 mm", "flat_position": {"value": 1, "unit": "cm"}}
STAGES = {"camera": "camera", "beam": "shutter", "sample_stage": "sample_stage"}
TURNED = {**STAGES, "rotation": "rotation", **PLACE}
SPIRAL = {
    **TURNED, "vertical_stage": "vertical_stage", "start_position_vertical": "-3 mm",
    "vertical_shift_per_tomogram": "2 mm", "sample_height": "0.5 cm",
}  # fmt: skip
GRATING = {
    **STAGES, **PLACE, "stepping": "grating_stage", "grating_period": "2.4 um",
    "stepping_start_position": 0,
}  # fmt: skip
RADIOGRAPHY = {**STAGES, **PLACE}
RECORDED = {**STAGES, **PLACE, "trigger": "ring", "trigger_below": 99.5}
UPRIGHT = {**TURNED, "axis_roll": "axis_roll", "axis_pitch": "axis_pitch"}
FOCUS = {"measure": "camera", "stage": "focus_stage", "start": "-2 mm", "end": 2, "beam": "shutter"}
GRID = {
    "x_stage": "sample_stage", "y_stage": "vertical_stage", "x_positions": [0, "1 mm"], "y_positions": [0.5],
    "plan": "radiography", "parameters": RADIOGRAPHY,
}  # fmt: skip
SAMPLES = {
    "sample_changer": "vertical_stage", "samples": {"tooth": 0, "bone": "2 mm"},
    "plan": "radiography", "parameters": RADIOGRAPHY,
}  # fmt: skip

GOOD: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("radiography", [], RADIOGRAPHY),
    ("radiography", [], {**RADIOGRAPHY, "camera": ["camera", "detail"], "per_frame": ["ring"]}),
    ("retrospective_radiography", [], {**RECORDED, "max_wait": "2 min", "num_before": 5}),
    ("step_tomography", [], {**TURNED, "scheme": "golden_ratio", "angular_range": "0.5 turn"}),
    ("step_tomography", [], {**TURNED, "scheme": [0, "10 deg", 20.5], "trigger": "trigger_box"}),
    ("step_tomography", [], {**TURNED, "scheme": {"name": "multi_turn", "turns": 7}}),
    ("continuous_tomography", [], {**TURNED, "max_blur": "1 px", "rotation_axis": 255.5}),
    ("continuous_tomography", [], {**TURNED, "trigger": "edge", "md": {"sample": "camera"}}),
    ("continuous_tomography", [], {**TURNED, "order": ["darks", "flats every 100 projections"]}),
    ("continuous_tomography", [], {**TURNED, "angular_range": None, "start_angle": "-1.5 rad"}),
    ("step_spiral_tomography", [], SPIRAL),
    ("continuous_spiral_tomography", [], SPIRAL),
    ("grating_stepping", [], {**GRATING, "propagation_distance": "20 cm"}),
    ("resume", ["scan_0001"], {**STAGES, "rotation": "rotation", "unmoved": ["vertical_stage"]}),
    ("take_again", [3, ["camera", "shutter", "sample_stage", "rotation"]], {}),
    ("focus", [], {**FOCUS, "tolerance": "10 um"}),
    ("find_rotation_axis", [], TURNED),
    ("align_rotation_axis", [], {**UPRIGHT, "tolerance": "0.01 deg", "feature": "needle"}),
    ("ascan", [["sharpness"], "sample_stage", "-0.1 mm", 0.1], {"num": 3, "beam": "shutter"}),
    ("dscan", [["ring"], "rotation", "-0.1 rad", 90, "sample_stage", 0, 150], {"num": 3}),
    ("scan", [["ring"], "rotation", 0, 90, 4, "sample_stage", 0, "1 mm", 2], {"snake": True}),
    ("xy_scan", [], GRID),
    ("change_samples", [], SAMPLES),
]  # fmt: skip

OUT = "Motor sample_stage was asked to move to 200 mm; its limits are -100 to 100 mm."
BAD: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("radiography", [], {**RADIOGRAPHY, "flat_position": "10 kg"},
     "flat_position: a length in mm is wanted, but '10 kg' is of dimension [mass]."),
    ("radiography", [], {**RADIOGRAPHY, "flat_position": "10 mmm"}, "flat_position: 'mmm' in '10 mmm' is not a unit"),
    ("radiography", [], {**RADIOGRAPHY, "flat_position": "10"}, "flat_position: '10' has no unit."),
    ("radiography", [], {**RADIOGRAPHY, "flat_position": "20 cm"}, f"flat_position: {OUT}"),
    ("radiography", [], {**RADIOGRAPHY, "radio_position": 200}, f"radio_position: {OUT}"),
    ("radiography", [], {**RADIOGRAPHY, "radio_position": {"value": 2, "unit": "s"}}, "a length in mm is wanted"),
    ("radiography", [], {**RADIOGRAPHY, "radio_position": {"value": 2}}, "Give exactly a number and a unit"),
    ("radiography", [], {**RADIOGRAPHY, "radio_position": True}, "radio_position: True is no quantity."),
    ("radiography", [], {**RADIOGRAPHY, "num_darks": 0}, "Value 0 is out of range [1, 100000000]"),
    ("radiography", [], {**RADIOGRAPHY, "camera": ["camera", "nobody"]}, "camera"),
    ("radiography", [], {**RADIOGRAPHY, "order": ["darks", "flaps"]}, "order"),
    ("retrospective_radiography", [], {**RECORDED, "max_wait": "2 mm"}, "max_wait: a time in s is wanted"),
    ("retrospective_radiography", [], {**RECORDED, "max_wait": 0}, "max_wait: 0 is not positive."),
    ("retrospective_radiography", [], {**RECORDED, "trigger": "software"}, "trigger"),
    ("retrospective_radiography", [], {**RECORDED, "on_timeout": "shrug"}, "on_timeout"),
    ("step_tomography", [], {**TURNED, "scheme": "guess"}, "scheme"),
    ("step_tomography", [], {**TURNED, "scheme": [0, "1 mm"]}, "scheme: an angle in deg is wanted, but '1 mm' is"),
    ("step_tomography", [], {**TURNED, "trigger": "ring"}, "trigger"),
    ("step_tomography", [], {**TURNED, "rotation": "ring"}, "rotation"),
    ("continuous_tomography", [], {**TURNED, "angular_range": "10 mm"}, "angular_range: an angle in deg is wanted"),
    ("continuous_tomography", [], {**TURNED, "max_blur": "-1 px"}, "max_blur: '-1 px' is not positive."),
    ("continuous_tomography", [], {**TURNED, "start_angle": "nan deg"}, "start_angle: 'nan deg' is not a finite"),
    ("continuous_tomography", [], {**TURNED, "exposure": 1}, "exposure"),
    ("step_spiral_tomography", [], {**SPIRAL, "start_position_vertical": "-30 cm"},
     "start_position_vertical: Motor vertical_stage was asked to move to -300 mm; its limits are -100 to 100 mm."),
    ("continuous_spiral_tomography", [], {**SPIRAL, "sample_height": "-5 mm"}, "sample_height: '-5 mm' is not positive"),
    ("grating_stepping", [], {**GRATING, "stepping_start_position": "2 mm"},
     "Motor grating_stage was asked to move to 2000 um; its limits are -1000 to 1000 um."),
    ("grating_stepping", [], {**GRATING, "grating_period": "2 s"}, "grating_period: a length in um is wanted"),
    ("grating_stepping", [], {**GRATING, "num_steps_per_period": 2}, "Value 2 is out of range [3, 100000000]"),
    ("resume", ["scan_0001"], {**STAGES, "unmoved": ["nobody"]}, "unmoved"),
    ("take_again", [3, ["camera", "nobody"]], {}, "devices"),
    ("focus", [], {**FOCUS, "end": "6 cm"}, "end: Motor focus_stage was asked to move to 60 mm"),
    ("focus", [], {**FOCUS, "tolerance": "1 deg"}, "tolerance: a length in mm is wanted"),
    ("focus", [], {**FOCUS, "num": 4}, "Value 4 is out of range [5, 100000000]"),
    ("find_rotation_axis", [], {**TURNED, "start_angle": "1 mm"}, "start_angle: an angle in deg is wanted"),
    ("align_rotation_axis", [], {**UPRIGHT, "tolerance": "1 mm"}, "tolerance: an angle in deg is wanted"),
    ("align_rotation_axis", [], {**UPRIGHT, "axis_roll": "rotation"}, "axis_roll"),
    ("ascan", [["sharpness"], "sample_stage", "-20 cm", 0.1], {"num": 3},
     "start of sample_stage: Motor sample_stage was asked to move to -200 mm"),
    ("ascan", [["sharpness"], "sample_stage", 0, "1 deg"], {"num": 3}, "end of sample_stage: a length in mm is wanted"),
    ("ascan", [["sharpness"], 0, 1, 2], {"num": 3}, "args: 0 is no motor. Give motor, start, end for each motor"),
    ("ascan", [["nobody"], "sample_stage", 0, 1], {"num": 3}, "measures"),
    ("dscan", [["ring"], "rotation", "1 mm", 90], {"num": 3}, "start of rotation: an angle in deg is wanted"),
    ("scan", [["ring"], "rotation", 0, 90, 4, "camera", 0, 1, 2], {}, "args: 'camera' is no motor."),
    ("scan", [["ring"], "sample_stage", 0, 1, 2.5], {}, "number of sample_stage: 2.5 is not a whole number."),
    ("xy_scan", [], {**GRID, "x_positions": [0, "20 cm"]}, f"x_positions: {OUT}"),
    ("xy_scan", [], {**GRID, "plan": "xy_scan"}, "plan"),
    ("xy_scan", [], {**GRID, "parameters": {**RADIOGRAPHY, "flat_position": "20 cm"}}, f"flat_position: {OUT}"),
    ("change_samples", [], {**SAMPLES, "samples": {"tooth": "1 s"}}, "samples: a length in mm is wanted"),
]  # fmt: skip


@pytest.fixture(scope="module")
def synchrotron(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the descriptions of plans and devices at a synchrotron."""
    return described(tmp_path_factory.mktemp("described"), "synchrotron")


@pytest.fixture(scope="module")
def refusal(synchrotron: Any) -> Callable[..., str]:
    """Return what says why an item is refused; nothing if it is not."""
    return refusals(synchrotron)


def refusals(existing: Any) -> Callable[..., str]:
    plans, devices = existing
    allowed = load_allowed_plans_and_devices(
        existing_plans=plans, existing_devices=devices,
        user_group_permissions={"user_groups": PERMISSIONS},
    )  # fmt: skip

    def refused(name: str, args: Any = (), kwargs: Any = None, group: str = "primary") -> str:
        item = {"name": name, "args": list(args), "kwargs": kwargs or {}}
        good, message = validate_plan(
            item, allowed_plans=allowed[0][group], allowed_devices=allowed[1][group]
        )
        assert good is not bool(message)
        return str(message)

    return refused


def described(directory: Path, source: str) -> Any:
    """Return the descriptions of all plans and devices, as the worker makes them."""
    told = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=240, cwd=directory,
        env={**os.environ, "CONCERTINO_SOURCE": source, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


@pytest.mark.parametrize(("name", "args", "given"), GOOD)
def test_what_can_work_is_accepted(
    refusal: Callable[..., str], name: str, args: list[Any], given: dict[str, Any]
) -> None:
    assert refusal(name, args, given) == ""


@pytest.mark.parametrize(("name", "args", "given", "sentence"), BAD)
def test_what_cannot_work_is_refused_with_the_sentence(
    refusal: Callable[..., str], name: str, args: list[Any], given: dict[str, Any], sentence: str
) -> None:
    said = refusal(name, args, given)
    before, _, _ = said.partition("\nPlan:")  # What was given stands behind it.
    if (
        sentence.isidentifier()
    ):  # The parameter, of which bluesky or pydantic says what is wrong with it.
        assert re.search(rf"^{sentence}(\.|$)|'{sentence}'", before, re.MULTILINE), said
    else:
        assert sentence in before, said


def test_a_scan_is_judged_alone(refusal: Callable[..., str]) -> None:
    good = ("ascan", [["sharpness"], "sample_stage", 0, 1], {"num": 3})
    for _ in range(2):
        assert refusal(*good) == ""
        assert "args: 'detail' is no motor" in refusal("ascan", [["ring"], "detail"], {"num": 3})


def test_groups_may_do_what_their_permissions_say(refusal: Callable[..., str]) -> None:
    assert refusal("radiography", (), RADIOGRAPHY, "students") == ""
    assert refusal("step_tomography", (), TURNED, "students") == ""
    for name in ("continuous_tomography", "focus"):
        given = FOCUS if name == "focus" else TURNED
        assert "is not in the list of allowed plans" in refusal(name, (), given, "students")
    two = {**RADIOGRAPHY, "camera": ["camera", "detail"]}
    assert refusal("radiography", (), two) == ""
    assert "camera" in refusal("radiography", (), two, "students").partition("\nPlan:")[0]


def test_parameters_are_described(synchrotron: Any) -> None:
    for name, plan in synchrotron[0].items():
        assert plan["description"], name
        for parameter in plan["parameters"]:
            said = parameter.get("description", "")
            assert len(said) > 10, (name, parameter["name"])
            assert "As for" not in said, (name, parameter["name"])


def test_a_tube_is_the_beam_where_there_is_one(tmp_path: Path, refusal: Callable[..., str]) -> None:
    at_tube = refusals(described(tmp_path, "tube"))
    by_tube = {**RADIOGRAPHY, "beam": "tube"}
    assert at_tube("radiography", (), by_tube) == ""
    for name in ("step_tomography", "continuous_tomography"):
        assert at_tube(name, (), {**TURNED, "beam": "tube"}) == ""
    assert "\nbeam\n" in at_tube("radiography", (), RADIOGRAPHY)
    assert "\nbeam\n" in refusal("radiography", (), by_tube)


def test_a_client_without_concertino_sees_kinds_of_values(
    refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refusal("radiography", (), {**RADIOGRAPHY, "flat_position": "20 cm"}) == ""
    assert "\nflat_position" in refusal("radiography", (), {**RADIOGRAPHY, "flat_position": [1]})
