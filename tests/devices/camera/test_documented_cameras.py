"""Cameras of the documentation do what its pages promise."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import pytest
from bluesky.utils import MsgGenerator

from concertino import CameraError
from concertino.callbacks import ImageWriter
from concertino.devices import Camera, FrameSource, SimulatedBeamline
from concertino.plans import (
    continuous_spiral_tomography,
    continuous_tomography,
    radiography,
    step_spiral_tomography,
    step_tomography,
)
from concertino.session import open_session
from concertino.storage import open_run
from concertino.testing import FrameSourceContract

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "use-your-own-camera.md"


def cells() -> list[str]:
    """Return the page's cells of code."""
    return re.findall(r"```\{code-cell\} python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def documented(name: str) -> Any:
    """Return a class that one of the page's cells of code defines."""
    namespace: dict[str, Any] = {}
    exec(cells()[0], namespace)
    if name not in namespace:
        exec(next(cell for cell in cells() if f"class {name}(" in cell), namespace)
    return namespace[name]


def test_the_example_is_short() -> None:
    (_, written) = cells()[0].split("class ClockSource")
    assert len(written.strip().splitlines()) < 40


def scan(plan: Any, camera: Camera) -> MsgGenerator[str]:
    beamline = SimulatedBeamline(shape=(8, 16))
    done: MsgGenerator[str] = plan(
        camera, beamline.rotation, beamline.beam, beamline.sample_stage,
        radio_position="0 mm", flat_position="10 mm", num_darks=2, num_flats=2, num_projections=50,
    )  # fmt: skip
    return done


class TestClockSource(FrameSourceContract):
    @pytest.fixture
    def source(self) -> FrameSource:
        made: FrameSource = documented("ClockSource")()
        return made


class TestSettableClock(FrameSourceContract):
    @pytest.fixture
    def source(self) -> FrameSource:
        made: FrameSource = documented("SettableClock")()
        return made


SPIRAL: dict[str, Any] = {
    "start_position_vertical": "0 mm", "vertical_shift_per_tomogram": "0.02 mm",
    "sample_height": "0.03 mm",
}  # fmt: skip


def test_it_runs_in_every_imaging_plan(tmp_path: Path) -> None:
    camera = Camera(documented("ClockSource")(), exposure=0.001, frame_rate=50, name="clock")
    b = SimulatedBeamline(shape=(8, 16))
    counts: dict[str, Any] = {
        "radio_position": "0 mm", "flat_position": "10 mm", "num_darks": 2, "num_flats": 2,
        "num_projections": 12,
    }  # fmt: skip
    axes = (b.rotation, b.beam, b.sample_stage)
    spiral = {**counts, **SPIRAL}
    plans: dict[Callable[[], Any], str] = {
        lambda: radiography(camera, b.beam, b.sample_stage, **counts): "radiography",
        lambda: step_tomography(camera, *axes, **counts): "step_tomography",
        lambda: continuous_tomography(camera, *axes, **counts): "continuous_tomography",
        lambda: step_spiral_tomography(
            camera, b.rotation, b.vertical_stage, b.beam, b.sample_stage, **spiral
        ): "step_spiral",
        lambda: continuous_spiral_tomography(
            camera, b.rotation, b.vertical_stage, b.beam, b.sample_stage, **spiral
        ): "spiral",
    }
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.require_storage = True
        session.subscribe(ImageWriter())
        for plan in plans:
            session.RE(plan())
    for number, name in enumerate(plans.values(), 1):
        run = open_run(number, tmp_path)
        assert run.exit_status == "success", name
        frames = run.frames("projections")[:]
        # The clock counts its frames: each is there, once, and in order.
        assert [int(frame.max()) for frame in frames] == list(range(len(frames))), name
        assert len(frames) == run.start["frames"]["projections"] >= 12, name


def test_it_runs_in_any_plan(tmp_path: Path) -> None:
    camera = Camera(documented("ClockSource")(), exposure=0.001, frame_rate=40, name="clock")
    motor = SimulatedBeamline(shape=(8, 16)).sample_stage
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.require_storage = True
        session.subscribe(ImageWriter())
        session.RE(scan(continuous_tomography, camera))
        session.RE(scan(step_tomography, camera))
        session.RE(bp.count([camera], num=3))
        session.RE(bp.scan([camera], motor, 0, 1, 4))
    for number, stream, count in (
        (1, "projections", 50), (2, "projections", 50), (3, "primary", 3), (4, "primary", 4),
    ):  # fmt: skip
        run = open_run(number, tmp_path)
        assert run.exit_status == "success"
        frames = run.frames(stream)
        # The clock counts its frames: each is there, once, and in order.
        assert [int(frames[index].max()) for index in range(len(frames))] == list(range(count))


def test_one_without_software_triggers_is_refused_before_anything_moves(tmp_path: Path) -> None:
    triggered = documented("ClockSource")
    pace_only = type(
        "PaceOnly",
        (),
        {
            key: value
            for key, value in vars(triggered).items()
            if key not in ("trigger", "__dict__")
        },
    )
    camera = Camera(pace_only(), exposure=0.001, frame_rate=40, name="clock")
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        with pytest.raises(
            CameraError, match=r"Camera clock was asked for projections by software"
        ):
            session.RE(scan(step_tomography, camera))
        assert not list(tmp_path.glob("scan_*"))
        session.RE(scan(continuous_tomography, camera))
    assert len(open_run(1, tmp_path).frames("projections")) == 50
