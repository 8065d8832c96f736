"""A stored tomography as one NXtomo file: every frame, its angle and its kind."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from concertino import DocumentError, StorageError
from concertino.callbacks import ImageWriter
from concertino.cli import app
from concertino.devices import SimulatedBeamline
from concertino.plans import (
    continuous_spiral_tomography,
    continuous_tomography,
    radiography,
    resume,
    step_tomography,
)
from concertino.reconstruction import ReconstructionSettings, reconstruct
from concertino.session import Session, open_session
from concertino.simulation import Faults
from concertino.storage import StoredScan, export_nxtomo, open_run, open_scan
from tests.small_disks import mounted_disk

COMMON: dict[str, Any] = {
    "radio_position": "0 mm", "flat_position": "2 mm", "num_darks": 3, "num_flats": 4,
}  # fmt: skip


def beamline(**given: Any) -> SimulatedBeamline:
    return SimulatedBeamline(shape=(12, 24), exposure=0.002, frame_rate=100.0, **given)


def stages(b: SimulatedBeamline) -> tuple[Any, ...]:
    return b.camera, b.rotation, b.beam, b.sample_stage


def stored(session: Session, plan: Any) -> Any:
    (uid,) = session.RE(plan)
    return open_run(uid, session.directory)


@pytest.mark.parametrize("plan", [step_tomography, continuous_tomography])
def test_every_frame_with_its_kind_and_angle(tmp_path: Path, plan: Any) -> None:
    b = beamline()
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        run = stored(
            session, plan(*stages(b), num_projections=20, md={"sample": "tooth"}, **COMMON)
        )
    seen: list[tuple[int, int]] = []
    path = export_nxtomo(run, tmp_path / "tooth.nx", progress=lambda *n: seen.append(n))
    assert seen[-1] == (27, 27)
    scan = StoredScan(run)
    assert scan.tomo.pixel_size_um is not None
    with h5py.File(path) as file:
        entry = file["entry"]
        assert entry["definition"][()] == b"NXtomo"
        assert entry["sample/name"][()] == b"tooth"
        assert entry["instrument/detector/image_key"][()].tolist() == [2] * 3 + [1] * 4 + [0] * 20
        pixel = entry["instrument/detector/x_pixel_size"]
        assert (pixel[()], pixel.attrs["units"]) == (
            pytest.approx(scan.tomo.pixel_size_um / 1e6),
            "m",
        )
        assert entry["data/data"] == entry["instrument/detector/data"]
        assert entry["start_time"][()] < entry["end_time"][()]
    # As others read it: with our reader of such files, by the definition's names.
    images = open_scan(path)
    np.testing.assert_array_equal(images.projections.read(0, 20), scan.read("projections"))
    np.testing.assert_array_equal(images.darks.read(0, 3), scan.read("darks"))
    np.testing.assert_array_equal(images.flats.read(0, 4), scan.read("flats"))
    assert images.angles_deg == pytest.approx(np.rad2deg(scan.angles().all_rad()))
    again = reconstruct(
        images.projections.read(0, 20), np.deg2rad(images.angles_deg),
        darks=images.darks.read(0, 3), flats=images.flats.read(0, 4),
        settings=ReconstructionSettings(center=11.5, slices=(6,)),
    )  # fmt: skip
    truth = b.twin.phantom.slice(6, b.twin.shape, b.twin.detector.pixel_size_mm)
    assert np.corrcoef(again[0][6:18, 6:18].ravel(), truth[6:18, 6:18].ravel())[0, 1] > 0.7


def test_runs_that_are_linked_are_one_scan(tmp_path: Path) -> None:
    broken = beamline(faults=Faults(die_at=11))
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        with pytest.raises(Exception, match="died"):
            session.RE(step_tomography(*stages(broken), num_projections=20, **COMMON))
    b = beamline()
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        run = stored(
            session,
            resume("scan_0001", b.camera, b.beam, b.sample_stage, b.rotation, root=str(tmp_path)),
        )
    with h5py.File(export_nxtomo(run, tmp_path / "whole.nx")) as file:
        keys = file["entry/instrument/detector/image_key"][()]
        assert (keys == 0).sum() == 20
        angles = file["entry/sample/rotation_angle"][keys == 0]
    assert angles == pytest.approx(np.arange(20) * 9.0, abs=0.01)


def test_heights_of_a_spiral(tmp_path: Path) -> None:
    b = beamline()
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        run = stored(
            session,
            continuous_spiral_tomography(
                b.camera, b.rotation, b.vertical_stage, b.beam, b.sample_stage,
                start_position_vertical="0 mm", vertical_shift_per_tomogram="0.2 mm",
                sample_height="0.2 mm", num_projections=20, **COMMON,
            ),
        )  # fmt: skip
    with h5py.File(export_nxtomo(run, tmp_path / "spiral.nx")) as file:
        height = file["entry/sample/z_translation"]
        assert height.attrs["units"] == "m"
        keys = file["entry/instrument/detector/image_key"][()]
        times_s = run.frames("projections").index["timestamp_ns"] * 1e-9
        truth_mm = [b.vertical_stage.position_at(time_s) for time_s in times_s]
        assert height[keys == 0] == pytest.approx(np.array(truth_mm) / 1e3, abs=1e-6)


@pytest.mark.parametrize("half", [False, True])
def test_what_other_programs_look_for(tmp_path: Path, half: bool) -> None:
    b = beamline()
    plan: Any = step_tomography
    turn: dict[str, Any] = {"half_acquisition": True} if half else {"angular_range": "180 deg"}
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        run = stored(
            session,
            plan(
                *stages(b), num_projections=20, rotation_axis=5.25, **turn, **COMMON,
            ),
        )  # fmt: skip
    path = export_nxtomo(run, tmp_path / "scan.nx", energy="20000 eV", propagation_distance="12 cm")
    with h5py.File(path) as file:
        assert list(file) == ["ESRF", "entry"]  # nabu takes the first
        for entry in file.values():
            detector = entry["instrument/detector"]
            # tomoscan counts from the middle of a frame: the 24 columns have theirs at 11.5
            assert detector["x_rotation_axis_pixel_position"][()] == 5.25 - 11.5
            assert detector["distance"][()] == pytest.approx(0.12)
            assert detector["count_time"][()] == pytest.approx(0.002)
            assert detector["count_time"].shape == (27,)
            energy = entry["instrument/beam/incident_energy"]
            assert (energy[()], energy.attrs["units"]) == (pytest.approx(20), "keV")
        theirs, standard = (file[name]["instrument/detector"] for name in ("ESRF", "entry"))
        assert theirs["field_of_view"][()] == (b"Half" if half else b"Full")
        assert bool(theirs["half_acquisition"][()]) == half
        control = theirs["image_key_control"]
        assert control[()].tolist() == standard["image_key"][()].tolist()
        assert theirs["data"] == standard["data"]  # not stored twice
        pixel_m = standard["x_pixel_size"][()]
        assert file["ESRF/sample/x_pixel_size"][()] == pixel_m
        # validators accept nothing that NXtomo does not define
        assert not {"field_of_view", "half_acquisition", "image_key_control"} & set(standard)
        assert not {"x_pixel_size"} & set(file["entry/sample"])
    scan = open_scan(path)
    assert scan.projections.shape == (20, 12, 24)
    assert scan.pixel_size_um == pytest.approx(run.start["tomo"]["pixel_size_um"])


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    b = beamline()
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        run = stored(session, step_tomography(*stages(b), num_projections=4, **COMMON))
        radio = stored(
            session, radiography(b.camera, b.beam, b.sample_stage, num_projections=2, **COMMON)
        )
    (tmp_path / "there.nx").write_text("mine")
    with pytest.raises(StorageError, match=r"there\.nx is there already; choose another file, or"):
        export_nxtomo(run, tmp_path / "there.nx")
    assert (tmp_path / "there.nx").read_text() == "mine"
    export_nxtomo(run, tmp_path / "there.nx", overwrite=True)
    assert open_scan(tmp_path / "there.nx").projections.shape == (4, 12, 24)
    with pytest.raises(DocumentError):
        export_nxtomo(radio, tmp_path / "radio.nx")
    with pytest.raises(
        StorageError, match=r"scan\.nx cannot be written: .*11 frames of 576 bytes, 0 of them"
    ):
        export_nxtomo(run, tmp_path / "nowhere" / "scan.nx")


def test_a_damaged_frame_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        run = stored(session, step_tomography(*stages(beamline()), num_projections=4, **COMMON))
    frame = run.directory / "projections" / "frame_000002.tif"
    octets = bytearray(frame.read_bytes())
    octets[-9] ^= 1
    frame.write_bytes(octets)
    with pytest.raises(StorageError, match="Frame 2") as caught:
        export_nxtomo(run, tmp_path / "scan.nx")
    assert "cannot be written" not in str(caught.value)
    assert not list(tmp_path.glob("*scan.nx*"))


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    b = beamline()
    with open_session(tmp_path / "data", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        run = stored(session, step_tomography(*stages(b), num_projections=30, **COMMON))
    with mounted_disk(tmp_path / "disk", "200k") as disk:
        with pytest.raises(StorageError, match=r"scan\.nx cannot be written: .*No space left"):
            export_nxtomo(run, disk / "scan.nx")
        assert list(disk.iterdir()) == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = beamline()
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        stored(session, step_tomography(*stages(b), num_projections=4, **COMMON))
    file = tmp_path / "out.nx"
    app(["export", "last", str(file), "-d", str(tmp_path), "--quiet"], standalone_mode=False)
    assert f"file       {file}: " in capsys.readouterr().out
    assert open_scan(file).projections.shape == (4, 12, 24)
