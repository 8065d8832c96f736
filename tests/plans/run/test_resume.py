"""A run that broke off is continued: by the same plan, with what is missing, in a linked run."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.utils import MsgGenerator

from concertino import ConcertinoError, DocumentError, ParameterError, StorageError
from concertino.batch import reconstruct_run
from concertino.devices import FileCamera
from concertino.plans import MultiTurn, Timbir, resume
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import StoredScan, open_run
from concertino.testing import (
    PlanFault,
    check_safe_end,
    fault_at,
    fault_positions,
    plan_messages,
    run_with_fault,
)
from tests.plans.laboratory import Laboratory

FRAMES: dict[str, Any] = {
    "num_darks": 3, "num_flats": 3, "num_projections": 12, "angular_range": "180 deg",
}  # fmt: skip
FRAMED = ("darks", "flats", "projections")
PLANS = [
    "radiography", "step_tomography", "continuous_tomography",
    "step_spiral_tomography", "continuous_spiral_tomography",
]  # fmt: skip


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path, noise=False, frame_rate=50.0)
    yield made
    made.close()


def given(name: str, **changes: Any) -> dict[str, Any]:
    parameters = FRAMES | {"md": {"sample": "tooth"}} | changes
    if name == "radiography":
        parameters.pop("angular_range")
    return parameters


def devices(laboratory: Laboratory, name: str) -> dict[str, Any]:
    b = laboratory.beamline
    parts = {"camera": b.camera, "beam": b.beam, "sample_stage": b.sample_stage}
    if name != "radiography":
        parts["rotation"] = b.rotation
    if "spiral" in name:
        parts["vertical_stage"] = b.vertical_stage
    return parts


def resumed(laboratory: Laboratory, name: str, run: Any, **changes: Any) -> MsgGenerator[Any]:
    md = laboratory.directories.new().metadata()
    return resume(run, **(devices(laboratory, name) | {"md": md} | changes))


def broken(laboratory: Laboratory, name: str, triggers: int = 0, **changes: Any) -> Path:
    """Run a plan that fails in its projections, where they begin or at a trigger; return the run's directory."""
    bench = laboratory.bench(lambda: laboratory.plan(name, **given(name, **changes)))
    messages = plan_messages(bench)
    begin = [i for i, m in enumerate(messages) if m.command == "prepare"][-1]
    after = [(i, m.command) for i, m in enumerate(messages) if i > begin]
    steps = [i for i, command in after if command == "trigger"]
    starts = [i for i, command in after if command == "kickoff"] or steps[:1]
    place = steps[triggers - 1] if triggers else starts[-1]
    outcome = run_with_fault(bench, fault_at(messages, place, "raise after"))
    (start,) = outcome.find("start")
    return Path(start["run_directory"])


@pytest.mark.parametrize("name", PLANS)
def test_a_broken_run_is_continued(laboratory: Laboratory, name: str) -> None:
    directory = broken(laboratory, name, 4 if "step" in name else 0)
    first = open_run(directory)
    assert first.exit_status == "fail"
    laboratory.documents.clear()
    laboratory.RE(resumed(laboratory, name, first))
    start = laboratory.documents[0][1]
    total = first.start["frames"]["projections"]
    taken = len(first.frames("projections")) if "projections" in first.streams else 0
    assert start["resumes"] == first.uid
    assert start["sample"] == "tooth"
    assert start["plan_name"] == name
    assert start["plan_args"] == first.start["plan_args"]
    assert start["tomo"] == first.start["tomo"]
    segment = f"projections_from_{taken:05d}" if taken else "projections_from_00000_2"
    assert start["frames"] == {segment: total - taken}
    scan = StoredScan(open_run(start["run_directory"]))
    assert [run.uid for run in scan.runs] == [first.uid, start["uid"]]
    assert all(not scan.missing(stream) for stream in ("darks", "flats", "projections"))
    assert scan.read("projections").shape == (total, 16, 16)
    # From the first run the same scan is found.
    assert [p.first for p in StoredScan(first).pieces] == [p.first for p in scan.pieces]
    with pytest.raises(ParameterError, match="resume: nothing is missing of scan_"):
        laboratory.RE(resumed(laboratory, name, first))


def test_a_run_that_broke_in_its_flats_keeps_its_darks(laboratory: Laboratory) -> None:
    name = "step_tomography"
    bench = laboratory.bench(lambda: laboratory.plan(name, **given(name)))
    messages = plan_messages(bench)
    flats = [i for i, m in enumerate(messages) if m.command == "prepare"][1]
    outcome = run_with_fault(bench, fault_at(messages, flats, "raise after"))
    laboratory.documents.clear()
    laboratory.RE(resumed(laboratory, name, open_run(outcome.find("start")[0]["run_directory"])))
    assert laboratory.documents[0][1]["frames"] == {"flats": 3, "projections": 12}


def test_resumes_of_resumes_and_lost_files(laboratory: Laboratory) -> None:
    name = "step_tomography"
    directory = broken(laboratory, name, 5)
    bench = laboratory.bench(lambda: resumed(laboratory, name, open_run(directory)))
    outcome = run_with_fault(bench, PlanFault(0, "raise after", "trigger camera", 1))
    assert outcome.where == "raise after at the message 'trigger camera', number 2 of these"
    check_safe_end(outcome)
    second = open_run(outcome.find("start")[0]["run_directory"])
    # A file is lost, and one is damaged.
    (directory / "projections" / "frame_000001.tif").unlink()
    damaged = directory / "darks" / "frame_000002.tif"
    content = bytearray(damaged.read_bytes())
    content[-8:] = b"\xff" * 8
    damaged.write_bytes(content)
    laboratory.documents.clear()
    laboratory.RE(resumed(laboratory, name, second))
    start = laboratory.documents[0][1]
    assert start["resumes"] == second.uid
    names = list(start["frames"])
    assert names[:2] == ["darks_from_00002", "projections_from_00001"]
    scan = StoredScan(open_run(start["run_directory"]))
    assert len(scan.runs) == 3
    assert all(not scan.missing(stream) for stream in scan.streams)
    assert scan.read("projections").shape == (12, 16, 16)
    assert scan.read("darks").shape == (3, 16, 16)
    # Without the run in between the scan is not whole, and says so.
    second.directory.rename(second.directory.parent.parent / "elsewhere")
    with pytest.raises(StorageError) as caught:
        StoredScan(open_run(start["run_directory"]))
    assert f"resumes the run {second.uid}, which is not in" in str(caught.value)


def test_the_reconstruction_is_that_of_an_unbroken_scan(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path, noise=False, frame_rate=50.0, exposure=0.001)
    changes = given("step_tomography", num_projections=40)
    laboratory.documents.clear()
    laboratory.RE(laboratory.plan("step_tomography", **changes))
    whole = Path(laboratory.documents[0][1]["run_directory"])
    # The same frames once more, from files: what differs then is the interruption alone.
    laboratory.beamline.camera = FileCamera(
        darks=whole / "darks", flats=whole / "flats", projections=whole / "projections"
    )
    directory = broken(laboratory, "step_tomography", 13, num_projections=40)
    assert 0 < len(open_run(directory).frames("projections")) < 40
    laboratory.RE(resumed(laboratory, "step_tomography", open_run(directory)))
    settings = ReconstructionSettings(center=8.0)
    volumes = []
    for run in (directory, whole):
        made = reconstruct_run(open_run(run), settings)
        volumes.append(open_run(made.directory).frames("slices").read())
        assert made.missing == ()
    laboratory.close()
    np.testing.assert_array_equal(volumes[0], volumes[1])


def refusal(laboratory: Laboratory, plan: MsgGenerator[Any]) -> str:
    laboratory.documents.clear()
    since = time.time()
    with pytest.raises(ConcertinoError) as caught:
        laboratory.RE(plan)
    assert laboratory.documents == []
    assert laboratory.beamline.rotation._trajectory.last.start_s < since
    return str(caught.value)


def test_what_is_not_as_it_was_is_refused(laboratory: Laboratory, tmp_path: Path) -> None:
    name = "continuous_tomography"
    run = open_run(broken(laboratory, name))
    b = laboratory.beamline
    said = refusal(laboratory, resumed(laboratory, name, run, rotation=None))
    assert said == (
        f"resume: of {run.name}, rotation was rotation and is none. Give the devices that it was "
        "taken with."
    )
    said = refusal(laboratory, resumed(laboratory, name, run, rotation=b.vertical_stage))
    assert "rotation was rotation and is vertical_stage" in said
    other = Laboratory(tmp_path / "other", shape=(16, 24), frame_rate=20.0)
    other.documents.clear()
    said = refusal(other, resumed(other, name, run))
    other.close()
    assert "frame_shape was [16, 16] and is [16, 24]" in said
    assert "frame_rate was 50 Hz and is 20 Hz" in said
    assert said.endswith("Set it as it was, or take a new scan.")
    asyncio.run_coroutine_threadsafe(_set(b.camera.exposure, 0.004), laboratory.RE.loop).result()
    said = refusal(laboratory, resumed(laboratory, name, run))
    assert "the exposure was 0 s and is 0.004 s" in said


def test_a_shifted_region_is_refused(laboratory: Laboratory) -> None:
    name = "step_tomography"
    run = open_run(broken(laboratory, name, 4))
    camera = laboratory.beamline.camera
    loop = laboratory.RE.loop
    asyncio.run_coroutine_threadsafe(_set(camera.region, (1, 0, 15, 16)), loop).result()
    said = refusal(laboratory, resumed(laboratory, name, run))
    assert "frame_shape was [16, 16] and is [15, 16]" in said
    assert "camera-region was [0, 0, 16, 16] and is [1, 0, 15, 16]" in said
    asyncio.run_coroutine_threadsafe(_set(camera.region, (0, 0, 16, 16)), loop).result()
    asyncio.run_coroutine_threadsafe(_set(camera.mirror, "vertical"), loop).result()
    said = refusal(laboratory, resumed(laboratory, name, run))
    assert said == (
        f"resume: of {run.name}, camera-mirror was none and is vertical. Set it as it was, or take a new scan."
    )


async def _set(signal: Any, value: Any) -> None:
    await signal.set(value)


def test_a_device_that_has_moved_is_refused(laboratory: Laboratory) -> None:
    name = "step_tomography"
    import bluesky.preprocessors as bpp

    stage = laboratory.beamline.vertical_stage
    laboratory.RE.preprocessors.append(bpp.SupplementalData(baseline=[stage]))
    run = open_run(broken(laboratory, name, 5))
    asyncio.run_coroutine_threadsafe(_set(stage, 0.5), laboratory.RE.loop).result()
    said = refusal(laboratory, resumed(laboratory, name, run, unmoved=[stage]))
    assert f"resume: of {run.name}, vertical_stage was at 0 and is at 0.5. Set it" in said


def test_runs_that_cannot_be_resumed(laboratory: Laboratory) -> None:
    name = "step_tomography"
    run = open_run(broken(laboratory, name, 5))

    def changed(**changes: Any) -> Any:
        documents = run.directory / "documents.jsonl"
        lines = documents.read_text().splitlines()
        start = json.loads(lines[0])[1] | changes
        documents.write_text("\n".join([json.dumps(["start", start]), *lines[1:], ""]))
        return open_run(run.directory)

    tomo = run.start["tomo"]
    said = refusal(
        laboratory, resumed(laboratory, name, changed(plan_name="ascan", imaging_scan=None))
    )
    assert said == (
        f"resume: {run.name} is a run of 'ascan', which cannot be resumed: it is no imaging scan, or one "
        "that is taken as a whole. Run it again."
    )
    with pytest.raises(DocumentError, match=r"the tomo block is of version 9, and Concertino"):
        laboratory.RE(
            resumed(laboratory, name, changed(plan_name=name, tomo=tomo | {"version": 9}))
        )
    said = refusal(
        laboratory, resumed(laboratory, name, changed(tomo=tomo, derived_from="another"))
    )
    assert said == f"resume: {run.name} processes the run another; resume that one."


@pytest.mark.parametrize("kind", PlanFault.KINDS)
def test_every_end_of_a_resumed_run_is_safe(laboratory: Laboratory, kind: Any) -> None:
    name = "continuous_tomography"
    directory = broken(laboratory, name)
    bench = laboratory.bench(lambda: resumed(laboratory, name, open_run(directory)))
    # One that succeeds leaves nothing to resume: the messages are those of one that ends early.
    outcome = run_with_fault(bench, PlanFault(0, "raise after", "kickoff camera", 0))
    positions = fault_positions(outcome.messages, every=False)
    for position in positions[PlanFault.KINDS.index(kind) % 5 : 31 : 8]:
        if not any(StoredScan(open_run(directory)).missing(s) for s in FRAMED):
            directory = broken(laboratory, name)  # A pause before it began let it succeed.
        check_safe_end(run_with_fault(bench, PlanFault(position, kind)))


SCAN = """
import sys
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import resume, step_tomography, continuous_tomography
from concertino.session import open_session

directory, name, broken = sys.argv[1:4]
b = SimulatedBeamline(shape=(16, 16), noise=False, exposure=0.002, frame_rate=40.0)
with open_session(directory, progress=False, catalog=False) as session:
    session.subscribe(ImageWriter())
    parts = (b.camera, b.rotation, b.beam, b.sample_stage)
    if broken:
        plan = resume(broken, b.camera, b.beam, b.sample_stage, b.rotation, root=directory)
    else:
        plan = {"step": step_tomography, "continuous": continuous_tomography}[name](
            *parts, radio_position=0, flat_position=1, num_darks=3, num_flats=3,
            num_projections=80)
    session.RE(plan)
print("done", flush=True)
"""


@pytest.mark.disturbed_by_load("a session is killed at a frame, which others may follow at once")
@pytest.mark.parametrize(("name", "at"), [("step", 17), ("continuous", 31)])
def test_a_session_that_was_killed_is_continued_in_another(
    tmp_path: Path, name: str, at: int
) -> None:
    def start(broken: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", SCAN, str(tmp_path), name, broken],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    process = start("")
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob(f"scan_0001/projections/frame_{at:06d}.tif")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = open_run(tmp_path / "scan_0001")
    assert first.exit_status == "incomplete"
    assert first.stop is None
    said, complaint = start("scan_0001").communicate(timeout=240)
    assert "done" in said, complaint
    second = open_run(tmp_path / "scan_0002")
    assert second.start["resumes"] == first.uid
    scan = StoredScan(first)
    assert all(not scan.missing(stream) for stream in ("darks", "flats", "projections"))
    assert [len(scan.read(stream)) for stream in scan.streams] == [3, 3, 80]
    taken = len(first.frames("projections"))
    assert 0 < taken <= at + 60
    assert list(second.start["frames"]) == [f"projections_from_{taken:05d}"]


TURNS: dict[str, Any] = {"num_projections": 16, "angular_range": "40 deg"}
#: What a run is taken with, and the trigger device that resuming it wants.
GIVEN: dict[str, tuple[str, dict[str, Any], bool]] = {
    "equidistant": ("continuous_tomography", {}, False),
    "three turns": ("continuous_tomography", {"scheme": MultiTurn(turns=3)}, False),
    "turns by default": ("continuous_tomography", {"scheme": "multi_turn"}, False),
    "a box at uneven angles": ("continuous_tomography", {"scheme": Timbir(rounds=4)}, True),
    "a box": ("continuous_tomography", {}, True),
    "half acquisition": (
        "continuous_tomography",
        {"half_acquisition": True, "rotation_axis": "2 px", "angular_range": "360 deg"},
        False,
    ),
    "a limit of blur": ("continuous_tomography", {"max_blur": "50 px"}, False),
    "several tomograms": (
        "continuous_tomography",
        {"num_tomograms": 2, "num_projections": 8, "scheme": MultiTurn(turns=3)},
        False,
    ),
    "a stepped box": ("step_tomography", {}, True),
    "golden": ("step_tomography", {"scheme": "golden_ratio"}, False),
    "interlaced": ("step_tomography", {"scheme": Timbir(rounds=4)}, False),
    "stepped turns": ("step_tomography", {"scheme": MultiTurn(turns=3)}, False),
    "a list": ("step_tomography", {"scheme": [float(i * i % 97) for i in range(16)]}, False),
    "half acquisition in steps": (
        "step_tomography", {"half_acquisition": True, "angular_range": "360 deg"}, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", GIVEN)
def test_what_is_recorded_of_a_run_is_complete(laboratory: Laboratory, what: str) -> None:
    name, parameters, boxed = GIVEN[what]
    box = laboratory.beamline.trigger_box
    trigger = {"trigger": box} if boxed else {}
    directory = broken(laboratory, name, **(TURNS | parameters | trigger))
    first = open_run(directory)
    assert StoredScan(first).missing("projections")
    laboratory.documents.clear()
    laboratory.RE(resumed(laboratory, name, first, **trigger))
    start = laboratory.documents[0][1]
    assert start["plan_args"] == first.start["plan_args"]
    assert start["tomo"] == first.start["tomo"]
    scan = StoredScan(open_run(start["run_directory"]))
    assert not scan.missing("projections")


def test_the_trigger_device_is_the_one_of_then(laboratory: Laboratory) -> None:
    name = "continuous_tomography"
    box = laboratory.beamline.trigger_box
    run = open_run(broken(laboratory, name, trigger=box))
    assert refusal(laboratory, resumed(laboratory, name, run)) == (
        f"resume: of {run.name}, trigger was trigger_box and is none. Give the devices that it was taken with."
    )
    run = open_run(broken(laboratory, name))
    said = refusal(laboratory, resumed(laboratory, name, run, trigger=box))
    assert "trigger was software and is trigger_box" in said
