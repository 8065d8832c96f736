"""Every plan that is exported is under the fault harness, and is asked wrongly."""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from concertino import plans

HERE = Path(__file__).parent

#: What returns messages and is no plan by itself: `imaging_run` is tested by all that it runs.
BLOCKS = {
    "beam_off", "beam_on", "imaging_run", "outcome_of", "passed_on", "run_safely", "take_darks", "take_flats", "take_frames",
    "take_stepped_frames",
    "with_pause_request",
}  # fmt: skip

#: The test in which each message of a plan fails in turn, and the user interrupts there.
FAULTS = {
    "align_rotation_axis": "safety/test_process_faults.py::test_every_end_is_safe",
    "ascan": "safety/test_process_faults.py::test_every_end_is_safe",
    "change_samples": "series/test_for_each.py::test_every_end_is_safe",
    "closed_loop": "alignment/test_closed_loop.py::test_what_was_moved_is_stopped_when_something_fails",
    "continuous_spiral_tomography": "geometry/test_spiral_tomography.py::test_every_end_of_a_spiral_is_safe",
    "continuous_tomography": "safety/test_plan_faults.py::test_every_end_is_safe",
    "dscan": "safety/test_process_faults.py::test_every_end_is_safe",
    "find_rotation_axis": "safety/test_process_faults.py::test_every_end_is_safe",
    "focus": "safety/test_process_faults.py::test_every_end_is_safe",
    "for_each": "series/test_for_each.py::test_every_end_is_safe",
    "grating_stepping": "test_grating_stepping.py::test_every_end_is_safe",
    "radiography": "safety/test_plan_faults.py::test_every_end_is_safe",
    "resume": "run/test_resume.py::test_every_end_of_a_resumed_run_is_safe",
    "retrospective_radiography": "stubs/test_retrospective.py::test_every_end_is_safe",
    "scan": "safety/test_process_faults.py::test_every_end_is_safe",
    "step_spiral_tomography": "geometry/test_spiral_tomography.py::test_every_end_of_a_spiral_is_safe",
    "step_tomography": "safety/test_plan_faults.py::test_every_end_is_safe",
    "take_again": "safety/test_plan_faults.py::test_every_end_of_a_value_is_safe",
    "take_scan": "safety/test_plan_faults.py::test_every_end_of_a_value_is_safe",
    "xy_scan": "series/test_for_each.py::test_every_end_is_safe",
}

#: The test in which a plan gets parameters that cannot work, and says so.
WRONG = {
    "align_rotation_axis": "core/test_wrong_process_parameters.py::test_align",
    "ascan": "core/test_wrong_process_parameters.py::test_scans",
    "change_samples": "series/test_for_each.py::test_a_changer_that_cannot_be_set",
    "closed_loop": "alignment/test_closed_loop.py::test_wrong_parameters",
    "continuous_spiral_tomography": "geometry/test_spiral_tomography.py::test_wrong_parameters",
    "continuous_tomography": "core/test_wrong_parameters.py::test_every_tomography_refuses",
    "dscan": "core/test_wrong_process_parameters.py::test_scans",
    "find_rotation_axis": "core/test_wrong_process_parameters.py::test_both",
    "focus": "core/test_wrong_process_parameters.py::test_focus",
    "for_each": "series/test_for_each.py::test_wrong_parameters",
    "grating_stepping": "test_grating_stepping.py::test_wrong_parameters",
    "radiography": "core/test_wrong_parameters.py::test_every_plan_refuses",
    "resume": "run/test_resume.py::test_runs_that_cannot_be_resumed",
    "retrospective_radiography": "stubs/test_retrospective.py::test_wrong_parameters",
    "scan": "core/test_wrong_process_parameters.py::test_scans",
    "step_spiral_tomography": "geometry/test_spiral_tomography.py::test_wrong_parameters",
    "step_tomography": "core/test_wrong_parameters.py::test_every_tomography_refuses",
    "take_again": "imaging/test_scan_values.py::test_a_missing_device_is_named",
    "take_scan": "imaging/test_scan_values.py::test_what_no_acquisition_uses_is_refused",
    "xy_scan": "series/test_for_each.py::test_a_position_that_cannot_be_reached",
}


def exported_plans() -> list[str]:
    """Return the exported functions that return messages."""
    return [
        name
        for name in plans.__all__
        if inspect.isfunction(value := getattr(plans, name))
        and inspect.isgeneratorfunction(value)
        and name not in BLOCKS
    ]


@cache
def named_in(file: str) -> Mapping[str, str]:
    """Return the tests of a file and their source."""
    text = (HERE / file).read_text()
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize(
    ("table", "what"),
    [(FAULTS, "under the fault harness"), (WRONG, "asked wrongly")],
    ids=["faults", "wrong parameters"],
)
def test_no_plan_is_forgotten(table: Mapping[str, str], what: str) -> None:
    exported = set(exported_plans())
    assert exported - set(table) == set(), (
        f"These plans are not {what}; write the test, name it here."
    )
    assert set(table) - exported == set(), "These are no plans any more."


@pytest.mark.parametrize(
    ("name", "where"),
    [*FAULTS.items(), *WRONG.items()],
)
def test_the_test_exists_and_is_about_the_plan(name: str, where: str) -> None:
    file, _, test = where.partition("::")
    assert test in named_in(file), f"{where} is gone: name the test that shows this now"
    assert name in (HERE / file).read_text(), f"{where} does not mention {name}"


def test_blocks_are_exported() -> None:
    assert set(plans.__all__) >= BLOCKS
