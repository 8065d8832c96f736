"""How far a run is, told from documents that event-model made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_model import compose_run

from concertino import plans
from concertino.devices import SimulatedBeamline
from concertino.session import open_session
from concertino.viewers import PageSettings, RunTracker
from concertino.viewers._picture import Picture
from concertino.viewers.browser._picture_panel import PicturePanel

TOMO = {
    "image_kinds": {"darks": "dark", "flats": "flat", "projections": "projection"},
    "num_projections": 90,
}


class VectorBuilder:
    """Makes valid documents of a run and gives them to a tracker."""

    def __init__(self, tracker: RunTracker, **metadata: Any) -> None:
        self.tracker = tracker
        self.run = compose_run(metadata=metadata)
        tracker("start", self.run.start_doc)

    def stream(self, name: str, external: bool = True) -> str:
        key: dict[str, Any] = {"source": "", "dtype": "array", "shape": [1, 4, 4]}
        if external:
            key["external"] = "STREAM:"
        bundle = self.run.compose_descriptor(name=name, data_keys={"camera": key})
        self.tracker("descriptor", bundle.descriptor_doc)
        uid: str = bundle.descriptor_doc["uid"]
        return uid

    def frames(self, descriptor: str, stop: int) -> None:
        indices = {"start": 0, "stop": stop}
        self.tracker("stream_datum", {"descriptor": descriptor, "indices": indices})

    def stop(self, **how: Any) -> None:
        self.tracker("stop", self.run.compose_stop(**how))


def progress(tracker: RunTracker) -> list[tuple[str, int, int | None]]:
    return [(s.name, s.acquired, s.total) for s in tracker.run.streams.values()]


@pytest.mark.parametrize("name", ["continuous_tomography", "step_tomography", "radiography"])
def test_what_nobody_stores_is_counted_too(tmp_path: Path, name: str) -> None:
    tracker, highest = RunTracker(), list[int]()

    def follow(kind: str, document: Any) -> None:
        tracker(kind, document)
        if kind != "stop" and "projections" in tracker.run.streams:
            highest.append(tracker.run.streams["projections"].acquired)

    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=50.0)
    devices = [b.camera, *([] if name == "radiography" else [b.rotation]), b.beam, b.sample_stage]
    counts = {"num_darks": 3, "num_flats": 4, "num_projections": 60}
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.require_storage = False
        plan = getattr(plans, name)(*devices, radio_position=0, flat_position=1, **counts)
        session.RE(plan, follow)
    assert progress(tracker) == [("darks", 3, 3), ("flats", 4, 4), ("projections", 60, 60)]
    # Where angles or events come with the projections, they are seen to become more.
    assert name == "radiography" or len(set(highest)) > 3


def test_each_camera_is_counted_by_its_own_ledger(tmp_path: Path) -> None:
    tracker = RunTracker()
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=50.0)
    cameras = [b.camera, b.add_camera("detail", shape=(12, 20))]
    with open_session(tmp_path, progress=False, catalog=False) as session:
        plan = plans.radiography(
            cameras, b.beam, b.sample_stage, radio_position=0, flat_position=1,
            num_darks=2, num_flats=3, num_projections=5,
        )  # fmt: skip
        session.RE(plan, tracker)
    counted = {name: acquired for name, acquired, _ in progress(tracker)}
    assert {name: counted[f"{name}-detail"] for name in ("darks", "flats", "projections")} == {
        "darks": 2, "flats": 3, "projections": 5,
    }  # fmt: skip
    assert "ledger-detail" not in counted


def test_a_tomography() -> None:
    tracker = RunTracker()
    assert tracker.run.summary()["state"] == "waiting"
    emitter = VectorBuilder(
        tracker,
        scan_name="scan_0012",
        plan_name="continuous_tomography",
        sample={"name": "tooth"},
        plan_args={"num_darks": 10, "num_flats": 20, "num_projections": 90},
        tomo=TOMO,
    )
    assert progress(tracker) == [("darks", 0, 10), ("flats", 0, 20), ("projections", 0, 90)]
    assert tracker.run.summary()["state"] == "running"
    assert (tracker.run.name, tracker.run.sample) == ("scan_0012", "tooth")

    emitter.frames(emitter.stream("darks"), 10)
    flats = emitter.stream("flats")
    emitter.frames(flats, 3)
    emitter.frames(flats, 17)

    assert progress(tracker) == [("darks", 10, 10), ("flats", 17, 20), ("projections", 0, 90)]
    emitter.stop()
    assert tracker.run.state == "finished"


def test_events_count_like_frames() -> None:
    tracker = RunTracker()
    emitter = VectorBuilder(tracker, num_points=5, scan_id=3)
    uid = emitter.stream("primary", external=False)

    tracker("event", {"descriptor": uid, "seq_num": 1})
    tracker("event_page", {"descriptor": uid, "seq_num": [2, 3]})

    assert progress(tracker) == [("primary", 3, 5)]
    assert tracker.run.name == "scan 3"


def test_streams_that_hold_no_frames_are_not_shown() -> None:
    tracker = RunTracker()
    emitter = VectorBuilder(tracker, tomo=TOMO)
    for name in ("baseline", "ledger", "motion"):
        tracker(
            "event", {"descriptor": emitter.stream(name, external=False), "seq_num": 1, "data": {}}
        )
    emitter.frames(emitter.stream("second_camera"), 5)

    names = [name for name, _, _ in progress(tracker)]
    assert names == ["darks", "flats", "projections", "second_camera"]

    emitter = VectorBuilder(tracker)
    for name in ("baseline", "primary"):
        tracker(
            "event", {"descriptor": emitter.stream(name, external=False), "seq_num": 1, "data": {}}
        )

    assert [name for name, _, _ in progress(tracker)] == ["primary"]


@pytest.mark.parametrize(
    ("how", "state", "reason"),
    [
        ({"exit_status": "success", "reason": "not shown"}, "finished", ""),
        ({"exit_status": "fail", "reason": "CameraError: gone"}, "failed", "CameraError: gone"),
        ({"exit_status": "abort", "reason": "by the user"}, "aborted", "by the user"),
    ],
)
def test_ends(how: dict[str, str], state: str, reason: str) -> None:
    tracker = RunTracker()
    VectorBuilder(tracker).stop(**how)

    assert (tracker.run.state, tracker.run.reason) == (state, reason)
    assert tracker.run.stopped_s is not None


def test_a_processing_run_stands_beside_the_run_it_processes() -> None:
    tracker = RunTracker()
    raw = VectorBuilder(tracker, scan_name="scan_0001", tomo=TOMO)
    derived = VectorBuilder(tracker, scan_name="scan_0001_reconstruction_01", derived_from="raw")
    uid = raw.stream("darks")
    raw.frames(uid, 4)
    derived.stop(exit_status="fail", reason="no flats")

    assert tracker.run.name == "scan_0001"
    assert tracker.run.state == "running"
    assert progress(tracker)[0] == ("darks", 4, None)
    assert tracker.processing is not None
    assert (tracker.processing.state, tracker.processing.reason) == ("failed", "no flats")

    VectorBuilder(tracker, scan_name="scan_0002")
    assert tracker.processing is None


def test_an_axis_is_never_shown_with_what_was_said_of_another() -> None:
    tracker = RunTracker()
    VectorBuilder(tracker, scan_name="scan_0001", tomo=TOMO)
    preview = compose_run(metadata={"derived_from": "raw", "plan_name": "reconstruction_preview"})
    tracker("start", preview.start_doc)
    keys: dict[str, Any] = {
        "center": {"source": "", "dtype": "number", "shape": []},
        "center_confidence": {"source": "", "dtype": "number", "shape": []},
        "center_method": {"source": "", "dtype": "string", "shape": []},
    }
    bundle = preview.compose_descriptor(name="axis", data_keys=keys)
    tracker("descriptor", bundle.descriptor_doc)
    said = {"center": 47.5, "center_confidence": 0.0, "center_method": "middle of the frame"}
    event = bundle.compose_event(data=said, timestamps=dict.fromkeys(said, 0.0))
    tracker("event", event)
    assert (tracker.found.center, tracker.found.center_method) == (47.5, "middle of the frame")

    result = compose_run(metadata={"derived_from": "raw", "plan_name": "reconstruction"})
    tracker("start", result.start_doc)
    key: dict[str, Any] = {"source": "", "dtype": "array", "shape": [1, 4, 4]}
    configuration: dict[str, Any] = {
        "data": {"slices-center": 49.3, "slices-center_confidence": 0.99},
        "timestamps": {}, "data_keys": {},
    }  # fmt: skip
    slices = result.compose_descriptor(
        name="slices", data_keys={"slices": key}, configuration={"slices": configuration},
        validate=False,
    )  # fmt: skip
    tracker("descriptor", slices.descriptor_doc)
    found = tracker.found
    assert (found.center, found.center_confidence, found.center_method) == (49.3, 0.99, "")


def test_a_picture_never_has_the_title_of_another() -> None:
    def picture(label: str, version: int) -> Picture:
        return Picture("slices", label, np.eye(8), (8, 8), "slices", 0, version)

    panel = PicturePanel("Reconstruction", PageSettings())
    caption = panel.layout.children[0]
    pictures: dict[str, Picture] = {}
    for version, label in enumerate(("slice 64", "plane xz", "slice 64", "plane yz"), 1):
        pictures[label] = picture(label, version)
        panel.take(pictures)
        panel.draw({})
        assert f">{label}</b>" in caption.text


def test_many_runs_leave_nothing_behind() -> None:
    tracker = RunTracker()
    for _ in range(50):
        emitter = VectorBuilder(tracker)
        emitter.stream("darks")

    assert len(tracker._runs) <= 8
    assert len(tracker._streams) <= 8


def test_documents_of_unknown_runs_are_left_alone() -> None:
    tracker = RunTracker()
    tracker("stream_datum", {"descriptor": "unknown", "indices": {"start": 0, "stop": 1}})
    tracker("descriptor", {"run_start": "unknown", "uid": "d", "name": "darks"})
    tracker("stop", {"run_start": "unknown", "exit_status": "success"})
    tracker("stream_resource", {})

    assert tracker.run.state == "waiting"
