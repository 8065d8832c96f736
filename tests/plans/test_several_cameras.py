"""Several cameras in one run: each has its streams, all expose together, all must deliver."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from bluesky.utils import FailedStatus, MsgGenerator

from concertino import CameraError, DocumentError, ParameterError
from concertino.batch import reconstruct_run
from concertino.callbacks import Accumulator, Benchmarker, ImageWriter, OnlineReconstruction
from concertino.devices import Camera
from concertino.documents import TomoBlock, announced_bytes, validate_run
from concertino.plans import (
    CameraSet,
    continuous_tomography,
    grating_stepping,
    radiography,
    step_tomography,
)
from concertino.reconstruction import ReconstructionSettings
from concertino.simulation import Faults
from concertino.storage import Run, open_run, replay
from concertino.testing import PlanOutcome, check_every_end

from .laboratory import COUNTS, POSITIONS, Laboratory

STREAMS = ["darks", "darks-detail", "flats", "flats-detail", "projections", "projections-detail"]
PLANS = ("radiography", "step_tomography", "continuous_tomography")


class TwoCameras(Laboratory):
    """A laboratory whose second camera has another field, another pixel and another frame size."""

    def __init__(self, root: Path, of_second: Faults | None = None, **beamline: Any) -> None:
        super().__init__(root, **beamline)
        self.detail = self.beamline.add_camera(
            "detail", shape=(12, 20), pixel_size_um=2.5, faults=of_second
        )

    @property
    def cameras(self) -> list[Camera]:
        return [self.beamline.camera, self.detail]

    def scan(self, name: str, camera: Any = None, **parameters: Any) -> MsgGenerator[Any]:
        b = self.beamline
        given: dict[str, Any] = {**COUNTS, **POSITIONS, **parameters}
        given["md"] = self.directories.new().metadata()
        camera = camera or self.cameras
        if name == "radiography":
            return radiography(camera, b.beam, b.sample_stage, **given)
        given.setdefault("angular_range", "3 deg")
        plan = step_tomography if name == "step_tomography" else continuous_tomography
        return plan(camera, b.rotation, b.beam, b.sample_stage, **given)

    def stored(self, name: str, **parameters: Any) -> Run:
        """Run a plan and return its run."""
        self.documents.clear()
        self.RE(self.scan(name, **parameters))
        validate_run(self.documents)
        return open_run(self.find("start")[0]["run_directory"])

    def find(self, kind: str) -> list[Any]:
        return [document for name, document in self.documents if name == kind]


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def lab(root: Path) -> Iterator[TwoCameras]:
    made = TwoCameras(root / "lab")
    yield made
    made.close()


@pytest.mark.parametrize("name", PLANS)
def test_each_camera_has_its_streams_and_its_frames(lab: TwoCameras, name: str) -> None:
    run = lab.stored(name)
    assert [stream for stream in run.streams if run[stream].frame_keys] == STREAMS
    for stream in STREAMS:
        shape, camera = ((12, 20), "detail") if "detail" in stream else ((16, 16), "camera")
        count = COUNTS[f"num_{stream.partition('-')[0]}"]
        assert run[stream].frame_keys == (camera,)
        assert run.frames(stream).shape == (count, *shape)
        rows = [row for row in run.ledger() if row["stream"] == stream]
        assert {row["party"] for row in rows} == {"camera", "writer"}
        assert {row["acknowledged"] for row in rows} == {count}
    assert run.start["frames"] == {
        stream: COUNTS[f"num_{stream.partition('-')[0]}"] for stream in STREAMS
    }
    assert run.start["detectors"] == run.start["plan_args"]["camera"] == ["camera", "detail"]


def test_the_tomo_block_says_whose_images_they_are(lab: TwoCameras) -> None:
    run = lab.stored("radiography")
    block = TomoBlock.from_start(run.start)
    assert block.cameras == ("camera", "detail")
    assert list(block.image_kinds) == STREAMS
    first, detail = block.for_camera(), block.for_camera("detail")
    assert list(first.image_kinds) == STREAMS[::2]
    assert list(detail.image_kinds) == STREAMS[1::2]
    assert (first.pixel_size_um, detail.pixel_size_um) == (5.0, 2.5)
    assert (detail.camera, detail.more_cameras) == ("detail", {})
    assert first == block.for_camera("camera")
    with pytest.raises(DocumentError) as caught:
        block.for_camera("other")
    assert str(caught.value) == (
        "Camera 'other' was asked for; the run has images of camera, detail. Name one of these."
    )


def test_a_run_of_one_camera_has_a_block_as_ever(lab: TwoCameras) -> None:
    run = lab.stored("radiography", camera=lab.beamline.camera)
    assert "more_frame_bytes" not in run.start
    assert run.start["plan_args"]["camera"] == "camera"
    block = dict(run.start["tomo"])
    assert block.pop("more_cameras") == {}
    # What was written before there could be more cameras reads the same.
    assert TomoBlock.from_start({"tomo": block}) == TomoBlock.from_start(run.start)


def test_announced_bytes_count_each_camera_with_its_own_frames(lab: TwoCameras) -> None:
    start = lab.stored("radiography").start
    assert announced_bytes(start) == 7 * 16 * 16 * 2 + 7 * 12 * 20 * 2
    assert announced_bytes(start, lambda stream: "detail" in stream) == 7 * 12 * 20 * 2


def test_both_see_the_sample_at_the_same_time(root: Path) -> None:
    # The inner half of the first camera's field is what the second one sees, twice as fine.
    lab = TwoCameras(root / "same", shape=(24, 40), noise=False, exposure=0.002)
    run = lab.stored("step_tomography", num_projections=12, angular_range="180 deg")
    lab.close()
    both = []
    for end in ("", "-detail"):
        dark, flat, views = (
            run.frames(f"{kind}{end}").read().astype(float)
            for kind in ("darks", "flats", "projections")
        )
        both.append(-np.log((views - dark.mean(0)) / (flat.mean(0) - dark.mean(0))))
    wide = both[0][:, 9:15, 15:25]
    fine = both[1].reshape(12, 6, 2, 10, 2).mean((2, 4))
    same = np.sqrt(np.mean((fine - wide) ** 2))
    other = np.sqrt(np.mean((fine[1:] - wide[:-1]) ** 2))
    assert same < 0.02
    assert other > 3 * same


def test_frames_are_what_the_beamline_did_at_their_times(root: Path) -> None:
    lab = TwoCameras(root / "truth", shape=(16, 32), noise=False, exposure=0.002)
    run = lab.stored("continuous_tomography", num_projections=20, angular_range="90 deg")
    b = lab.beamline
    for camera, stream in ((b.camera, "projections"), (lab.detail, "projections-detail")):
        index = np.fromfile(
            run.directory / stream / "frames.index",
            dtype=[("timestamp_ns", "<i8"), ("number", "<i8"), ("checksum", "<u8")],
        )
        source: Any = camera.source
        for frame, stamp in zip(run.frames(stream).read(), index["timestamp_ns"], strict=False):
            middle_s = stamp / 1e9
            state = b.state(middle_s - 0.001, middle_s + 0.001)
            truth = source.twin.expectation(state, 0.002)
            # A timestamp is good to 0.2 us, in which the stage turns by 0.2 mdeg.
            np.testing.assert_allclose(frame, truth, atol=20)
    lab.close()


def test_each_is_reconstructed_live_replayed_and_from_the_files(root: Path) -> None:
    lab = TwoCameras(root / "slices", shape=(16, 48), noise=False, exposure=0.002)
    settings = ReconstructionSettings(slices=(6,), center=9.5)
    live = [OnlineReconstruction(settings), OnlineReconstruction(settings, camera="detail")]
    for callback in live:
        lab.RE.subscribe(callback)
    run = lab.stored("continuous_tomography", num_projections=40, angular_range="180 deg")
    volumes = [callback.wait(240).volume for callback in live]
    assert [volume.shape for volume in volumes] == [(1, 48, 48), (1, 20, 20)]
    again = [OnlineReconstruction(settings), OnlineReconstruction(settings, camera="detail")]
    replay(run, again)
    for callback, camera, volume in zip(again, (None, "detail"), volumes, strict=True):
        np.testing.assert_array_equal(callback.wait(240).volume, volume)
        batch = reconstruct_run(run, settings, camera=camera)
        stored = open_run(batch.directory)
        np.testing.assert_array_equal(stored.frames("slices").read(), volume)
        assert stored.start["processing"]["parameters"]["camera"] == (camera or "camera")
    lab.close()


def test_a_camera_that_is_not_in_the_run_is_not_reconstructed(lab: TwoCameras) -> None:
    run = lab.stored("step_tomography", num_projections=8)
    with pytest.raises(DocumentError, match="Camera 'other' was asked for; the run has images of"):
        reconstruct_run(run, camera="other")


def test_other_callbacks_take_the_streams_of_both(lab: TwoCameras) -> None:
    keeper, benchmarker = Accumulator(), Benchmarker()
    tokens = [lab.RE.subscribe(keeper), lab.RE.subscribe(benchmarker)]
    run = lab.stored("radiography")
    for token in tokens:
        lab.RE.unsubscribe(token)
    for stream in STREAMS:
        np.testing.assert_array_equal(keeper.frames(stream), run.frames(stream).read())
    assert sorted(result.stream for result in benchmarker.results) == STREAMS


def test_grating_stepping_with_both(lab: TwoCameras) -> None:
    b = lab.beamline
    lab.documents.clear()
    lab.RE(
        grating_stepping(
            lab.cameras, b.grating_stage, b.beam, b.sample_stage, **POSITIONS,
            grating_period="2.4 um", stepping_start_position=0, num_darks=2,
            num_steps_per_period=4, md=lab.directories.new().metadata(),
        )
    )  # fmt: skip
    run = open_run(lab.find("start")[0]["run_directory"])
    counts = {s: len(run.frames(s)) for s in run.streams if run[s].frame_keys}
    assert counts == {
        "darks": 2, "darks-detail": 2, "reference_stepping": 4, "reference_stepping-detail": 4,
        "object_stepping": 4, "object_stepping-detail": 4,
    }  # fmt: skip


def test_a_set_of_cameras_for_plans_of_the_users_own(lab: TwoCameras) -> None:
    cameras = CameraSet(tuple(lab.cameras))
    run = lab.stored("radiography", camera=cameras)
    assert [stream for stream in run.streams if run[stream].frame_keys] == STREAMS


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("dying", ["camera", "detail"])
def test_one_that_dies_fails_the_run_and_leaves_the_frames_of_the_other(
    root: Path, name: str, dying: str
) -> None:
    faults = Faults(die_at=7)
    first, second = (faults, None) if dying == "camera" else (None, faults)
    lab = TwoCameras(root / f"{name} {dying}", second, faults=first)
    lab.RE.subscribe(ImageWriter(name="copy", directory=root / f"copy {name} {dying}"))
    lab.documents.clear()
    with pytest.raises(FailedStatus) as caught:
        lab.RE(lab.scan(name, num_projections=40))
    lab.close()
    said = f"Camera {dying} died: it stopped answering at frame 7 of projections"
    assert isinstance(caught.value.__cause__, CameraError)
    assert said in str(caught.value.__cause__)
    assert not lab.beam_is_on()
    (stop,) = lab.find("stop")
    assert stop["exit_status"] == "fail"
    assert said in stop["reason"]
    validate_run(lab.documents)
    run = open_run(lab.find("start")[0]["run_directory"])
    for stream in ("projections", "projections-detail"):
        rows = [row for row in run.ledger() if row["stream"] == stream]
        safe = min(row["acknowledged"] for row in rows)
        # A stepped scan may end between a frame of the first camera and its event.
        spare = 1 if (name, stream) == ("step_tomography", "projections") else 0
        described = len(run.frames(stream).read())
        assert described <= safe <= described + spare
        if dying in rows[0]["reason"]:
            assert safe == 7
        else:
            assert safe >= 1


@pytest.mark.parametrize("name", ["step_tomography", "continuous_tomography"])
def test_every_end_is_safe(lab: TwoCameras, name: str) -> None:
    def check_stored(outcome: PlanOutcome) -> None:
        for start in outcome.find("start"):
            run = open_run(start["run_directory"])
            for stream in run.streams:
                if run[stream].frame_keys:
                    run.frames(stream).read()
            run.close()

    bench = lab.bench(lambda: lab.scan(name, order=("projections",)))
    check_every_end(bench, every=6, then=check_stored)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (lambda lab: [], "camera: there is none. Give a camera, or several in a list."),
        (
            lambda lab: [lab.detail, lab.detail],
            "camera: detail, detail were given. Give each camera once, and each a name of its own.",
        ),
        (
            lambda lab: [lab.detail, "other"],
            "camera: 'other' is no camera with a frame stream. Give a device such as "
            "SimulatedBeamline().camera or a FileCamera.",
        ),
    ],
)
def test_what_is_no_set_of_cameras(lab: TwoCameras, camera: Any, message: str) -> None:
    b = lab.beamline
    with pytest.raises(ParameterError) as caught:
        lab.RE(radiography(camera(lab), b.beam, b.sample_stage, **POSITIONS))
    assert str(caught.value) == message


def test_cameras_of_different_pace_do_not_scan_continuously(lab: TwoCameras) -> None:
    slow = lab.beamline.add_camera("slow", shape=(8, 8), frame_rate=50.0)
    with pytest.raises(ParameterError) as caught:
        lab.RE(lab.scan("continuous_tomography", camera=[lab.beamline.camera, slow]))
    assert str(caught.value) == (
        "camera: camera runs at 200 Hz, slow runs at 50 Hz. In a continuous scan each frame must be "
        "at the same angle for all cameras, so set the same frame_rate."
    )
    run = lab.stored("step_tomography", camera=[lab.beamline.camera, slow])
    assert len(run.frames("projections-slow")) == 3
