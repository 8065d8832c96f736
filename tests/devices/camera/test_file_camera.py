"""The file camera: what it serves, and what it says when it cannot."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from bluesky import RunEngine

from concertino import CameraError, StorageError
from concertino.callbacks import ImageWriter
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.session import open_session
from concertino.storage import StoredScan, open_run, open_scan, run_angles, sample_path


def stack(directory: Path, name: str, count: int, shape: tuple[int, int] = (6, 8)) -> Path:
    folder = directory / name
    folder.mkdir()
    for index in range(count):
        tifffile.imwrite(folder / f"{index}.tif", np.full(shape, index, np.uint16))
    return folder


def scan(run_engine: RunEngine, camera: FileCamera, directory: Path, **changes: Any) -> Path:
    devices = SimulatedBeamline(shape=(8, 8))
    run_engine(
        radiography(
            camera, devices.beam, devices.sample_stage,
            radio_position=0, flat_position=1,
            **({"num_darks": 2, "num_flats": 2, "num_projections": 3} | changes),
        ),
    )  # fmt: skip
    (run,) = directory.iterdir()
    return run


@pytest.fixture
def run_engine(tmp_path: Path) -> RunEngine:
    engine = RunEngine({})
    engine.subscribe(ImageWriter(directory=tmp_path / "out"))
    return engine


def test_each_kind_comes_from_its_own_files(run_engine: RunEngine, tmp_path: Path) -> None:
    camera = FileCamera(
        darks=stack(tmp_path, "d", 3),
        flats=stack(tmp_path, "f", 12),
        projections=stack(tmp_path, "p", 12),
        start=9,
        roi=(1, 2, 3, 4),
    )
    run = scan(run_engine, camera, tmp_path / "out", num_flats=12)
    values = [
        int(tifffile.imread(run / "projections" / f"frame_{index:06d}.tif")[0, 0])
        for index in range(3)
    ]
    assert values == [9, 10, 11]
    assert tifffile.imread(run / "flats" / "frame_000010.tif").tolist() == [[10] * 4] * 3


def test_a_whole_scan_comes_from_one_file(run_engine: RunEngine, tmp_path: Path) -> None:
    run = scan(run_engine, FileCamera(sample_path()), tmp_path / "out")
    stored = tifffile.imread(run / "projections" / "frame_000002.tif")
    np.testing.assert_array_equal(stored, open_scan(sample_path()).projections[2])


def test_the_frame_rate_is_kept(run_engine: RunEngine, tmp_path: Path) -> None:
    import time

    started_s = time.monotonic()
    scan(run_engine, FileCamera(sample_path(), frame_rate=50.0), tmp_path / "out",
         num_projections=40)  # fmt: skip
    assert time.monotonic() - started_s > 44 / 50


def test_loop_begins_again(run_engine: RunEngine, tmp_path: Path) -> None:
    camera = FileCamera(projections=stack(tmp_path, "p", 2), loop=True)
    run = scan(run_engine, camera, tmp_path / "out", num_projections=5)
    values = [
        int(tifffile.imread(run / "projections" / f"frame_{index:06d}.tif")[0, 0])
        for index in range(5)
    ]
    assert values == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "was given no files; give path, or darks, flats and projections"),
        ({"projections": "nothing/*.tif"}, "nothing"),
        ({"path": "nothing.h5"}, "nothing.h5"),
    ],
)
def test_missing_files_are_refused(files: dict[str, Any], message: str) -> None:
    with pytest.raises((CameraError, StorageError), match=message):
        FileCamera(**files)


def test_kinds_of_different_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError) as caught:
        FileCamera(
            darks=stack(tmp_path, "d", 1, (6, 8)), projections=stack(tmp_path, "p", 1, (6, 9))
        )
    assert "was given projections of shape (6, 9) and type uint16, but darks of shape (6, 8)" in (
        str(caught.value)
    )


def test_more_frames_than_there_are_are_refused(run_engine: RunEngine, tmp_path: Path) -> None:
    camera = FileCamera(projections=stack(tmp_path, "p", 2))
    with pytest.raises(CameraError) as caught:
        scan(run_engine, camera, tmp_path / "out")
    assert "asked for 3 frames of projections; its files hold 2. Ask for fewer" in (
        str(caught.value)
    )


def test_a_kind_without_files_is_refused(run_engine: RunEngine, tmp_path: Path) -> None:
    camera = FileCamera(flats=stack(tmp_path, "f", 2), projections=stack(tmp_path, "p", 3))
    with pytest.raises(CameraError) as caught:
        scan(run_engine, camera, tmp_path / "out")
    assert "asked for darks; it has files for flats, projections only" in (str(caught.value))


def test_past_the_end_it_fails_clearly(tmp_path: Path) -> None:
    from concertino.devices import CameraSettings
    from concertino.frames import FrameRequest

    source = FileCamera(projections=stack(tmp_path, "p", 2)).source
    source.prepare(FrameRequest(None), CameraSettings(0.0, 0.0))
    source.start()
    source.grab(np.empty((2, 6, 8), np.uint16))
    with pytest.raises(CameraError, match=r"past the end of its files: frame 2 .*they hold 2"):
        source.grab(np.empty((1, 6, 8), np.uint16))


@pytest.mark.parametrize("plan", [step_tomography, continuous_tomography])
def test_what_the_file_tells_of_the_scan_goes_on(tmp_path: Path, plan: Any) -> None:
    # Both ends are taken, and the step in the middle is wide: no rule of a plan makes these angles.
    angles = np.r_[np.linspace(0, 80, 12), np.linspace(100, 180, 12)]
    path, keys = tmp_path / "theirs.nx", [2, 2, 1, 1, *[0] * 24, -1]
    with h5py.File(path, "w") as file:
        file["entry/definition"] = "NXtomo"
        detector = file.create_group("entry/instrument/detector")
        detector["data"] = np.full((29, 8, 32), 500, np.uint16)
        detector["image_key"], detector["image_key_control"] = np.maximum(keys, 0), keys
        detector["x_pixel_size"] = detector["y_pixel_size"] = 6.5e-6
        file["entry/sample/rotation_angle"] = np.r_[[0.0] * 4, angles, 90]
    b = SimulatedBeamline(shape=(8, 32))
    with open_session(tmp_path / "data", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        (uid,) = session.RE(
            plan(
                FileCamera(path, frame_rate=50), b.rotation, b.beam, b.sample_stage,
                radio_position="0 mm", flat_position="1 mm", num_darks=2, num_flats=2,
                num_projections=24,
            )
        )  # fmt: skip
    run = open_run(uid, tmp_path / "data")
    assert run_angles(run).angles_deg == pytest.approx(angles)
    assert run_angles(run).source == "file"
    assert run.start["tomo"]["pixel_size_um"] == pytest.approx(6.5)
    assert np.rad2deg(StoredScan(run).angles().all_rad()) == pytest.approx(angles)


def test_the_angles_follow_the_start_index(tmp_path: Path) -> None:
    scan = open_scan(sample_path())
    assert scan.angles_deg is not None
    b = SimulatedBeamline(shape=(8, 8))
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        (uid,) = session.RE(
            step_tomography(
                FileCamera(sample_path(), start=20), b.rotation, b.beam, b.sample_stage,
                radio_position=0, flat_position=1, num_darks=2, num_flats=2, num_projections=10,
            )
        )  # fmt: skip
    angles = run_angles(open_run(uid, tmp_path)).angles_deg
    assert angles == pytest.approx(scan.angles_deg[20:30])
