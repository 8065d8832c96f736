"""Each wait of each plan never ends, in turn: beam off, motors stopped, idle again in time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino.frames import RecordingTrigger
from concertino.plans import (
    Deadlines,
    ImageMeasure,
    ascan,
    for_each,
    grating_stepping,
    retrospective_radiography,
    set_deadlines,
)
from concertino.testing import (
    EndlessWait,
    check_end_in_time,
    endless_waits,
    plan_messages,
    run_with_endless_wait,
)
from tests.plans.laboratory import POSITIONS, Laboratory, patience

pytestmark = pytest.mark.disturbed_by_load(
    "deadlines of 0.3 and 2 s hold for devices that do answer, too"
)

# What is told to stop at each end, whatever happens.
MOTORS = {
    "radiography": ("sample_stage",),
    "step_tomography": ("rotation", "sample_stage"),
    "continuous_tomography": ("rotation", "sample_stage"),
    "step_spiral_tomography": ("rotation", "vertical_stage", "sample_stage"),
    "continuous_spiral_tomography": ("rotation", "vertical_stage", "sample_stage"),
    "grating_stepping": ("grating_stage", "sample_stage"),
    "retrospective_radiography": ("sample_stage",),
    "ascan": ("sample_stage",),
    "a trigger device": ("rotation", "sample_stage"),
    "readout later": ("sample_stage",),
    "for_each": (),
}
#: How long is waited for what never ends, and for all else from then on.
ENDLESS_S, OTHERS_S = 0.3, 2.0
#: What a camera is waited for by; beams and axes are by the others.
OF_CAMERAS = ("ready_s", "frame_s", "safe_s")
#: Two waits for the beam, one for each of what is ended after it, and time for a busy computer.
WITHIN_S = 40.0


class Sudden(EndlessWait):
    """Has short deadlines hold from when a device falls silent."""

    def strikes(self, message: Msg, before: Sequence[Msg]) -> bool:
        if not super().strikes(message, before):
            return False
        of_camera = message.obj.name == "camera"
        names = (*OF_CAMERAS, "on_s", "off_s", "still_s", "other_s")
        is_struck = {name: (name in OF_CAMERAS) == of_camera for name in names}
        set_deadlines(
            Deadlines(**{name: ENDLESS_S if is_struck[name] else OTHERS_S for name in names})
        )
        return True


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        made = Laboratory(Path(root), memory_bytes=2**20)
        yield made
        made.close()


def plan_of(lab: Laboratory, name: str) -> Callable[[], MsgGenerator[Any]]:
    b = lab.beamline

    def where() -> dict[str, Any]:
        return {**POSITIONS, "md": lab.directories.new().metadata()}

    def retrospective() -> MsgGenerator[Any]:
        trigger = RecordingTrigger()
        return retrospective_radiography(
            b.camera, b.beam, b.sample_stage, trigger, num_before=1, num_after=2,
            max_wait="0.2 s", on_timeout="keep", order=("projections",), **where(),
        )  # fmt: skip

    others: dict[str, Callable[[], MsgGenerator[Any]]] = {
        "grating_stepping": lambda: grating_stepping(
            b.camera, b.grating_stage, b.beam, b.sample_stage, grating_period="2.4 um",
            stepping_start_position=0, num_periods=1, num_steps_per_period=3,
            order=("object_stepping",), **where(),
        ),
        "retrospective_radiography": retrospective,
        "ascan": lambda: ascan(
            [ImageMeasure(b.camera, np.mean)], b.sample_stage, 0, 0.1, num=2, beam=b.beam,
            md=lab.directories.new().metadata(),
        ),
        "a trigger device": lambda: lab.plan(
            "continuous_tomography", trigger=b.trigger_box, order=("projections",)
        ),
        "readout later": lambda: lab.plan("radiography", readout="later", order=("projections",)),
        "for_each": lambda: for_each(
            [0, 0.01], lambda _: lab.plan("radiography", order=("darks",)),
            prepare=lambda height: bps.mv(b.vertical_stage, height),
        ),
    }  # fmt: skip
    order = ("darks", "flats", "projections") if name == "radiography" else ("projections",)
    return others.get(name, lambda: lab.plan(name, order=order))


@pytest.mark.parametrize("name", MOTORS)
def test_every_wait_that_never_ends(laboratory: Laboratory, name: str) -> None:
    bench = laboratory.bench(plan_of(laboratory, name))
    waits = endless_waits(plan_messages(bench))
    assert len(waits) >= 5
    for wait in waits:
        with patience():
            outcome = run_with_endless_wait(bench, Sudden(**vars(wait)), WITHIN_S)
        check_end_in_time(outcome, WITHIN_S, MOTORS[name])
        assert not outcome.beam_on, outcome.where
        assert laboratory.RE.state == "idle", outcome.where
        laboratory.RE(bps.mv(laboratory.beamline.sample_stage, 0))
    plan_messages(bench)  # The next run works.
