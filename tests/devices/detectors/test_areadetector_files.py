"""areaDetector's writers, behind an IOC in a process of its own: their files are the run, and what goes wrong is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.utils import FailedStatus
from ophyd_async.core import init_devices
from ophyd_async.epics.adcore import ADWriterFactory

from concertino import CameraError, ParameterError
from concertino.batch import reconstruct_run
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import DetectorCamera
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import open_run, replay

from .detector_ioc import picture
from .detectors import PLANS, WRITERS, Iocs, Scans

pytestmark = pytest.mark.disturbed_by_load(
    "frames of another process must come while the axis turns"
)

SETTINGS = ReconstructionSettings(slices=(6,), center=12.0)


@pytest.mark.parametrize("writer", list(WRITERS))
def test_live_replayed_and_from_the_files_the_answer_is_the_same(
    scans: Scans, iocs: Iocs, writer: str
) -> None:
    dtype = "UInt8" if writer == "jpeg" else "UInt16"
    with iocs.detector(WRITERS[writer], scans.files, dtype=dtype, projections=24) as detector:
        camera = DetectorCamera(detector, exposure=0.001, frame_rate=40)
        live = OnlineReconstruction(SETTINGS)
        scans.session.subscribe(live)
        scans.session.subscribe(ImageWriter())
        run = scans.run(
            "continuous_tomography", camera, num_projections=24, angular_range="180 deg"
        )
        volume = live.wait(240).volume
    assert not list(run.directory.rglob("*.tif"))
    found = run.frames("projections").read()
    truth = np.stack([picture(2, i, turns=24) for i in range(24)])
    if writer == "jpeg":
        assert np.abs(found.astype(float) - truth).mean() < 12
    else:
        np.testing.assert_array_equal(found, truth)
    # What absorbs is a bar that turns: there is something to see, and in the field of view.
    assert volume.max() > 0.02
    again = OnlineReconstruction(SETTINGS)
    replay(run, [again])
    np.testing.assert_array_equal(again.wait(240).volume, volume)
    stored = open_run(reconstruct_run(run, SETTINGS).directory)
    np.testing.assert_array_equal(stored.frames("slices").read(), volume)


@pytest.mark.parametrize("plan", PLANS)
def test_each_stream_has_a_file_of_its_own(scans: Scans, iocs: Iocs, plan: str) -> None:
    with iocs.detector(WRITERS["hdf"], scans.files) as detector:
        camera = DetectorCamera(detector, exposure=0.001, frame_rate=40)
        run = scans.run(plan, camera)
    assert run.exit_status == "success"
    for capture, stream in enumerate(("darks", "flats", "projections")):
        frames = run.frames(stream).read()
        truth = np.stack([picture(capture, i) for i in range(len(frames))])
        np.testing.assert_array_equal(frames, truth)
    assert len(list(scans.files.glob("*.h5"))) == 3
    assert {row["exposed"] for row in run.ledger()} == {2, 8}


#: What the detector counted, and what its file holds, of 8 projections.
LOST: dict[str, tuple[int, int, str]] = {
    "lose": (8, 7, r"counted \d exposures and .*h5 holds 7, and neither has gone on for 1 s"),
    "full": (8, 5, r"counted \d exposures and .*h5 holds 5, and neither has gone on for 1 s"),
    "die": (0, 5, r"does not (tell|answer)"),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("fault", list(LOST))
def test_what_the_file_lacks_fails_the_run(scans: Scans, iocs: Iocs, fault: str, plan: str) -> None:
    exposed, held, reason = LOST[fault]
    told: dict[str, Any] = {"fault": fault, "fault_at": 7 if fault == "lose" else 5}
    with iocs.detector(WRITERS["hdf"], scans.files, **told) as detector:
        camera = DetectorCamera(detector, exposure=0.001, frame_rate=40, frame_timeout_s=2)
        with pytest.raises((CameraError, FailedStatus), match=reason):
            scans.run(plan, camera)
    assert not scans.beam_is_on()
    run = scans.last()
    assert run.exit_status == "fail"
    (row,) = [each for each in run.ledger() if each["stream"] == "projections"]
    if fault == "die":  # It had written and exposed what it had told of.
        held, exposed = min(held, row["frames"]), min(8, max(row["exposed"], row["frames"]))
        assert held >= 1
    assert (row["triggered"], row["exposed"], row["frames"]) == (8, exposed, held)
    assert row["dropped"] == row["exposed"] - held
    found = run.frames("projections").read()
    np.testing.assert_array_equal(found, np.stack([picture(2, i) for i in range(held)]))


def test_a_frame_that_the_writer_missed_is_named(scans: Scans, iocs: Iocs) -> None:
    with iocs.detector(WRITERS["hdf"], scans.files, fault="lose", fault_at=3) as detector:
        camera = DetectorCamera(detector, exposure=0.001, frame_rate=40)
        with pytest.raises(FailedStatus, match=r"dropped 1 frames \(numbers 3\), as the numbers"):
            scans.run("radiography", camera)
    (row,) = [each for each in scans.last().ledger() if each["stream"] == "projections"]
    assert (row["exposed"], row["frames"], row["dropped"]) == (8, 7, 1)


def test_what_is_lost_may_only_be_flagged(scans: Scans, iocs: Iocs) -> None:
    with iocs.detector(WRITERS["tiff"], scans.files, fault="lose", fault_at=7) as detector:
        camera = DetectorCamera(detector, exposure=0.001, frame_rate=40, frame_timeout_s=2)
        run = scans.run("radiography", camera, on_lost="flag")
    assert run.exit_status == "success"
    assert len(run.frames("projections")) == 7


def second_writer(paths: Any) -> Any:
    return ADWriterFactory.tiff(paths, datakey_suffix="-previews")


def test_the_frames_of_the_writer_that_was_chosen_are_the_run(scans: Scans, iocs: Iocs) -> None:
    with iocs.detector(WRITERS["hdf"], scans.files, second_writer) as detector:
        for chosen, key in (("previews", "det-previews"), ("det", "det")):
            camera = DetectorCamera(detector, exposure=0.001, frame_rate=40, data_key=chosen)
            run = scans.run("radiography", camera)
            assert run["projections"].frame_keys == (key,)
            found = run.frames("projections").read()
            assert found.shape == (8, 16, 24)
            suffixes = {
                Path(each["uri"]).suffix
                for name, each in run.documents()
                if name == "stream_resource"
            }
            assert suffixes == ({".h5"} if key == "det" else {""})
            np.testing.assert_array_equal(np.diff(found[:, 0, 0].astype(int)), 1)
        with pytest.raises(
            CameraError,
            match=r"describes det of .*, det-previews of .*\. Choose one .*data_key='det-previews'\)",
        ):
            scans.run("radiography", DetectorCamera(detector, exposure=0.001, frame_rate=40))
        other = DetectorCamera(detector, exposure=0.001, frame_rate=40, data_key="thumbnails")
        with pytest.raises(CameraError, match=r"asked for the frames 'thumbnails', and its"):
            scans.run("radiography", other)


def test_the_shape_of_its_frames_is_known_when_it_is_connected(scans: Scans, iocs: Iocs) -> None:
    with iocs.detector(WRITERS["hdf"], scans.files, shape=[20, 32]) as detector:
        camera = DetectorCamera(detector, exposure=0.001, frame_rate=40)
        assert camera.frame_shape == (0, 0)  # of one that was not connected as a camera
        with init_devices():
            camera = DetectorCamera(detector, exposure=0.001, frame_rate=40)
        assert (camera.frame_shape, camera.frame_bytes) == ((20, 32), 20 * 32 * 2)
        with pytest.raises(ParameterError, match="a frame has the columns 0 to 31"):
            scans.run("continuous_tomography", camera, rotation_axis="50 px")
