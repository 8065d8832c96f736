"""What a plan does when it is not told: the numbers that users of the predecessor know."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from bluesky.utils import MsgGenerator
from ophyd_async.core import soft_signal_rw

from concertino import DeviceError, plans
from concertino.devices import SignalBeam, SimulatedTube
from concertino.plans import Overheads
from concertino.plans.core._device_queries import without_run_engine
from concertino.plans.rehearsal._rehearsal import Rehearsal
from tests.plans.laboratory import Laboratory


def preflight_start(plan: MsgGenerator[Any]) -> Mapping[str, Any]:
    """Return the start document of a plan that is only gone through."""
    rehearsal = Rehearsal(Overheads())
    without_run_engine(rehearsal.go_through(plan))
    (start,) = rehearsal.starts
    return start


TOMOGRAPHIES = (
    plans.step_tomography,
    plans.continuous_tomography,
    plans.step_spiral_tomography,
    plans.continuous_spiral_tomography,
)


def default(plan: Callable[..., Any], parameter: str) -> Any:
    return inspect.signature(plan).parameters[parameter].default


@pytest.mark.parametrize("plan", [plans.radiography, *TOMOGRAPHIES])
def test_numbers_of_frames(plan: Callable[..., Any]) -> None:
    assert default(plan, "num_darks") == 200
    assert default(plan, "num_flats") == 200
    assert default(plan, "num_projections") == 3000


@pytest.mark.parametrize("plan", TOMOGRAPHIES)
def test_angles(plan: Callable[..., Any]) -> None:
    assert default(plan, "start_angle") == "0 deg"
    if "half_acquisition" not in inspect.signature(plan).parameters:
        assert default(plan, "angular_range") == "180 deg"


@pytest.mark.parametrize("name", ["step_tomography", "continuous_tomography"])
@pytest.mark.parametrize(("half", "range_deg"), [(False, 180.0), (True, 360.0)])
def test_half_a_turn_unless_the_axis_is_at_the_edge(
    laboratory: Laboratory, name: str, half: bool, range_deg: float
) -> None:
    plan = laboratory.plan(
        name, num_projections=1000, angular_range=None, half_acquisition=half, order=["projections"]
    )
    start = preflight_start(plan)
    assert start["tomo"]["angular_range_deg"] == range_deg
    assert start["plan_args"]["angular_range"] == {"value": range_deg, "unit": "deg"}
    assert start["tomo"].get("half_acquisition", False) is half


@pytest.mark.parametrize(
    ("name", "range_deg"), [("step_tomography", 360.0), ("continuous_tomography", 180.0)]
)
def test_a_whole_turn_in_steps_at_a_tube(
    laboratory: Laboratory, name: str, range_deg: float
) -> None:
    # parity.md 2: "angular_range 180 deg (stepped tomography at a tube: 360 deg)".
    plan = laboratory.plan(
        name,
        beam=SimulatedTube(name="t"),
        num_projections=1000,
        angular_range=None,
        order=["projections"],
    )
    assert preflight_start(plan)["tomo"]["angular_range_deg"] == range_deg


@pytest.mark.parametrize("kind", ["tube", "synchrotron", None])
def test_any_beam_may_say_that_it_is_a_tubes(laboratory: Laboratory, kind: Any) -> None:
    output = soft_signal_rw(int, 0, name="x_tube_of_a_shutter")  # The name says nothing.
    beam = SignalBeam(output, on=1, off=0, source_kind=kind)
    for given, expected in ((None, 360.0 if kind == "tube" else 180.0), ("90 deg", 90.0)):
        plan = laboratory.plan(
            "step_tomography",
            beam=beam,
            num_projections=1000,
            angular_range=given,
            order=["projections"],
        )
        assert preflight_start(plan)["tomo"]["angular_range_deg"] == expected


def test_a_source_that_is_none() -> None:
    with pytest.raises(
        DeviceError, match=r"source_kind: 'lamp' was given for beam switch b; give 'tube'"
    ):
        SignalBeam(soft_signal_rw(int, 0, name="b"), on=1, off=0, source_kind="lamp")  # type: ignore[arg-type]


def test_gratings() -> None:
    assert default(plans.grating_stepping, "num_periods") == 1
    assert default(plans.grating_stepping, "num_steps_per_period") == 16


@pytest.mark.parametrize(
    ("plan", "parameters"),
    [
        *(
            (plan, ("radio_position", "flat_position"))
            for plan in (plans.radiography, *TOMOGRAPHIES)
        ),
        *(
            (plan, ("start_position_vertical", "vertical_shift_per_tomogram", "sample_height"))
            for plan in TOMOGRAPHIES[2:]
        ),
        (plans.grating_stepping, ("grating_period", "stepping_start_position")),
    ],
)
def test_what_must_be_said(plan: Callable[..., Any], parameters: tuple[str, ...]) -> None:
    for parameter in parameters:
        assert default(plan, parameter) is inspect.Parameter.empty
