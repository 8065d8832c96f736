"""Directors: parity.md section 8, "run an experiment many times with preparation in between"."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.callbacks import FrameConsumer
from concertino.devices import SimulatedMotor
from concertino.plans import PauseRequest, change_samples, for_each, xy_scan
from concertino.testing import (
    PlanBench,
    PlanFault,
    check_safe_end,
    describe_message,
    plan_messages,
    run_with_fault,
)
from tests.plans.laboratory import Laboratory


class Stages(Laboratory):
    """A laboratory with a sample changer and a stage of its own for each direction."""

    def __init__(self, root: Path, **beamline: Any) -> None:
        super().__init__(root, **beamline)
        self.x, self.y, self.changer = (
            SimulatedMotor(
                "mm", velocity=100.0, max_velocity=100.0, acceleration_time=0.005,
                limits=(-10, 10), name=name,
            )
            for name in ("x", "y", "changer")
        )  # fmt: skip
        self.motors = (*self.motors, self.x, self.y, self.changer)

    def experiment(self, item: Any, **given: Any) -> MsgGenerator[Any]:
        return self.plan("radiography", order=("projections",), **given)

    def starts(self) -> list[dict[str, Any]]:
        return [doc for kind, doc in self.documents if kind == "start"]


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        laboratory = Stages(Path(root))
        yield laboratory
        laboratory.close()


@pytest.fixture
def lab(stages: Stages) -> Stages:
    stages.documents.clear()
    return stages


def test_each_iteration_is_a_run_of_its_own(lab: Stages) -> None:
    result: Any = lab.RE(for_each(["tooth", "bone"], lab.experiment, name="teeth"))
    starts = lab.starts()
    assert [start["iteration"] for start in starts] == [
        {"director": "teeth", "index": 0, "item": "tooth"},
        {"director": "teeth", "index": 1, "item": "bone"},
    ]
    assert [start["uid"] for start in starts] == list(result)
    assert len({start["run_directory"] for start in starts}) == 2


def test_a_grid_of_positions(lab: Stages) -> None:
    # "XY scan"
    seen = []

    def experiment(point: tuple[float, float]) -> MsgGenerator[Any]:
        now = time.time()
        seen.append((point, lab.x.position_at(now), lab.y.position_at(now)))
        return lab.experiment(point)

    lab.RE(xy_scan(lab.x, lab.y, ["0 mm", "100 um"], [0, 1], experiment))
    order = [(0, 0), (0.1, 0), (0.1, 1), (0, 1)]
    assert [point for point, _, _ in seen] == order
    assert [x for _, x, _ in seen] == pytest.approx([x for x, _ in order])
    assert [y for _, _, y in seen] == pytest.approx([y for _, y in order])
    assert [start["iteration"]["item"] for start in lab.starts()] == [list(p) for p in order]


def test_a_sample_changer(lab: Stages) -> None:
    lab.RE(change_samples(lab.changer, {"tooth": 1.0, "bone": 2.0}, lab.experiment))
    assert [start["sample"] for start in lab.starts()] == ["tooth", "bone"]
    assert lab.changer.position_at(time.time()) == 2


def test_pause_between_iterations_and_resume(lab: Stages) -> None:
    # "Directors ... pause, resume"
    hold = PauseRequest()

    def experiment(item: int) -> MsgGenerator[Any]:
        if item == 1:
            request = hold.request("lunch")
            threading.Timer(0.6, request.release).start()
        return lab.experiment(item)

    lab.RE(for_each(range(3), experiment, hold=hold))
    times = [doc["time"] for kind, doc in lab.documents if kind in ("start", "stop")]
    # The second run waits before its first frame, and the third for the second.
    assert len(times) == 6
    assert times[4] - times[2] >= 0.55
    assert {doc["exit_status"] for kind, doc in lab.documents if kind == "stop"} == {"success"}


def slow(frame: Any, stream: str, index: int) -> None:
    time.sleep(0.1)


def bring_in(lab: Stages) -> Callable[[float], MsgGenerator[Any]]:
    def move(position: float) -> MsgGenerator[Any]:
        yield from bps.mv(lab.changer, position)

    return move


def test_the_next_sample_moves_in_while_the_last_is_read_out(lab: Stages) -> None:
    # "ready_to_prepare_next_sample: the next sample is moved in while the last one still reads out"
    token = lab.RE.subscribe(FrameConsumer(slow))
    bench = lab.bench(lambda: for_each([0, 8], lab.experiment, prepare=bring_in(lab), overlap=True))
    said = [describe_message(message) for message in plan_messages(bench)]
    lab.RE.unsubscribe(token)
    moves = [place for place, line in enumerate(said) if line == "set changer"]
    closed = said.index("close_run")
    assert len(moves) == 2
    # The beam goes off, the sample moves; only then does the run end.
    assert said[moves[1] - 3 : moves[1]] == ["set shutter", "wait", "wait_for"]  # is it off?
    assert said[moves[1] + 1] == "collect camera"
    assert moves[1] < closed < said.index("open_run", closed)


def test_overlap_saves_the_time_of_the_move(lab: Stages) -> None:
    # Reading out takes 0.9 s, moving 0.4 s: all of it is hidden.
    def slower(frame: Any, stream: str, index: int) -> None:
        time.sleep(0.3)

    token = lab.RE.subscribe(FrameConsumer(slower))
    lab.RE(bps.mv(lab.changer.velocity, 20.0))
    spent = {}
    for overlap in (False, True):
        lab.RE(bps.mv(lab.changer, 0))
        begun_s = time.perf_counter()
        lab.RE(for_each([0, 8], lab.experiment, prepare=bring_in(lab), overlap=overlap))
        spent[overlap] = time.perf_counter() - begun_s
    lab.RE.unsubscribe(token)
    lab.RE(bps.mv(lab.changer.velocity, 100.0))
    assert spent[False] - spent[True] > 0.2
    assert lab.changer.position_at(time.time()) == 8


def test_what_must_not_overlap(lab: Stages) -> None:
    stage = lab.beamline.sample_stage

    def move(position: float) -> MsgGenerator[Any]:
        yield from bps.mv(stage, position)

    with pytest.raises(ParameterError) as caught:
        lab.RE(for_each([0, 1], lab.experiment, prepare=move, overlap=True))
    assert str(caught.value) == (
        "prepare: set sample_stage cannot overlap with the run before. Let it only set devices "
        "that the plan does not use, or give overlap=False."
    )
    assert not lab.beam_is_on()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"items": [1], "plan_factory": 3},
            "plan_factory: 3 cannot be called. Give a function of an item that returns messages.",
        ),
        ({"items": []}, "items: there are none. Give at least one sample or position."),
    ],
)
def test_wrong_parameters(lab: Stages, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        lab.RE(for_each(**{"plan_factory": lab.experiment, **given}))
    assert str(caught.value) == message
    assert not lab.documents


def test_a_position_that_cannot_be_reached(lab: Stages) -> None:
    with pytest.raises(ParameterError, match=r"^y_positions: Motor y was asked to move to 11 mm"):
        lab.RE(xy_scan(lab.x, lab.y, [0], [0, 11], lab.experiment))
    assert not lab.documents


def test_a_changer_that_cannot_be_set(lab: Stages) -> None:
    with pytest.raises(ParameterError) as caught:
        lab.RE(change_samples("changer", {"tooth": 1.0}, lab.experiment))
    assert str(caught.value) == (
        "sample_changer: 'changer' cannot be moved. Give a motor: a device with a set method."
    )
    assert not lab.documents


@pytest.mark.parametrize("kind", ["raise before", "raise after", "abort", "stop"])
def test_every_end_is_safe(lab: Stages, kind: Any) -> None:
    def plan() -> MsgGenerator[Any]:
        return change_samples(lab.changer, {"a": 1, "b": 2}, lab.experiment, overlap=True)

    bench = PlanBench(lab.RE, plan, lab.beam_is_on, lab.moving, lab.settings)
    undisturbed = run_with_fault(bench, None)
    assert undisturbed.error is None
    threads = threading.active_count()
    for position in itertools.islice(range(3, len(undisturbed.messages)), 4, None, 17):
        outcome = run_with_fault(bench, PlanFault(position, kind))
        assert not outcome.beam_on, outcome.where
        assert not outcome.moving, outcome.where
        if kind.startswith("raise"):
            assert outcome.error is not None, outcome.where
    assert threading.active_count() <= threads + 2  # none is left for each fault
    check_safe_end(run_with_fault(bench, None))
