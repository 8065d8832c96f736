"""Every plan goes through every simulator of bluesky, which do nothing and answer nothing.

What they see is compared with what a user counts: the points, the frames, the runs.
"""

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import matplotlib as mpl
import pytest
from bluesky import Msg, plan_tools
from bluesky.simulators import (
    RunEngineSimulator,
    check_limits,
    plot_raster_path,
    summarize_plan,
)
from bluesky.utils import MsgGenerator

from concertino import ParameterError, plans
from concertino.frames import RecordingTrigger
from concertino.storage import open_run

from .series.test_for_each import Stages

mpl.use("Agg")

pytestmark = [
    # What bluesky says of a shutter, which has no limits, and of its own old name.
    pytest.mark.filterwarnings("ignore:.* has no check_value:UserWarning"),
    pytest.mark.filterwarnings("ignore:bluesky.plan_tools.print_summary is deprecated:UserWarning"),
]


class Workshop(Stages):
    """A laboratory with a run that lacks its three projections."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        hook: Any = self._break
        self.RE.msg_hook = hook
        with pytest.raises(OSError, match="the disk is full"):
            self.RE(self.plan("radiography"))
        self.RE.msg_hook = None
        self.run_with_a_gap: str = self.starts()[0]["run_directory"]

    @staticmethod
    def _break(message: Msg) -> None:
        if message.command == "prepare" and message.args[0].kind == "projections":
            raise OSError("the disk is full")


Case = Callable[[Workshop], MsgGenerator[Any]]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("simulators"))
    yield made
    made.close()


def _resume(lab: Workshop) -> MsgGenerator[Any]:
    b = lab.beamline
    run = open_run(lab.run_with_a_gap)
    return plans.resume(run, camera=b.camera, beam=b.beam, sample_stage=b.sample_stage)


def _retrospective(lab: Workshop) -> MsgGenerator[Any]:
    b = lab.beamline
    return plans.retrospective_radiography(
        b.camera, b.beam, b.sample_stage, RecordingTrigger(), radio_position=0, flat_position=1,
        num_darks=2, num_flats=2, num_before=2, num_after=2, max_wait="1 h",
    )  # fmt: skip


def _grating(lab: Workshop) -> MsgGenerator[Any]:
    b = lab.beamline
    return plans.grating_stepping(
        b.camera, lab.x, b.beam, b.sample_stage, radio_position=0, flat_position=1,
        grating_period="2.4 um", stepping_start_position=0, num_darks=2, num_steps_per_period=4,
    )  # fmt: skip


def _aligning(lab: Workshop, plan: Callable[..., Any], *motors: Any) -> MsgGenerator[Any]:
    b = lab.beamline
    return plan(  # type: ignore[no-any-return]
        b.camera, b.rotation, *motors, b.beam, b.sample_stage, radio_position=0, flat_position=1
    )


def _closed_loop(lab: Workshop) -> MsgGenerator[Any]:
    def control(value: float) -> MsgGenerator[Any]:
        yield from bps.mv(lab.x, value + 1)

    return plans.closed_loop(lambda: bps.rd(lab.x), lambda value: False, control, max_iterations=3)


def _imaging_run(lab: Workshop) -> MsgGenerator[Any]:
    b = lab.beamline
    return plans.imaging_run(
        [lambda: plans.take_darks(b.camera, b.beam, 2)],
        camera=b.camera,
        beam=b.beam,
        motors=[],
        md={},
    )


def _taken(lab: Workshop) -> MsgGenerator[Any]:
    b = lab.beamline
    return plans.take_scan(_RADIOGRAPHY, b.camera, b.beam, b.sample_stage)


def _taken_again(lab: Workshop) -> MsgGenerator[Any]:
    b = lab.beamline
    parts = {"camera": b.camera.name, "beam": b.beam.name, "sample_stage": b.sample_stage.name}
    start = {"imaging_scan": _RADIOGRAPHY.to_json(), "plan_args": parts}
    return plans.take_again(start, [b.camera, b.beam, b.sample_stage])


_RADIOGRAPHY = plans.ImagingScan(
    acquisitions=[plans.Darks(number=2), plans.Radiographs(number=3)],
    radio_position=0,
    flat_position=1,
)
#: A call of every exported plan and stub. A new one without a case fails `test_no_plan_is_forgotten`.
CASES: dict[str, Case] = {
    "align_rotation_axis": lambda lab: _aligning(
        lab, plans.align_rotation_axis, lab.beamline.axis_roll, lab.beamline.axis_pitch
    ),
    "ascan": lambda lab: plans.ascan([lab.y], lab.x, 0, 1, num=3),
    "beam_off": lambda lab: plans.beam_off(lab.beamline.beam),
    "beam_on": lambda lab: plans.beam_on(lab.beamline.beam),
    "change_samples": lambda lab: plans.change_samples(
        lab.changer, {"tooth": 1.0, "bone": 2.0}, lab.experiment, overlap=True
    ),
    "closed_loop": _closed_loop,
    "continuous_spiral_tomography": lambda lab: lab.plan("continuous_spiral_tomography"),
    "continuous_tomography": lambda lab: lab.plan("continuous_tomography"),
    "dscan": lambda lab: plans.dscan([lab.y], lab.x, 0, 1, num=3),
    "find_rotation_axis": lambda lab: _aligning(lab, plans.find_rotation_axis),
    "focus": lambda lab: plans.focus(lab.beamline.camera, lab.x, -1, 1, beam=lab.beamline.beam),
    "for_each": lambda lab: plans.for_each([1, 2], lab.experiment),
    "grating_stepping": _grating,
    "imaging_run": _imaging_run,
    "outcome_of": lambda lab: plans.outcome_of(sorted, [2, 1]),
    "passed_on": lambda lab: plans.passed_on(lab.plan("radiography"), lambda message: None),
    "radiography": lambda lab: lab.plan("radiography"),
    "resume": _resume,
    "retrospective_radiography": _retrospective,
    "run_safely": lambda lab: plans.run_safely(lab.plan("radiography")),
    "scan": lambda lab: plans.scan([lab.y], lab.x, 0, 1, 3),
    "step_spiral_tomography": lambda lab: lab.plan("step_spiral_tomography"),
    "step_tomography": lambda lab: lab.plan("step_tomography"),
    "take_again": _taken_again,
    "take_scan": _taken,
    "take_darks": lambda lab: plans.take_darks(lab.beamline.camera, lab.beamline.beam, 2),
    "take_flats": lambda lab: plans.take_flats(
        lab.beamline.camera, lab.beamline.beam, lab.beamline.sample_stage, 1.0, 2
    ),
    "take_frames": lambda lab: plans.take_frames(lab.beamline.camera, 2, "darks"),
    "take_stepped_frames": lambda lab: plans.take_stepped_frames(
        lab.beamline.camera, lab.beamline.rotation, [0.0, 1.0, 2.0], "projections"
    ),
    "with_pause_request": lambda lab: plans.with_pause_request(lab.plan("radiography"), plans.PauseRequest()),
    "xy_scan": lambda lab: plans.xy_scan(lab.x, lab.y, [0, 1], [0, 1], lab.experiment),
}  # fmt: skip
#: How many runs a user expects to see.
RUNS = {
    "change_samples": 2, "for_each": 2, "xy_scan": 4, "beam_off": 0, "beam_on": 0, "closed_loop": 0,
    "outcome_of": 0, "take_darks": 0, "take_flats": 0, "take_frames": 0, "take_stepped_frames": 0,
}  # fmt: skip


def simulate(plan: MsgGenerator[Any]) -> list[Msg]:
    return RunEngineSimulator().simulate_plan(plan)


SIMULATORS: dict[str, Callable[[MsgGenerator[Any]], Any]] = {
    "list": list,
    "summarize_plan": summarize_plan,
    "print_summary": plan_tools.print_summary,
    "check_limits": check_limits,
    "RunEngineSimulator": simulate,
}


def test_no_plan_is_forgotten() -> None:
    exported = {name for name in plans.__all__ if inspect.isgeneratorfunction(getattr(plans, name))}
    assert exported == set(CASES), "Give each plan a case, so that bluesky's simulators are tried."


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("name", CASES)
def test_a_plan_goes_through_a_simulator(lab: Workshop, name: str, simulator: str) -> None:
    lab.documents.clear()
    places = [motor.position_at(0.0) for motor in lab.motors]
    seen = SIMULATORS[simulator](CASES[name](lab))
    if isinstance(seen, list):
        commands = [message.command for message in seen]
        assert commands.count("open_run") == RUNS.get(name, 1)
        assert commands.count("close_run") == commands.count("open_run")
    # It was only looked at.
    assert not lab.documents
    assert not lab.beam_is_on()
    assert [motor.position_at(0.0) for motor in lab.motors] == places


def points(messages: list[Msg], motor: Any) -> list[float]:
    return [m.args[0] for m in messages if m.command == "set" and m.obj is motor]


def test_what_a_simulator_sees_is_what_was_asked_for(lab: Workshop) -> None:
    b = lab.beamline
    seen = list(lab.plan("step_tomography", num_projections=4, angular_range="8 deg"))
    assert points(seen, b.rotation)[-5:-1] == [0, 2, 4, 6]
    frames = {m.args[0].kind: m.args[0].count for m in seen if m.command == "prepare"}
    assert frames == {"darks": 2, "flats": 2, "projections": 4}
    assert points(list(CASES["dscan"](lab)), lab.x)[:3] == [0, 0.5, 1]
    (request,) = [m.args[0] for m in list(_resume(lab)) if m.command == "prepare"]
    assert (request.kind, request.count) == ("projections", 3)


def test_the_answers_of_a_simulator_count(lab: Workshop) -> None:
    # What its user injects is taken, and not what the device would say.
    simulator = RunEngineSimulator()
    simulator.add_handler("locate", lambda message: {"readback": 4.0, "setpoint": 4.0}, "x")
    seen = simulator.simulate_plan(CASES["dscan"](lab))
    assert points(seen, lab.x)[:3] == [4, 4.5, 5]


def test_limits_are_checked(lab: Workshop) -> None:
    def far(item: float) -> MsgGenerator[Any]:
        yield from lab.experiment(item)
        yield from bps.mv(lab.x, 11)

    with pytest.raises(Exception, match="Motor x was asked to move to 11 mm"):
        check_limits(plans.for_each([1], far))


def test_what_cannot_work_is_refused_in_a_simulator_too(lab: Workshop) -> None:
    with pytest.raises(ParameterError, match=r"^radio_position: Motor sample_stage was asked"):
        list(lab.plan("step_tomography", num_projections=4, radio_position="500 m"))


def test_a_raster_is_drawn(lab: Workshop) -> None:
    b = lab.beamline

    def experiment(point: Any) -> MsgGenerator[Any]:
        return plans.ascan([lab.y], b.vertical_stage, 0, 1, num=2)

    drawn = plot_raster_path(plans.xy_scan(lab.x, lab.y, [0, 1], [0, 2], experiment), "x", "y")
    # Two points are saved at each position, in a snake.
    path = drawn["path"].get_xydata().tolist()
    assert path == [[x, y] for x, y in [(0, 0), (1, 0), (1, 2), (0, 2)] for _ in range(2)]


def test_without_any_run_engine() -> None:
    code = (
        "from bluesky.simulators import summarize_plan\n"
        "from concertino.devices import SimulatedBeamline\n"
        "from concertino.plans import step_tomography\n"
        "b = SimulatedBeamline(shape=(16, 16))\n"
        "plan = step_tomography(b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0,\n"
        "    flat_position=10, num_darks=1, num_flats=1, num_projections=2)\n"
        "print(len(list(plan)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
