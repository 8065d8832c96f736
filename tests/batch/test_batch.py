"""Stored runs reconstructed by the command and by its function: the live answer, whole or in parts."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import distributed
import h5py
import numpy as np
import pytest
from PIL import Image

from concertino import DocumentError, ParameterError, ReconstructionError
from concertino.batch import reconstruct_run, sweep_run
from concertino.batch._parts import parts_of
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.cli import main
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.processing._scan_frames import ScanFrames
from concertino.reconstruction import Metric, ReconstructionSettings
from concertino.session import open_session
from concertino.storage import Run, open_run, replay, sample_path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tomography, its live reconstruction, and a radiography."""
    directory = tmp_path_factory.mktemp("batch")
    beamline = SimulatedBeamline(shape=(24, 64), exposure=0.002, frame_rate=200.0)
    with open_session(directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.subscribe(OnlineReconstruction())
        session.RE(
            continuous_tomography(
                beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
                radio_position=0, flat_position=20, num_darks=5, num_flats=5,
                num_projections=60, angular_range="180 deg",
            )
        )  # fmt: skip
        session.wait()
        session.RE(
            radiography(
                beamline.camera, beamline.beam, beamline.sample_stage, radio_position=0,
                flat_position=20, num_darks=1, num_flats=1, num_projections=2,
            )
        )  # fmt: skip
    return directory


@pytest.fixture
def run(data: Path) -> Run:
    return open_run("scan_0001", data)


def live_slices(data: Path) -> Any:
    return open_run("scan_0001_reconstruction_01", data).frames("slices").read()


def test_the_slices_are_those_of_the_scan(run: Run, data: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = reconstruct_run(
        run, directory=tmp_path, progress=lambda done, total: seen.append((done, total))
    )
    stored = open_run(result.directory)
    np.testing.assert_array_equal(stored.frames("slices").read(), live_slices(data))
    assert stored.start["derived_from"] == run.uid
    assert stored.start["processing"]["parameters"]["center"] == result.center_px
    assert stored.start["processing"]["backend"]["name"] == "cpu"
    assert stored.exit_status == "success"
    assert (result.rows, result.parts, result.missing) == (tuple(range(24)), 1, ())
    assert seen[-1] == (70, 70)
    assert (35, 70) in seen, "all frames are read, no slice is computed"
    assert seen == sorted(seen)


def test_slices_of_an_axis_that_nobody_knows_are_not_stored_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    b = SimulatedBeamline(shape=(8, 32), exposure=0.002, frame_rate=200.0)
    with open_session(tmp_path / "data", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        (uid,) = session.RE(
            step_tomography(
                b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=20,
                num_darks=1, num_flats=1, num_projections=8, angular_range="90 deg",
            )
        )  # fmt: skip
    run = open_run(uid, tmp_path / "data")
    assert reconstruct_run(run, directory=tmp_path).confidence == 0
    assert "at column 15.50, with a confidence of 0.00 only. Give the column" in caplog.text
    caplog.clear()
    reconstruct_run(run, ReconstructionSettings(center=15.5), directory=tmp_path)
    assert "confidence" not in caplog.text


def test_parts_find_one_axis_for_all(run: Run, tmp_path: Path) -> None:
    limited = in_three(run, ReconstructionSettings())
    result = reconstruct_run(run, limited, directory=tmp_path)
    assert result.parts == 3  # of whole groups of slices
    assert result.center_px == pytest.approx(
        reconstruct_run(run, directory=tmp_path).center_px, abs=0.1
    )


WAYS: dict[str, Callable[[Run, ReconstructionSettings, Path], Path]] = {
    "replay": lambda run, settings, path: replayed(run, settings, path),
    "batch": lambda run, settings, path: reconstruct_run(run, settings, directory=path).directory,
    "parts": lambda run, settings, path: in_parts(run, settings, path),
    "one thread": lambda run, settings, path: (
        reconstruct_run(run, settings.updated(threads=1), directory=path).directory
    ),
    "dask": lambda run, settings, path: on_dask(run, settings, path),
}


@pytest.mark.parametrize("filter_name", ["ramp", "hann"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_bits_of_the_live_slices(
    data: Path, run: Run, tmp_path: Path, way: str, filter_name: str
) -> None:
    if filter_name == "ramp":  # the axis is found by each
        expected, settings = live_slices(data), ReconstructionSettings()
    else:
        settings = ReconstructionSettings(
            slices=tuple(range(1, 24)), filter="hann", center=31.7, stripe_removal="normalisation"
        )
        expected = slices(replayed(run, settings, tmp_path))
    np.testing.assert_array_equal(slices(WAYS[way](run, settings, tmp_path)), expected)


def slices(directory: Path) -> Any:
    return open_run(directory).frames("slices").read()


def replayed(run: Run, settings: ReconstructionSettings, directory: Path) -> Path:
    reconstruction = OnlineReconstruction(settings, directory=directory)
    replay(run, reconstruction)
    reconstruction.wait(240)
    assert reconstruction.run_directory is not None
    reconstruction.settle()
    return reconstruction.run_directory


def in_parts(run: Run, settings: ReconstructionSettings, directory: Path) -> Path:
    result = reconstruct_run(run, in_three(run, settings), directory=directory)
    assert result.parts == 3
    return result.directory


def in_three(run: Run, settings: ReconstructionSettings) -> ReconstructionSettings:
    """Give settings with so little memory that all rows take three parts."""
    scan = ScanFrames(run)
    for gib in np.geomspace(1e-4, 1, 200):
        limited = settings.updated(memory_gib=float(gib))
        with contextlib.suppress(ReconstructionError):
            # a process that is larger than the limit leaves a quarter of it
            if len(parts_of(scan, limited, int(gib * 2**28))) == 3:
                return limited
    raise AssertionError("no such limit")


def on_dask(run: Run, settings: ReconstructionSettings, directory: Path) -> Path:
    """Reconstruct on two workers that are threads of this process: as good as others for the bits."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, silence_logs=50,
            dashboard_address="127.0.0.1:0",
        ) as here,
        distributed.Client(here) as client,
    ):  # fmt: skip
        result = reconstruct_run(run, settings, directory=directory, scheduler=client)
    assert result.parts == 2
    return result.directory


@pytest.mark.parametrize(
    ("output", "file"), [("hdf5", "slices.h5"), ("zarr", "slices.ome.zarr/0/zarr.json")]
)
def test_slices_in_other_formats_are_the_same(
    run: Run, data: Path, tmp_path: Path, output: str, file: str
) -> None:
    settings = ReconstructionSettings(slices=(3, 4, 9), center=31.5)
    expected = slices(reconstruct_run(run, settings, directory=tmp_path).directory)
    online = OnlineReconstruction(settings, output=output, directory=tmp_path)
    replay(run, online)
    online.wait(240)
    online.settle()
    main_quietly("reconstruct", "1", "-d", str(data), "--rows", "3,4,9", "--set", "center=31.5",
                 "--output", str(tmp_path), "--format", output)  # fmt: skip
    made = [tmp_path / f"scan_0001_reconstruction_{number:02d}" for number in (2, 3)]
    for directory in made:
        assert (directory / "slices" / file).is_file()
        np.testing.assert_array_equal(slices(directory), expected)
        configuration = open_run(directory)["slices"].configuration
        pixel_um = run.start["tomo"]["pixel_size_um"]
        assert configuration["slices-axis_values"] == [row * pixel_um for row in (3, 4, 9)]
    seen: list[str] = []
    report = replay(open_run(made[1]), lambda name, document: seen.append(name))
    assert report.frames == {"slices": 3}


def test_slices_know_where_they_are(run: Run, tmp_path: Path) -> None:
    settings = ReconstructionSettings(region=(2, 24, 2), center=31.5, x_region=(-16.0, 16.0, 0.5))
    result = reconstruct_run(run, settings, output="hdf5", directory=tmp_path)
    pixel_um = run.start["tomo"]["pixel_size_um"]
    with h5py.File(result.directory / "slices" / "slices.h5") as file:
        data = file["/entry/data"]
        np.testing.assert_allclose(data["z"], pixel_um * np.arange(2, 24, 2))
        np.testing.assert_allclose(data["x"], pixel_um * np.arange(-16, 16, 0.5))
        np.testing.assert_allclose(data["y"], pixel_um * (np.arange(64) - 31.5))
        assert {data[name].attrs["units"] for name in "xyz"} == {"um"}
        assert data["data"].attrs["units"] == "1/px"  # of the detector, whatever the step in x
        detector_pixel = file["/entry/about/detector_pixel"]
        assert (detector_pixel[()], detector_pixel.attrs["units"]) == (pixel_um, "um")
    phase = settings.updated(
        phase_method="ctf", energy_kev=20, propagation_distance_mm=100, pixel_size_um=pixel_um
    )
    for asked, unit in ((phase, "rad/px"), (settings.updated(filter="none"), None)):
        result = reconstruct_run(run, asked, output="hdf5", directory=tmp_path)
        with h5py.File(result.directory / "slices" / "slices.h5") as file:
            assert file["/entry/data/data"].attrs.get("units") == unit


def test_what_is_no_format_is_refused_before_anything_is_read(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="output: 'png' was given; give one of tiff, hdf5, z"):
        reconstruct_run(run, output="png", directory=tmp_path)
    with pytest.raises(ParameterError, match="output: 'png' was given"):
        OnlineReconstruction(output="png")
    assert not list(tmp_path.iterdir())


def test_a_radiography_is_no_tomography(data: Path, tmp_path: Path) -> None:
    with pytest.raises((DocumentError, ReconstructionError)):
        reconstruct_run(open_run("scan_0002", data), directory=tmp_path)


def test_the_command_reconstructs_rows(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"filter": "hann"}))
    main_quietly("reconstruct", "1", "-d", str(data), "--rows", "4:12:4", "--settings", str(settings),
                 "--set", "center=31.5", "--output", str(tmp_path))  # fmt: skip
    printed = capsys.readouterr().out
    assert "axis       column 31.50 px, given" in printed
    stored = open_run(tmp_path / "scan_0001_reconstruction_01")
    assert stored.frames("slices").shape == (2, 64, 64)
    parameters = stored.start["processing"]["parameters"]
    assert (parameters["filter"], parameters["slices"]) == ("hann", [4, 8])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "center"], "write NAME=VALUE"),
        (["--set", "centre=3"], "centre"),
        (["--rows", "a"], "rows: 'a' is unknown"),
        (["--settings", "nowhere.json"], "nowhere.json cannot be read as JSON"),
    ],
)
def test_the_command_refuses_in_a_sentence(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["reconstruct", "1", "-d", str(data), *arguments])
    assert caught.value.code == 1
    assert message in capsys.readouterr().err


def test_sweeping_the_tooth_finds_its_axis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beamline = SimulatedBeamline(shape=(8, 8))
    camera = FileCamera(sample_path())
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter(bytes_per_file=2**24))
        source: Any = camera.source
        counts = {kind: len(images) for kind, images in source.images.items()}
        session.RE(
            step_tomography(
                camera, beamline.rotation, beamline.beam, beamline.sample_stage,
                radio_position=0, flat_position=1, num_darks=counts["darks"],
                num_flats=counts["flats"], num_projections=counts["projections"],
                angular_range="180 deg",
            )
        )  # fmt: skip
    main_quietly(
        "sweep", "1", "-d", str(tmp_path), "--parameter", "center", "--region", "212,220,0.5"
    )
    printed = capsys.readouterr().out
    directory = tmp_path / "scan_0001_sweep_center_01"
    stored = open_run(directory)
    best = stored.start["processing"]["parameters"]["best"]
    assert best == pytest.approx(215.87, abs=0.5)
    assert f"center = {best:.6g}, confidence" in printed
    assert stored.frames("slices").shape[0] == 16
    with (
        Image.open(directory / "metric.png") as metric,
        Image.open(directory / "best.png") as image,
        Image.open(directory / "strip.png") as strip,
    ):
        assert metric.size == (840, 480)
        assert strip.size == (7 * 360, 408)
        assert image.size[::-1] == stored.frames("slices").shape[1:]


@pytest.mark.parametrize(
    ("parameter", "metric"),
    [("axis_angle_y", "std"), ("axis_angle_x", "tenengrad"), ("detector_angle_y", "std")],
)
def test_a_sweep_of_the_geometry_finds_that_the_twin_is_upright(
    run: Run, parameter: str, metric: Metric, tmp_path: Path
) -> None:
    found = sweep_run(run, parameter, (-0.02, 0.03, 0.01), metric=metric, directory=tmp_path)
    assert found.estimate.value == pytest.approx(0, abs=1e-3)


def test_heights_between_rows_lie_between_those_of_the_rows(run: Run, tmp_path: Path) -> None:
    settings = ReconstructionSettings(center=31.5, axis_angle_y=1e-6, region=(5.5, 12.5, 0.5))
    result = reconstruct_run(run, settings, directory=tmp_path)
    assert result.rows == tuple(np.arange(5.5, 12.5, 0.5))
    halves = open_run(result.directory).frames("slices").read()
    whole = reconstruct_run(run, settings.updated(region=(6.0, 13.0, 1.0)), directory=tmp_path)
    rows = open_run(whole.directory).frames("slices").read()
    np.testing.assert_allclose(halves[1::2], rows, atol=1e-5)
    # between two rows the back projection is linear
    np.testing.assert_allclose(halves[2::2], (rows[:-1] + rows[1:]) / 2, atol=1e-4)


def test_a_sweep_refuses_in_a_sentence(run: Run) -> None:
    with pytest.raises(ParameterError, match="the rows 0 to 23"):
        sweep_run(run, "center", (30, 33, 1), row=24)
    with pytest.raises(ParameterError, match="holds no value"):
        sweep_run(run, "center", (30, 30, 1))
    with pytest.raises(ParameterError, match="nothing"):
        sweep_run(run, "nothing", (30, 33, 1))
    for region in (20, float("inf"), 1), (20, 30, float("nan")), (float("-inf"), 30, 1):
        with pytest.raises(ParameterError, match="has no end; give a finite from, to and step"):
            sweep_run(run, "center", region)
    with pytest.raises(ReconstructionError, match=r"slices of .* are allowed\. Give a longer step"):
        sweep_run(run, "center", (20, 30, 1e-9))


def test_a_best_value_at_the_edge_is_told_and_its_slices_are_stored(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = sweep_run(run, "center", (2, 6, 1), directory=tmp_path)
    assert found.estimate.value in (2, 5)
    assert found.estimate.confidence == 0
    assert "so the best value is not in the region" in caplog.text
    assert len(open_run(found.directory).frames("slices").read()) == 4


def main_quietly(*arguments: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--quiet"])
    assert caught.value.code == 0
