"""Each message of each plan fails in turn, or the user interrupts there: the end is always safe."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import FailedStatus, MsgGenerator
from ophyd_async.core import AsyncStatus

from concertino import DeviceError
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedMotor, SimulatedShutter
from concertino.plans import (
    Flats,
    ImagingScan,
    Radiographs,
    continuous_tomography,
    take_again,
    take_scan,
)
from concertino.session import open_session
from concertino.storage import open_run
from concertino.testing import (
    InjectedFaultError,
    PlanFault,
    PlanOutcome,
    check_every_end,
    check_safe_end,
    plan_messages,
    run_with_fault,
)
from tests.plans.laboratory import COUNTS, POSITIONS, Laboratory

# What is swept, and how densely: every how many of the plan's distinct messages are struck.
SWEEPS = [
    ("radiography", "synchrotron", ("darks", "flats", "projections"), 1),
    ("step_tomography", "synchrotron", ("projections",), 1),
    ("continuous_tomography", "synchrotron", ("projections",), 1),
    ("radiography", "tube", ("projections", "flats"), 7),
    ("step_tomography", "tube", ("projections", "darks", "flats"), 7),
    ("continuous_tomography", "tube", ("flats", "projections", "darks"), 7),
]
EVERY = {"raise before": 1, "raise after": 2, "abort": 4, "stop": 6, "halt": 4, "pause": 6}


@pytest.fixture(scope="module")
def laboratories() -> Iterator[dict[str, Laboratory]]:
    # In memory where there is such a place: syncing hundreds of runs to a disk takes its time.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        made = {s: Laboratory(Path(root, s), s) for s in ("synchrotron", "tube")}
        yield made
        for laboratory in made.values():
            laboratory.close()


@pytest.mark.parametrize(
    ("name", "source", "order", "every"), SWEEPS, ids=[f"{s[0]}-{s[1]}" for s in SWEEPS]
)
def test_every_end_is_safe(
    laboratories: dict[str, Laboratory], name: str, source: str, order: tuple[str, ...], every: int
) -> None:
    laboratory = laboratories[source]
    bench = laboratory.bench(lambda: laboratory.plan(name, order=order))
    steps = {kind: every * step for kind, step in EVERY.items()}
    check_every_end(bench, every=steps, then=check_stored)


@pytest.mark.parametrize("name", ["take_scan", "take_again"])
def test_every_end_of_a_value_is_safe(laboratories: dict[str, Laboratory], name: str) -> None:
    laboratory = laboratories["synchrotron"]
    b = laboratory.beamline
    scan = ImagingScan(
        acquisitions=[Flats(number=2), Radiographs(number=3)],
        order=["flats", "projections", "flats"], radio_position=0, flat_position="1 cm",
    )  # fmt: skip

    def value() -> MsgGenerator[Any]:
        md = laboratory.directories.new().metadata()
        return take_scan(scan, b.camera, b.beam, b.sample_stage, md=md)

    laboratory.documents.clear()
    laboratory.RE(value())
    start = next(document for kind, document in laboratory.documents if kind == "start")

    def again() -> MsgGenerator[Any]:
        md = laboratory.directories.new().metadata()
        return take_again(start, [b.camera, b.beam, b.sample_stage], md=md)

    bench = laboratory.bench({"take_scan": value, "take_again": again}[name])
    steps = {kind: 5 * step for kind, step in EVERY.items()}
    check_every_end(bench, every=steps, then=check_stored)


def check_stored(outcome: PlanOutcome) -> None:
    """Check that what is described can be read, and that what is safe is described."""
    for start in outcome.find("start"):
        run = open_run(start["run_directory"])
        assert run.exit_status != "incomplete"
        for stream in run.streams:
            if not run[stream].frame_keys:
                continue
            described = len(run.frames(stream).read())
            safe = [row["acknowledged"] for row in run.ledger() if row["stream"] == stream]
            if safe:  # A halt leaves no time for the ledger.
                # A stepped scan may end between a frame and its event.
                spare = 1 if start["tomo"]["acquisition"] == "stepped" else 0
                assert described <= min(safe) <= described + spare, outcome.where
        run.close()


class BrokenPlan:
    """A plan that fails at a message by itself, to be disturbed while it cleans up."""

    def __init__(self, plan: MsgGenerator[Any], position: int) -> None:
        self._plan, self._position = plan, position

    def __iter__(self) -> MsgGenerator[Any]:
        response, error, count = None, None, 0
        while True:
            try:
                message = self._plan.send(response) if error is None else self._plan.throw(error)
            except StopIteration as stop:
                return stop.value
            error = None
            try:
                response = yield message
                if count == self._position:
                    raise InjectedFaultError("the plan is broken")
            except BaseException as thrown:
                error = thrown
            count += 1


@pytest.mark.parametrize("kind", ["raise before", "raise after", "abort", "stop", "halt", "pause"])
def test_a_second_fault_while_cleaning_up(laboratories: dict[str, Laboratory], kind: Any) -> None:
    laboratory = laboratories["synchrotron"]

    def plan() -> MsgGenerator[Any]:
        return laboratory.plan("continuous_tomography", order=("projections",))

    messages = plan_messages(laboratory.bench(plan))
    broken_at = next(i for i, message in enumerate(messages) if message.command == "kickoff")
    bench = laboratory.bench(lambda: iter(BrokenPlan(plan(), broken_at)))
    # Without a fault: the messages of its cleaning up.
    undisturbed = run_with_fault(bench, None)
    assert isinstance(undisturbed.error, InjectedFaultError)
    for position in range(broken_at + 1, len(undisturbed.messages)):
        outcome = run_with_fault(bench, PlanFault(position, kind))
        assert not outcome.beam_on, outcome.where
        assert not outcome.moving, outcome.where
        assert not outcome.threads, outcome.where
        assert kind == "halt" or not outcome.changed, outcome.where
        if kind.startswith("raise"):
            assert "the plan is broken" in str(outcome.error), outcome.where
        (stop,) = outcome.find("stop")
        assert stop["exit_status"] != "success", outcome.where
        check_stored(outcome)


class StuckShutter(SimulatedShutter):
    """A shutter that opens and never closes."""

    def __init__(self) -> None:
        super().__init__(name="shutter")
        self.calls: list[bool] = []

    @AsyncStatus.wrap
    async def set(self, value: bool | str) -> None:
        self.calls.append(bool(value))
        if not value and True in self.calls:
            raise RuntimeError("the compressed air is gone")
        self._turned(bool(value))


def test_a_beam_that_cannot_be_switched_off_is_shouted_about(tmp_path: Path) -> None:
    laboratory, shutter = Laboratory(tmp_path), StuckShutter()
    bench = laboratory.bench(lambda: laboratory.plan("radiography", beam=shutter))
    outcome = run_with_fault(bench, None)
    laboratory.close()
    assert isinstance(outcome.error, FailedStatus)
    assert str(outcome.error.__cause__) == "the compressed air is gone"
    assert (
        "shutter could not be switched off: THE BEAM MAY BE ON. Switch it off by hand."
        in outcome.error.__notes__
    )
    (stop,) = outcome.find("stop")
    assert stop["exit_status"] == "fail"
    assert "the compressed air is gone" in stop["reason"]
    assert "THE BEAM MAY BE ON" in stop["reason"]
    # It was tried again: after the flats, three times by the plan and three times by the RunEngine.
    assert shutter.calls[shutter.calls.index(True) + 1 :] == [False] * 7


class ReluctantMotor(SimulatedMotor):
    """A motor that says only after a while that its move was stopped."""

    @AsyncStatus.wrap
    async def set(self, value: float) -> None:  # type: ignore[override]
        try:
            await super().set(value)
        except DeviceError:
            await asyncio.sleep(self.reluctance_s)
            raise

    reluctance_s = 0.0


@pytest.mark.parametrize("reluctance_s", [0.0, 0.005, 0.01, 0.02, 0.04, 0.08])
def test_a_move_that_fails_late_does_not_disturb_the_end(
    laboratories: dict[str, Laboratory], reluctance_s: float
) -> None:
    laboratory = laboratories["synchrotron"]
    stage = ReluctantMotor("mm", velocity=5.0, max_velocity=10.0, name="stage")
    stage.reluctance_s = reluctance_s
    bench = laboratory.bench(
        lambda: laboratory.plan("radiography", sample_stage=stage, order=("flats",))
    )
    messages = plan_messages(bench)
    position = next(i for i, m in enumerate(messages) if m.command == "set" and m.obj is stage)
    laboratory.RE(bps.mv(stage, 0))
    for kind in ("raise after", "abort", "pause"):
        outcome = run_with_fault(bench, PlanFault(position, kind))
        check_safe_end(outcome)
        laboratory.RE(bps.mv(stage, 0))


def test_every_end_is_safe_in_a_session(tmp_path: Path) -> None:
    # A session's preprocessors stand between the RunEngine and the plan, and add a baseline.
    laboratory = Laboratory(tmp_path)
    b = laboratory.beamline
    with open_session(
        tmp_path / "data", baseline=b.baseline, progress=False, catalog=False
    ) as session:
        session.subscribe(ImageWriter())
        laboratory.RE = session.RE

        def plan() -> MsgGenerator[Any]:
            return continuous_tomography(
                b.camera, b.rotation, b.beam, b.sample_stage,
                angular_range="3 deg", **POSITIONS, **COUNTS,
            )  # fmt: skip

        check_every_end(laboratory.bench(plan), every=9, then=check_stored)
    laboratory.close()
