"""A scan of somebody's own with its devices: what it takes, and what is refused before anything moves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bluesky.simulators import summarize_plan
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.documents import validate_run
from concertino.plans import (
    Acquisition,
    CameraSet,
    Darks,
    Flats,
    ImagingScan,
    OppositeViews,
    Radiographs,
    StepProjections,
    SweepProjections,
    TiltViews,
    resume,
    take_scan,
)
from tests.plans.laboratory import POSITIONS, Laboratory


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path, memory_bytes=2**14)
    yield made
    made.close()


def taking(lab: Laboratory, *acquisitions: Acquisition, **given: Any) -> MsgGenerator[Any]:
    """Return the plan of a scan; what is given are parameters of the scan, and a camera or trigger."""
    b = lab.beamline
    devices = {key: given.pop(key) for key in ("camera", "trigger") if key in given}
    scan = ImagingScan(acquisitions=acquisitions, **POSITIONS, **given)
    parts = {
        "rotation": b.rotation,
        "axis_roll": b.axis_roll,
        "axis_pitch": b.axis_pitch,
    }
    motors = {part: parts[part] for part in scan.motors}
    camera = devices.pop("camera", b.camera)
    md = lab.directories.new().metadata()
    return take_scan(scan, camera, b.beam, b.sample_stage, motors, md=md, **devices)


@pytest.mark.parametrize("acquisitions", [(Darks(number=2),), (Darks(number=2), Flats(number=3))])
def test_a_scan_without_projections_has_no_angles(
    lab: Laboratory, acquisitions: tuple[Acquisition, ...]
) -> None:
    lab.RE(taking(lab, *acquisitions))
    validate_run(lab.documents)
    start, stop = lab.documents[0][1], lab.documents[-1][1]
    assert stop["exit_status"] == "success"
    assert start["frames"] == {each.stream: each.count for each in acquisitions}
    tomo = start["tomo"]
    assert (tomo["scheme"], tomo["acquisition"], tomo["num_projections"]) == (
        "radiography", "single", 0,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [StepProjections, SweepProjections])
@pytest.mark.parametrize("trigger", ["software", "edge"])
def test_a_trigger_that_is_no_device_starts_no_exposures_of_a_device(
    lab: Laboratory, kind: Any, trigger: str
) -> None:
    projections = kind(number=3, trigger="device", angular_range="3 deg")
    with pytest.raises(ParameterError) as caught:
        lab.RE(taking(lab, projections, trigger=trigger))
    assert str(caught.value) == (
        f"trigger: {trigger!r} was given, and the acquisition says that a device starts its exposures. Give that "
        f"device, or the acquisition trigger={trigger!r}."
    )
    assert not lab.documents


@pytest.mark.parametrize(
    ("of_the_set", "of_the_scan"), [("direct", "later"), ("later", "direct"), ("later", "later")]
)
def test_frames_are_read_out_later_if_the_scan_or_the_cameras_say_so(
    lab: Laboratory, of_the_set: Any, of_the_scan: Any
) -> None:
    cameras = CameraSet((lab.beamline.camera,), of_the_set)
    lab.RE(taking(lab, Radiographs(number=3), camera=cameras, readout=of_the_scan))
    start = lab.documents[0][1]
    assert start["imaging_scan"]["readout"] == start["plan_args"]["readout"] == "later"


@pytest.mark.parametrize("views", [OppositeViews(), TiltViews()])
def test_simulators_go_through_a_scan_that_looks_at_its_frames(
    lab: Laboratory, views: Acquisition, capsys: pytest.CaptureFixture[str]
) -> None:
    summarize_plan(taking(lab, Darks(number=2), Flats(number=2), views))
    assert "Open Run" in capsys.readouterr().out


def test_a_resumed_run_has_figures_of_its_own(lab: Laboratory) -> None:
    def break_off(message: Any) -> None:
        if message.command == "prepare" and message.args[0].kind == "projections":
            raise OSError("the disk is full")

    hook: Any = break_off
    lab.RE.msg_hook = hook
    with pytest.raises(OSError, match="the disk is full"):
        lab.RE(lab.plan("step_tomography", num_darks=2, num_flats=3, num_projections=4))
    lab.RE.msg_hook = None
    first = lab.documents[0][1]
    lab.documents.clear()
    b, md = lab.beamline, lab.directories.new().metadata()
    lab.RE(resume(first["run_directory"], b.camera, b.beam, b.sample_stage, b.rotation, md=md))
    second = lab.documents[0][1]
    frames = [
        {row["stream"]: row["frames"] for row in start["preflight"]["streams"]}
        for start in (first, second)
    ]
    assert frames[0] == first["frames"] == {"darks": 2, "flats": 3, "projections": 4}
    assert frames[1] == second["frames"]
    assert list(frames[1].values()) == [4]
