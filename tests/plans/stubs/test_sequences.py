"""What the plans do to the devices, in which order, as the user guide of the predecessor says."""

import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky.utils import FailedStatus

from concertino.documents import TomoBlock, validate_run
from concertino.plans.stubs._speed import SETTLE_S, SMOOTH
from concertino.plans.stubs._sweep_move import _MARGIN_S
from concertino.simulation import Faults
from concertino.storage import open_run
from concertino.testing import fault_at, plan_messages, run_with_fault
from tests.plans.laboratory import COUNTS, PLANS, Laboratory

SWITCHED = {"synchrotron": "shutter", "tube": "tube"}


@pytest.fixture(params=SWITCHED)
def laboratory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Laboratory]:
    """Return a beamline of each kind."""
    made = Laboratory(tmp_path, request.param)
    yield made
    made.close()


def actions(laboratory: Laboratory, name: str, **parameters: Any) -> list[str]:
    """Run a plan and return what it does to the devices."""
    bench = laboratory.bench(lambda: laboratory.plan(name, **parameters))
    beam, done = SWITCHED[laboratory.beamline.source], []
    for message in plan_messages(bench):
        device = getattr(message.obj, "name", "")
        if message.command == "set" and device == beam:
            done.append("beam on" if message.args[0] else "beam off")
        elif message.command == "set":
            done.append(f"{device} to {message.args[0]:g}")
        elif message.command == "prepare":
            request = message.args[0]
            done.append(f"{request.count} {request.kind} by {request.trigger} trigger")
        elif message.command == "close_run":
            done.append("closed")
        elif message.command in ("kickoff", "trigger", "complete", "stop", "sleep"):
            done.append(message.command)
    return done


DARKS = ["beam off", "2 darks by internal trigger", "kickoff", "complete"]
FLATS = [
    "sample_stage to 1", "2 flats by internal trigger",
    "beam on", "kickoff", "complete",
    "beam off",
]  # fmt: skip
RADIOGRAPHS = [
    "sample_stage to 0", "3 projections by internal trigger",
    "beam on", "kickoff", "complete",
    "beam off",
]  # fmt: skip
STEPS = [
    "sample_stage to 0", "rotation to 0", "3 projections by software trigger", "beam on",
    "rotation to 0", "trigger", "rotation to 1", "trigger", "rotation to 2", "trigger",
    "beam off", "complete",
]  # fmt: skip
# 200 frames/s over 3 deg in 3 frames: 200 deg/s, reached after 5 ms and half a degree; and some more
# to see that it is reached.
RUN_UP = 0.5 + 200 * (SETTLE_S + 0.005 * SMOOTH)
TURN = [
    "sample_stage to 0", f"rotation to {-RUN_UP:g}", "rotation-velocity to 200",
    "3 projections by internal trigger", "beam on", f"rotation to {3.5 + 200 * _MARGIN_S:g}", "kickoff", "complete",
    "beam off", "rotation-velocity to 360",
]  # fmt: skip
ENDS = {
    "radiography": ["beam off", "stop"],
    "step_tomography": ["beam off", "stop", "stop"],
    "continuous_tomography": ["beam off", "stop", "stop", "rotation-velocity to 360"],
}
# Once the run is closed, unless something comes after the projections.
BACK = {"step_tomography": ["rotation to 0"], "continuous_tomography": ["rotation to 0"]}
PROJECTIONS = {
    "radiography": RADIOGRAPHS, "step_tomography": STEPS, "continuous_tomography": TURN,
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize(
    "order",
    [
        ("darks", "flats", "projections"),
        ("projections", "flats", "darks"),
        ("flats", "projections"),
    ],
)
def test_actions_and_their_order(laboratory: Laboratory, name: str, order: tuple[str, ...]) -> None:
    back, last = BACK.get(name, []), order[-1] == "projections"
    projections = PROJECTIONS[name] + ([] if last else back)
    blocks = {"darks": DARKS, "flats": FLATS, "projections": projections}
    wanted = ["beam off", *(action for block in order for action in blocks[block]), *ENDS[name]]
    wanted += ["closed", *([*back, "stop"] if back and last else [])]
    assert actions(laboratory, name, order=order) == wanted


def test_stage_and_rotation_set_out_together(laboratory: Laboratory) -> None:
    bench = laboratory.bench(lambda: laboratory.plan("step_tomography", order=("projections",)))
    messages = plan_messages(bench)
    stage = next(i for i, m in enumerate(messages) if m.obj is laboratory.beamline.sample_stage)
    first, second, wait = messages[stage : stage + 3]
    assert second.obj is laboratory.beamline.rotation
    assert first.kwargs["group"] == second.kwargs["group"] == wait.kwargs["group"]
    assert wait.command == "wait"


@pytest.mark.parametrize(
    ("start", "sweep", "angles"),
    [
        ("0 deg", "180 deg", [0, 60, 120]),
        (90, -90, [90, 60, 30]),
        ("0.5 turn", 360, [180, 300, 420]),
    ],
)
def test_stepped_angles_leave_out_the_end(
    laboratory: Laboratory, start: Any, sweep: Any, angles: list[float]
) -> None:
    documents = laboratory.run(
        "step_tomography", order=("projections",), start_angle=start, angular_range=sweep
    )
    events = [document for name, document in documents if name == "event"]
    assert [event["data"]["rotation"] for event in events] == pytest.approx(angles, abs=1e-6)
    tomo = TomoBlock.from_start(documents[0][1])
    assert list(tomo.angles_rad() * 57.29577951308232) == pytest.approx(angles)


def test_a_turn_backwards(laboratory: Laboratory) -> None:
    done = actions(
        laboratory, "continuous_tomography",
        order=("projections",), start_angle="90 deg", angular_range="-3 deg",
    )  # fmt: skip
    # Speed is gained before 90 deg, coming from the other side.
    assert f"rotation to {90 + RUN_UP:g}" in done
    assert "rotation-velocity to 200" in done
    assert f"rotation to {86.5 - 200 * _MARGIN_S:g}" in done


def test_continuous_frames_see_the_angles_they_are_said_to_see(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path)
    documents = laboratory.run(
        "continuous_tomography", order=("projections",),
        num_projections=40, angular_range="60 deg",
    )  # fmt: skip
    laboratory.close()
    rotation = laboratory.beamline.rotation
    run = open_run(documents[0][1]["run_directory"])
    angles = [
        rotation.position_at(ns / 1e9) for ns in run.frames("projections").index["timestamp_ns"]
    ]
    steps = [after - before for before, after in pairwise(angles)]
    # All at full speed, none in the ramps: range / N from frame to frame.
    assert steps == pytest.approx([1.5] * 39, abs=1e-3)
    (motion,) = run["motion"].events
    assert set(motion["data"]) == {"rotation", "camera-start_time"}
    began_s = motion["data"]["camera-start_time"]
    assert angles[0] == pytest.approx(rotation.position_at(began_s), abs=0.01)


@pytest.mark.parametrize("name", PLANS)
def test_the_documents_of_a_run(laboratory: Laboratory, name: str) -> None:
    documents = laboratory.run(name, md={"sample": "tooth"})
    validate_run(documents)
    start = documents[0][1]
    beamline, radiographs = laboratory.beamline, name == "radiography"
    assert start["plan_name"] == name
    assert start["detectors"] == ["camera"]
    assert start["motors"] == ["sample_stage"] + ([] if radiographs else ["rotation"])
    assert start["sample"] == "tooth"
    assert start["scan_name"].startswith("scan_")
    assert start["frames"] == {"darks": 2, "flats": 2, "projections": 3}
    assert start["frame_shape"] == [16, 16]
    assert start["frame_bytes"] == 512
    arguments = start["plan_args"]
    assert arguments["beam"] == SWITCHED[beamline.source]
    assert arguments["flat_position"] == {"value": 1.0, "unit": "mm"}
    assert arguments["radio_position"] == {"value": 0.0, "unit": "mm"}
    assert arguments["order"] == ["darks", "flats", "projections"]
    assert {key: arguments[key] for key in COUNTS} == COUNTS
    tomo = start["tomo"]
    assert tomo["camera"] == "camera"
    assert tomo["image_kinds"] == {"darks": "dark", "flats": "flat", "projections": "projection"}
    assert tomo["num_projections"] == 3
    assert tomo["pixel_size_um"] == pytest.approx(beamline.camera.source.pixel_size_um)
    if radiographs:
        assert (tomo["scheme"], tomo["acquisition"]) == ("radiography", "single")
    else:
        acquisition = "stepped" if name == "step_tomography" else "continuous"
        assert (tomo["scheme"], tomo["acquisition"]) == ("equidistant", acquisition)
        assert (tomo["start_angle_deg"], tomo["angular_range_deg"]) == (0.0, 3.0)
        assert tomo["rotation"] == "rotation"
        assert arguments["angular_range"] == {"value": 3.0, "unit": "deg"}
    if name == "continuous_tomography":
        assert arguments["velocity"] == {"value": pytest.approx(200.0), "unit": "deg/s"}
        assert arguments["frame_rate"] == {"value": 200.0, "unit": "Hz"}


@pytest.mark.parametrize("name", PLANS)
def test_every_frame_is_described_stored_and_accounted_for(
    laboratory: Laboratory, name: str
) -> None:
    documents = laboratory.run(name)
    frames = {"darks": 2, "flats": 2, "projections": 3}
    assert described(documents) == {stream: list(range(n)) for stream, n in frames.items()}
    stop = documents[-1][1]
    continuous = name == "continuous_tomography"
    motion = {"motion": 1, "projection_angles": 3, "angles_compared": 1} if continuous else {}
    assert stop["num_events"] == {**frames, "ledger": 6, **motion}
    run = open_run(documents[0][1]["run_directory"])
    for stream, count in frames.items():
        assert run.frames(stream).read().shape == (count, 16, 16)
        camera, writer = [row for row in run.ledger() if row["stream"] == stream]
        assert (camera["party"], camera["role"]) == ("camera", "publisher")
        assert (writer["party"], writer["role"]) == ("writer", "every")
        for row in (camera, writer):
            assert row["triggered"] == row["exposed"] == row["frames"] == count
            assert (row["acknowledged"], row["dropped"]) == (count, 0)
            assert (row["state"], row["reason"]) == ("finished", "")
        assert camera["digest"] == writer["digest"]
    run.close()


def described(documents: list[tuple[str, Mapping[str, Any]]]) -> dict[str, list[int]]:
    """Return the indices of the frames that are described, by stream."""
    streams = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    found: dict[str, list[int]] = {}
    for name, document in documents:
        if name == "stream_datum":
            stream, indices = streams[document["descriptor"]], document["indices"]
            found.setdefault(stream, []).extend(range(indices["start"], indices["stop"]))
            shift = document["seq_nums"]["start"] - indices["start"]
            assert (shift, document["seq_nums"]["stop"] - indices["stop"]) == (1, 1)
    return found


def test_the_beam_goes_off_first_then_motors_stop(laboratory: Laboratory) -> None:
    bench = laboratory.bench(lambda: laboratory.plan("continuous_tomography"))
    messages = plan_messages(bench)
    kickoff = [i for i, message in enumerate(messages) if message.command == "kickoff"][-1]
    outcome = run_with_fault(bench, fault_at(messages, kickoff, "raise after"))
    # How often a plan looks and waits before differs from run to run.
    struck = next(i for i, message in enumerate(outcome.messages) if message is outcome.struck)
    cleaning = [
        (message.command, message.obj.name)
        for message in outcome.messages[struck + 1 :]
        if message.command in ("set", "stop", "unstage", "collect")
    ]
    # A step is done again when the rotation's move, which was stopped, fails during it.
    assert list(dict.fromkeys(cleaning)) == [
        ("set", SWITCHED[laboratory.beamline.source]),
        ("stop", "rotation"),
        ("stop", "sample_stage"),
        ("unstage", "camera"),
        ("collect", "camera"),
        ("collect", "camera-ledger"),
        ("set", "rotation-velocity"),
    ]


@pytest.mark.disturbed_by_load("it must be over in eight seconds, or has waited for ten")
def test_counting_with_a_camera_stores_its_frames(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLUESKY_PREDECLARE", "1")
    camera = laboratory.beamline.camera
    laboratory.beamline.twin.warm_up()
    began = time.monotonic()
    metadata = laboratory.directories.new().metadata()
    laboratory.RE(bp.count([camera], num=3, md=metadata))
    # The run stops before the camera is unstaged: the writer must not wait for the stream's end.
    assert time.monotonic() - began < 8
    validate_run(laboratory.documents)
    run = open_run(metadata["run_directory"])
    assert run.frames("primary").read().shape == (3, 16, 16)


def test_a_frame_that_is_lost_at_a_step_is_missing_at_its_angle(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path, faults=Faults(drop_frames=[1]))
    documents = laboratory.run(
        "step_tomography", order=["projections"], angular_range="4 deg",
        num_projections=4, on_lost="flag",
    )  # fmt: skip
    validate_run(documents)
    events = {d["seq_num"]: d["data"]["rotation"] for name, d in documents if name == "event"}
    data = [d for name, d in documents if name == "stream_datum"]
    assert events == {1: 0, 2: 1, 3: 2, 4: 3}
    assert [d["indices"] for d in data] == [{"start": i, "stop": i + 1} for i in range(3)]
    assert [d["seq_nums"]["start"] for d in data] == [1, 3, 4]
    run = open_run(documents[0][1]["run_directory"])
    assert list(run.frames("projections").index["number"]) == [0, 2, 3]
    assert run.ledger()[0]["dropped"] == 1
    with pytest.raises(FailedStatus) as caught:
        laboratory.run("step_tomography", order=["projections"], num_projections=4)
    assert "the camera dropped 1 frames (numbers 1)" in str(caught.value.__cause__)


@pytest.mark.parametrize("name", PLANS)
def test_darks_alone(laboratory: Laboratory, name: str) -> None:
    rotation = laboratory.beamline.rotation
    laboratory.RE(bps.mv(rotation, 50))
    documents = laboratory.run(name, order=["darks"])
    assert rotation.position_at(time.time()) == 50  # nothing of it needs another
    validate_run(documents)
    assert documents[0][1]["frames"] == {"darks": 2}
    assert documents[0][1]["tomo"]["num_projections"] == 0
    assert documents[-1][1]["num_events"] == {"darks": 2, "ledger": 2}


def test_what_the_camera_sees(laboratory: Laboratory) -> None:
    camera = laboratory.beamline.camera
    laboratory.RE(bps.mv(camera.exposure, 0.005))
    documents = laboratory.run("radiography")
    run = open_run(documents[0][1]["run_directory"])
    darks, flats, projections = (
        run.frames(stream).read().astype(float).mean()
        for stream in ("darks", "flats", "projections")
    )
    assert darks < 0.1 * projections < 0.1 * flats
