"""Acquire into the camera's memory, read out later: parity.md sections 1 and 7."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.utils import FailedStatus, MsgGenerator

from concertino import CameraError, ParameterError
from concertino.plans import for_each, preflight
from concertino.simulation import Faults
from concertino.storage import open_run
from concertino.testing import (
    check_every_end,
    check_safe_end,
    describe_message,
    fault_at,
    plan_messages,
    run_with_fault,
)
from tests.plans.laboratory import Laboratory

PLANS = ("radiography", "continuous_tomography", "continuous_spiral_tomography")
FRAME_BYTES = 16 * 16 * 2
ONLY_PROJECTIONS: dict[str, Any] = {"readout": "later", "order": ("projections",)}


def laboratory(root: Path, faults: Faults | None = None, **given: Any) -> Laboratory:
    settings = {"memory_bytes": 40 * FRAME_BYTES, "readout_rate_hz": 60.0, **given}
    return Laboratory(root, faults=faults, **settings)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def lab(root: Path) -> Iterator[Laboratory]:
    made = laboratory(root / "lab")
    yield made
    made.close()


def watched(lab: Laboratory, plan: MsgGenerator[Any]) -> list[tuple[str, int, int, bool]]:
    """Run a plan; return each message, and what is exposed and published and if there is beam then."""
    seen: list[tuple[str, int, int, bool]] = []

    def note() -> MsgGenerator[Any]:
        response = None
        while True:
            try:
                message = plan.send(response)
            except StopIteration as stop:
                return stop.value
            acquisition: Any = lab.beamline.camera._acquisition
            counts = (acquisition.exposed, acquisition.stream.published) if acquisition else (0, 0)
            seen.append((describe_message(message), *counts, lab.beam_is_on()))
            response = yield message

    lab.RE(note())
    return seen


@pytest.mark.parametrize("name", PLANS)
def test_the_beam_goes_off_when_all_is_recorded_and_then_it_is_read_out(
    lab: Laboratory, name: str
) -> None:
    per_tomogram = 12 if "spiral" in name else 30
    seen = watched(lab, lab.plan(name, num_projections=per_tomogram, **ONLY_PROJECTIONS))
    told = [message for message, *_ in seen]
    kickoff, complete = told.index("kickoff camera"), told.index("complete camera")
    off = told.index("set shutter", kickoff)
    assert kickoff < off < complete
    total = 30
    _, exposed, published, beam = seen[off]
    assert (exposed, beam) == (total, True)
    assert published < total
    assert not seen[complete][-1]
    if name != "radiography":
        # The axes are back where they began before the frames are there.
        assert "set rotation" in told[off:complete]
        assert not lab.moving()
    run = open_run(lab.documents[-1][1]["run_start"], lab.directories.root)
    assert len(run.frames("projections").read()) == total
    (publisher,) = [row for row in run.ledger() if row["role"] == "publisher"]
    counts = ("triggered", "recorded", "exposed", "frames", "acknowledged")
    assert {publisher[column] for column in counts} == {total}
    assert run.start["plan_args"]["readout"] == "later"


def test_every_stream_is_recorded_first(lab: Laboratory) -> None:
    lab.run("radiography", readout="later")
    run = open_run(lab.documents[-1][1]["run_start"], lab.directories.root)
    recorded = {row["stream"]: row["recorded"] for row in run.ledger()}
    assert recorded == {"darks": 2, "flats": 2, "projections": 3}


def test_times_of_frames_are_those_of_the_exposures(lab: Laboratory) -> None:
    begun_s = time.time()
    seen = watched(lab, lab.plan("radiography", num_projections=30, **ONLY_PROJECTIONS))
    assert seen
    run = open_run(lab.documents[-1][1]["run_start"], lab.directories.root)
    index = np.fromfile(
        run.directory / "projections" / "frames.index",
        dtype=[("timestamp_ns", "<i8"), ("number", "<i8"), ("checksum", "<u8")],
    )
    stamps = index["timestamp_ns"]
    period_s = (stamps[-1] - stamps[0]) / 29 / 1e9
    assert period_s == pytest.approx(1 / 200, rel=0.01)  # As asked, not as read out.
    assert stamps[0] > begun_s * 1e9


def test_the_next_sample_moves_in_while_it_is_read_out(root: Path) -> None:
    lab = laboratory(root / "overlap", readout_rate_hz=50.0)
    stage = lab.beamline.vertical_stage
    seen = watched(
        lab,
        for_each(
            [0, 1],
            lambda item: lab.plan("radiography", num_projections=30, **ONLY_PROJECTIONS),
            prepare=lambda item: bps.mv(stage, float(item)),
            overlap=True,
        ),
    )
    lab.close()
    told = [message for message, *_ in seen]
    assert told.count("set vertical_stage") == 2
    second = len(told) - 1 - told[::-1].index("set vertical_stage")
    _, exposed, published, beam = seen[second]
    assert exposed == 30
    assert published < 30
    assert not beam


def test_what_does_not_fit_is_refused_before_anything_moves(lab: Laboratory) -> None:
    since = time.time()
    lab.documents.clear()
    for name in PLANS:
        with pytest.raises(CameraError) as caught:
            lab.RE(lab.plan(name, num_projections=41, readout="later"))
        asked = 103 if "spiral" in name else 41
        assert str(caught.value) == (
            f"Camera camera was asked to record {asked} frames of projections, "
            f"{asked * FRAME_BYTES / 1e6:.3g} MB; its memory of 0.0205 MB holds 40. Ask for at most "
            "so many, or use readout='direct'."
        )
    assert lab.documents == []
    for motor in lab.motors:
        assert motor._trajectory.last.start_s < since


def test_a_camera_without_memory_and_a_readout_that_there_is_not(root: Path) -> None:
    lab = laboratory(root / "none", memory_bytes=0)
    with pytest.raises(CameraError, match=r"it has no memory of its own\. Use readout='direct'"):
        lab.RE(lab.plan("radiography", readout="later"))
    with pytest.raises(ParameterError) as caught:
        lab.RE(lab.plan("radiography", readout="sometime"))
    lab.close()
    assert str(caught.value) == (
        "readout: 'sometime' was given; give 'direct' to read frames out as they are taken, or "
        "'later' to record them into the camera's memory first."
    )


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize(
    ("faults", "safe"), [(Faults(die_in_readout_at=11), 11), (Faults(die_at=11), 0)]
)
def test_death_leaves_the_beam_off_and_what_was_read_out_whole(
    root: Path, name: str, faults: Faults, safe: int
) -> None:
    lab = laboratory(root / f"{name} {safe}", faults)
    lab.documents.clear()
    with pytest.raises((FailedStatus, CameraError)):
        lab.RE(lab.plan(name, num_projections=15, **ONLY_PROJECTIONS))
    lab.close()
    assert not lab.beam_is_on()
    assert not lab.moving()
    stop = lab.documents[-1][1]
    assert stop["exit_status"] == "fail"
    run = open_run(stop["run_start"], lab.directories.root)
    (publisher,) = [row for row in run.ledger() if row["role"] == "publisher"]
    told = f"{publisher['recorded']} were recorded into its memory and {safe} read out"
    assert told in stop["reason"]
    assert (publisher["frames"], publisher["acknowledged"]) == (safe, safe)
    assert len(run.frames("projections").read()) == safe


@pytest.mark.parametrize("name", PLANS[:2])
def test_every_end_is_safe(lab: Laboratory, name: str) -> None:
    check_every_end(lab.bench(lambda: lab.plan(name, **ONLY_PROJECTIONS)), every=6)


@pytest.mark.parametrize("kind", ["abort", "stop", "halt"])
def test_the_user_ends_it_while_it_is_read_out(root: Path, kind: Any) -> None:
    lab = laboratory(root / f"user {kind}", readout_rate_hz=20.0)
    bench = lab.bench(lambda: lab.plan("radiography", num_projections=30, **ONLY_PROJECTIONS))
    messages = plan_messages(bench)
    complete = next(i for i, message in enumerate(messages) if message.command == "complete")
    outcome = run_with_fault(bench, fault_at(messages, complete, kind))
    lab.close()
    check_safe_end(outcome)
    if kind != "halt":
        run = open_run(outcome.find("start")[0]["run_directory"])
        (publisher,) = [row for row in run.ledger() if row["role"] == "publisher"]
        assert publisher["recorded"] == 30
        assert publisher["frames"] < 30
        assert len(run.frames("projections").read()) == publisher["acknowledged"]


def test_a_preflight_knows_how_long_the_memory_is_read_out(root: Path) -> None:
    lab = laboratory(root / "preflight", frame_rate=100.0, exposure=0.005, readout_rate_hz=15.0)
    plan = lab.plan("continuous_tomography", num_projections=30, **ONLY_PROJECTIONS)
    figures = preflight(plan)
    later = {**ONLY_PROJECTIONS, "readout": "direct"}
    direct = preflight(lab.plan("continuous_tomography", num_projections=30, **later))
    # 30 frames at 15 a second, and the stage comes back meanwhile.
    assert 1.0 < figures.duration_s - direct.duration_s < 2.0
    lab.close()
