"""ophyd-async's own detector with its HDF5 writer, in every imaging plan; and what such a camera refuses."""

from typing import Any

import h5py
import numpy as np
import pytest
from ophyd_async.core import (
    DetectorTriggerLogic,
    StandardDetector,
    StaticPathProvider,
    UUIDFilenameProvider,
    init_devices,
)
from ophyd_async.sim import SimBlobDetector

from concertino import CameraError, ParameterError
from concertino.callbacks import ImageWriter
from concertino.devices import DetectorCamera
from concertino.plans import retrospective_radiography
from concertino.storage import replay
from concertino.storage.disk._uris import path_of_uri

from .detectors import PLANS, Scans

pytestmark = pytest.mark.disturbed_by_load("frames of its files must come while the axis turns")


def blob(scans: Scans) -> SimBlobDetector:
    with init_devices():
        made = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), scans.files), name="blob")
    return made


@pytest.mark.parametrize("plan", PLANS)
def test_the_detectors_own_documents_are_the_data(scans: Scans, plan: str) -> None:
    scans.session.subscribe(ImageWriter())
    camera = DetectorCamera(blob(scans), exposure=0.004, frame_rate=100)
    run = scans.run(plan, camera, num_projections=6)
    assert run.exit_status == "success"
    assert run.start["own_files"] == ["blob"]
    resources = [document for name, document in run.documents() if name == "stream_resource"]
    assert [each["data_key"] for each in resources] == 3 * ["blob", "blob-sum"]
    for stream, count in (("darks", 2), ("flats", 2), ("projections", 6)):
        (place,) = {
            path_of_uri(run.index.resources[datum["stream_resource"]]["uri"])
            for datum in run.index.streams[stream].datums
        }
        with h5py.File(place) as file:
            np.testing.assert_array_equal(run.frames(stream).read(), file["/entry/data/data"])
        assert len(run.frames(stream)) == count
    assert scans.written() == []
    assert [row["party"] for row in run.ledger()] == ["camera"] * 3
    assert [row["exposed"] for row in run.ledger()] == [2, 2, 6]


def test_a_session_that_wants_frames_stored_is_content_with_the_detectors_files(
    scans: Scans, caplog: pytest.LogCaptureFixture
) -> None:
    scans.session.require_storage = True
    run = scans.run("radiography", DetectorCamera(blob(scans), exposure=0.004, frame_rate=100))
    assert run.exit_status == "success"
    assert "nothing stores them" not in caplog.text


def test_how_it_exposed_is_in_the_configuration(scans: Scans) -> None:
    camera = DetectorCamera(blob(scans), exposure=0.004, frame_rate=100, pixel_size_um=2.5)
    run = scans.run("radiography", camera)
    told = run["projections"].configuration
    assert told["blob-exposure"] == 0.004
    assert told["blob-pixel_size"] == 2.5
    assert told["blob-own_files"] is True


def test_a_replay_may_store_a_copy(scans: Scans) -> None:
    run = scans.run("radiography", DetectorCamera(blob(scans), exposure=0.004, frame_rate=100))
    writer = ImageWriter(directory=scans.root.parent / "copy")
    report = replay(run, [writer])
    assert report.frames == {"darks": 2, "flats": 2, "projections": 8}
    assert [each.frames for each in writer.stored] == [2, 2, 8]


def test_a_name_is_that_of_the_detector_too(scans: Scans) -> None:
    camera = DetectorCamera(blob(scans), exposure=0.004, frame_rate=100, name="tomocam")
    run = scans.run("radiography", camera, num_projections=2)
    assert run["projections"].frame_keys == ("tomocam",)


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_says_what_to_make_of_a_bare_detector(scans: Scans, plan: str) -> None:
    with pytest.raises(
        ParameterError, match=r"Give DetectorCamera\(detector\) of concertino.devices instead"
    ):
        scans.session.RE(scans.plan(plan, blob(scans)))


class OnlyPulses(DetectorTriggerLogic):
    async def prepare_edge(self, num: int, livetime: float) -> None:
        raise AssertionError("nothing is to be prepared for what cannot be")


def only_pulses(scans: Scans) -> StandardDetector:
    real = blob(scans)
    with init_devices():
        made = StandardDetector(name="pulsed")
    made.add_detector_logics(OnlyPulses(), *real._data_logics)
    return made


def test_what_it_cannot_do_is_said_before_anything_moves(scans: Scans) -> None:
    moved: list[str] = []
    scans.session.RE.msg_hook = lambda message: moved.append(message.command)
    pulsed, b = DetectorCamera(only_pulses(scans)), scans.beamline
    retrospective = retrospective_radiography(
        DetectorCamera(blob(scans)), b.beam, b.sample_stage, b.vertical_stage,
        radio_position="0 mm", flat_position="1 mm", num_before=2, num_after=2, trigger_above=1,
    )  # fmt: skip
    asked: list[tuple[Any, str]] = [
        (retrospective, "keep frames from before a trigger; it writes projections to its own files"),
        (scans.plan("step_tomography", pulsed), "darks by internal triggers.*needs INTERNAL; it has EXTERNAL_EDGE"),
        (scans.plan("radiography", pulsed), "darks by internal triggers.*needs INTERNAL; it has EXTERNAL_EDGE"),
        (scans.plan("radiography", DetectorCamera(blob(scans)), readout="later"), "keeps none"),
    ]  # fmt: skip
    for plan, refusal in asked:
        with pytest.raises(CameraError, match=refusal):
            scans.session.RE(plan)
    assert not {"set", "kickoff", "open_run"} & set(moved)


def test_detectors_with_no_images_are_refused(scans: Scans) -> None:
    with init_devices():
        empty = StandardDetector(name="empty")
    with pytest.raises(CameraError, match="its detector describes nothing that it writes"):
        scans.session.RE(scans.plan("radiography", DetectorCamera(empty, exposure=0.0)))
