"""Real faults in mid-scan: beam off, data whole up to a stated frame, a document that says so."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from bluesky.utils import FailedStatus

from concertino import CameraError, ReconstructionError
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography, radiography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.simulation import Faults
from tests.small_disks import mounted_disk

SHAPE = (64, 64)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_disk(tmp_path / "disk", "700k") as disk:
        yield disk


def scan(beamline: SimulatedBeamline, projections: int = 40) -> Any:
    return radiography(
        beamline.camera,
        beamline.beam,
        beamline.sample_stage,
        radio_position="0 mm",
        flat_position="1 mm",
        num_darks=5,
        num_flats=5,
        num_projections=projections,
    )


def documents(session: Session, scan_name: str = "scan_0001") -> list[tuple[str, dict[str, Any]]]:
    lines = (session.directory / scan_name / "documents.jsonl").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def described(docs: list[tuple[str, dict[str, Any]]], stream: str) -> int:
    """Return how many frames of a stream the documents describe."""
    resources = {
        doc["uid"] for name, doc in docs if name == "stream_resource" and stream in doc["uri"]
    }
    stops: list[int] = [
        doc["indices"]["stop"]
        for name, doc in docs
        if name == "stream_datum" and doc["stream_resource"] in resources
    ]
    return max(stops, default=0)


def assert_next_run_works(session: Session, beamline: SimulatedBeamline) -> None:
    (uid,) = session.RE(scan(beamline, projections=3))
    name, stop = documents(session, session.RE.md["last_scan"])[-1]
    assert (name, stop["run_start"], stop["exit_status"]) == ("stop", uid, "success")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "data", progress=False, catalog=False) as opened:

        def note_name(name: str, doc: Any) -> None:
            opened.RE.md["last_scan"] = doc["scan_name"]

        opened.subscribe(note_name, "start")
        yield opened


def test_a_full_disk_ends_the_run_and_what_was_acknowledged_is_readable(
    small_disk: Path,
) -> None:
    beamline = SimulatedBeamline(shape=SHAPE, exposure=0.0, frame_rate=0.0)
    # The announced frames are given as few, so that the disk is full in mid-scan and not before.
    with open_session(small_disk, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())

        plan = continuous_or_radio(beamline)
        with pytest.raises(FailedStatus) as caught:
            session.RE(plan)
        message = str(caught.value.__cause__)
        assert "Subscriber 'writer' of frame stream camera/projections failed" in message
        assert "No space left on device" in message
        assert not beamline.shutter.is_open
        docs = documents(session)
        stop = docs[-1][1]
        assert stop["exit_status"] == "fail"
        assert "No space left on device" in stop["reason"]
        safe = described(docs, "projections")
        assert safe > 0
        assert f"it has {safe} safe" in stop["reason"]
        for index in range(safe):
            frame = tifffile.imread(
                small_disk / "scan_0001" / "projections" / f"frame_{index:06d}.tif"
            )
            assert frame.shape == SHAPE


def continuous_or_radio(beamline: SimulatedBeamline) -> Any:
    plan = scan(beamline, projections=60)
    # Only the writer knows how much a frame takes: the plan announces none.
    from bluesky.preprocessors import msg_mutator

    def announce_none(msg: Any) -> Any:
        if msg.command == "open_run":
            return msg._replace(kwargs={**msg.kwargs, "frames": {}})
        return msg

    return msg_mutator(plan, announce_none)


def test_too_little_space_is_refused_before_anything_moves(small_disk: Path) -> None:
    beamline = SimulatedBeamline(shape=SHAPE, exposure=0.0, frame_rate=0.0)
    with open_session(small_disk, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        with pytest.raises(OSError, match=r"Not enough space in .*needed.*free") as caught:
            session.RE(scan(beamline, projections=1000))
        assert caught.value.errno == errno.ENOSPC
        assert beamline.sample_stage.position_at(0) == 0
        assert documents(session)[-1][1]["exit_status"] == "fail"


def test_a_camera_that_dies_ends_the_run(session: Session) -> None:
    beamline = SimulatedBeamline(shape=SHAPE, exposure=0.0, frame_rate=0.0, faults=Faults(die_at=4))
    session.subscribe(ImageWriter())
    with pytest.raises(FailedStatus) as caught:
        session.RE(scan(beamline))
    assert isinstance(caught.value.__cause__, CameraError)
    assert not beamline.shutter.is_open
    docs = documents(session)
    assert docs[-1][1]["reason"] == "Camera camera died: it stopped answering at frame 4 of darks."
    assert described(docs, "darks") == 4
    beamline.camera.source.faults = Faults()  # type: ignore[attr-defined]
    assert_next_run_works(session, beamline)


class FailingWriter(ImageWriter):
    """A writer that a user wrote, with a mistake in it."""

    def take(self, stream: Any, subscription: Any) -> None:
        if stream.name == "flats":
            raise ZeroDivisionError("the user's mistake")
        super().take(stream, subscription)


def test_a_writer_that_raises_ends_the_run(session: Session) -> None:
    beamline = SimulatedBeamline(shape=SHAPE, exposure=0.0, frame_rate=0.0)
    token = session.subscribe(FailingWriter())
    with pytest.raises(FailedStatus) as caught:
        session.RE(scan(beamline))
    assert "ZeroDivisionError: the user's mistake" in str(caught.value.__cause__)
    assert not beamline.shutter.is_open
    assert "the user's mistake" in documents(session)[-1][1]["reason"]
    session.unsubscribe(token)
    session.subscribe(ImageWriter())
    assert_next_run_works(session, beamline)


def test_a_reconstruction_that_fails_costs_no_scan_unless_it_is_necessary(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    beamline = SimulatedBeamline(shape=SHAPE, exposure=0.0, frame_rate=100.0)
    session.subscribe(ImageWriter())
    reconstruction = OnlineReconstruction(ReconstructionSettings(slices=(1000,)))
    token = session.subscribe(reconstruction)

    def plan() -> Any:
        return continuous_tomography(
            beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
            radio_position=0, flat_position=1, num_darks=3, num_flats=3, num_projections=10,
            angular_range="90 deg",
        )  # fmt: skip

    session.RE(plan())
    assert documents(session)[-1][1]["exit_status"] == "success"
    assert described(documents(session), "projections") == 10
    assert "reconstruction was detached, and the run goes on without it: " in caplog.text
    with pytest.raises(ReconstructionError, match=r"cannot be reconstructed live: .*1000"):
        reconstruction.wait(240)
    assert "1000" in str(reconstruction.error)

    session.unsubscribe(token)
    token = session.subscribe(reconstruction, necessary=True)
    with pytest.raises(Exception, match="1000"):
        session.RE(plan())
    assert not beamline.shutter.is_open
    assert "1000" in documents(session, "scan_0002")[-1][1]["reason"]
    session.unsubscribe(token)
    assert_next_run_works(session, beamline)


def test_frames_that_the_camera_dropped_fail_the_run_or_are_flagged(session: Session) -> None:
    beamline = SimulatedBeamline(
        shape=SHAPE, exposure=0.0, frame_rate=0.0, faults=Faults(drop_frames=[2])
    )
    session.subscribe(ImageWriter())
    with pytest.raises(FailedStatus) as caught:
        session.RE(scan(beamline))
    assert "the camera dropped 1 frames (numbers 2)" in str(caught.value.__cause__)
    session.RE(
        radiography(
            beamline.camera, beamline.beam, beamline.sample_stage,
            radio_position=0, flat_position=1, num_darks=3, num_flats=3, num_projections=4,
            on_lost="flag",
        )
    )  # fmt: skip
    docs = documents(session, "scan_0002")
    assert docs[-1][1]["exit_status"] == "success"
    pages = [doc["data"] for name, doc in docs if name == "event_page"]
    dropped = np.concatenate([page["camera-ledger-dropped"] for page in pages])
    assert dropped.tolist() == [1] * 6
