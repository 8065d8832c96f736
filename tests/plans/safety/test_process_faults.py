"""Processes under faults: each kind of message fails, or the user interrupts; the end is safe."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.utils import MsgGenerator

from concertino.plans import (
    ImageMeasure,
    align_rotation_axis,
    ascan,
    dscan,
    find_rotation_axis,
    focus,
    scan,
)
from concertino.simulation import Ellipsoid, Focus, Phantom
from concertino.testing import check_every_end
from tests.plans.process_laboratory import P, ProcessLaboratory, twin

SHAPE = (32, 64)
#: A ball beside the axis, which also has a focus and an opposite view.
BALL = Phantom((Ellipsoid((0.08, 0.0, 0.0), (0.02, 0.02, 0.02), 20.0),))
FEW: dict[str, Any] = {"num_darks": 2, "num_flats": 2}
LONG = ("focus", "find_rotation_axis", "align_rotation_axis", "scan")
EVERY = {"raise before": 1, "raise after": 2, "abort": 3, "stop": 5, "halt": 4, "pause": 5}


@pytest.fixture(scope="module")
def lab() -> Iterator[ProcessLaboratory]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        made = twin(BALL, SHAPE, focus=Focus(0.3, 0.2), noise=False, tilt_deg=(0.0, 0.0))
        laboratory = ProcessLaboratory(Path(root), made, exposure=0.001)
        yield laboratory
        laboratory.close()


def plans(lab: ProcessLaboratory) -> dict[str, Callable[[], MsgGenerator[Any]]]:
    b = lab.beamline
    mean = ImageMeasure(b.camera, np.mean)

    def md() -> dict[str, Any]:
        return dict(lab.directories.new().metadata())

    return {
        "ascan": lambda: ascan([mean], b.sample_stage, 0, 1, num=2, beam=b.beam, md=md()),
        "dscan": lambda: dscan([mean], b.sample_stage, 0, 0.5, num=2, beam=b.beam, md=md()),
        "dscan of a readable": lambda: dscan([b.ring], b.sample_stage, 0, 0.5, num=2, md=md()),
        "scan": lambda: scan(
            [mean], b.vertical_stage, 0, 0.1, 2, b.sample_stage, 0, 0.1, 2, beam=b.beam, md=md()
        ),
        "focus": lambda: focus(
            b.camera, b.focus_stage, -1, 1, num=5, tolerance=0.1, beam=b.beam, md=md()
        ),
        "find_rotation_axis": lambda: find_rotation_axis(
            b.camera, b.rotation, b.beam, b.sample_stage, num_views=1, **FEW, **P, md=md()
        ),
        "align_rotation_axis": lambda: align_rotation_axis(
            b.camera, b.rotation, b.axis_roll, b.axis_pitch, b.beam, b.sample_stage,
            num_views=5, tolerance=0.5, **FEW, **P, md=md(),
        ),
    }  # fmt: skip


NAMES = (
    "ascan", "dscan", "dscan of a readable", "scan", "focus", "find_rotation_axis",
    "align_rotation_axis",
)  # fmt: skip


def reset(lab: ProcessLaboratory) -> None:
    """Bring all axes back: a scan that was disturbed leaves them where they stopped."""
    lab.RE(bps.mv(*(part for motor in lab.motors for part in (motor, 0))))


@pytest.mark.parametrize("name", NAMES)
def test_every_end_is_safe(lab: ProcessLaboratory, name: str) -> None:
    longer = 4 if name in LONG else 1
    every = {kind: longer * step for kind, step in EVERY.items()}
    check_every_end(lab.bench(plans(lab)[name]), every=every, ready=lambda: reset(lab))
