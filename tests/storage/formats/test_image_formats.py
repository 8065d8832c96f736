"""Image formats: the contract on each, and what others' programs make of them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from concertino import ParameterError, StorageError
from concertino.storage import (
    ImageAxes,
    ImageAxis,
    ImageFormat,
    ImageSink,
    ImageStream,
    image_formats,
    open_images,
    open_sink,
    register_image_format,
)
from concertino.testing import ImageFormatContract

METADATA = {"run": "abc", "sample": "Zähne 骨", "pixel_size_um": 0.65}
SLICES = ImageAxes(
    ImageAxis("z", "um", 13.0, 1.3),
    ImageAxis("y", "um", -3.9, 0.65),
    ImageAxis("x", "um", -5.2, 0.65),
)


class TestTiff(ImageFormatContract):
    format = "tiff"


class TestHdf5(ImageFormatContract):
    format = "hdf5"


class TestZarr(ImageFormatContract):
    format = "zarr"


def frames_of(count: int, dtype: str = "<f4") -> Any:
    return np.random.default_rng(1).random((count, 12, 17)).astype(dtype)


def stored(directory: Path, name: str, axes: ImageAxes | None = SLICES) -> Any:
    frames = frames_of(5)
    sink = open_sink(
        directory / "slices", shape=(12, 17), dtype="<f4", format=name, metadata=METADATA, axes=axes
    )
    sink.write(frames[:2], 0)
    sink.write(frames[2:], 2)
    sink.close()
    return frames


def test_hdf5_is_a_nexus_data_group(tmp_path: Path) -> None:
    frames = stored(tmp_path, "hdf5")
    with h5py.File(tmp_path / "slices" / "slices.h5") as file:
        # As a program finds the data that a NeXus file shows by default.
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        assert (entry.attrs["NX_class"], data.attrs["NX_class"]) == ("NXentry", "NXdata")
        signal = data[data.attrs["signal"]]
        np.testing.assert_array_equal(signal[:], frames)
        assert signal.chunks == (1, 12, 17)
        assert list(data.attrs["axes"]) == ["z", "y", "x"]
        for number, name in enumerate("zyx"):
            assert data.attrs[f"{name}_indices"] == number
            assert data[name].attrs["units"] == "um"
            assert data[name].shape == (signal.shape[number],)
        np.testing.assert_allclose(data["z"], 13 + 1.3 * np.arange(5))
        np.testing.assert_allclose(data["x"], -5.2 + 0.65 * np.arange(17))
        assert entry["about"].attrs["sample"] == "Zähne 骨"


def test_hdf5_slices_are_opened_as_images(tmp_path: Path) -> None:
    frames = stored(tmp_path, "hdf5")
    with open_images(tmp_path / "slices" / "slices.h5") as images:
        np.testing.assert_array_equal(images.read(), frames)


def test_a_growing_hdf5_file_is_read_by_others(tmp_path: Path) -> None:
    frames = frames_of(6)
    sink = open_sink(tmp_path / "s", shape=(12, 17), dtype="<f4", format="hdf5")
    code = (
        "import h5py, sys; f = h5py.File(sys.argv[1], swmr=True); d = f['/entry/data/data'];"
        "print(d.shape[0], float(d[-1].sum()))"
    )
    for last in (2, 6):
        sink.write(frames[sink.stored : last], sink.stored)
        command = [sys.executable, "-c", code, str(tmp_path / "s" / "s.h5")]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        count, total = printed.split()
        assert int(count) == last
        assert float(total) == pytest.approx(float(frames[last - 1].sum()), rel=1e-5)
    sink.close()


def test_zarr_is_an_ome_image(tmp_path: Path) -> None:
    frames = stored(tmp_path, "zarr")
    group = zarr.open_group(tmp_path / "slices" / "slices.ome.zarr", mode="r")
    ome: Any = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert image["axes"] == [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"
    ]
    (level,) = image["datasets"]
    scale, translation = level["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [1.3, 0.65, 0.65]}
    assert translation == {"type": "translation", "translation": [13.0, -3.9, -5.2]}
    array: Any = group[level["path"]]
    np.testing.assert_array_equal(array[:], frames)
    assert array.chunks == (1, 12, 17)
    assert array.metadata.dimension_names == ("z", "y", "x")
    about: Any = group.attrs["concertino"]
    assert about["sample"] == "Zähne 骨"


def test_positions_that_are_not_equally_spaced(tmp_path: Path) -> None:
    rows = np.array([0.0, 1.0, 5.0, 6.0, 7.0])
    axes = ImageAxes(ImageAxis.at("z", "um", rows), *list(SLICES)[1:])
    stored(tmp_path / "h", "hdf5", axes)
    with h5py.File(tmp_path / "h" / "slices" / "slices.h5") as file:
        np.testing.assert_array_equal(file["/entry/data/z"], rows)
    stored(tmp_path / "z", "zarr", axes)
    group = zarr.open_group(tmp_path / "z" / "slices" / "slices.ome.zarr", mode="r")
    about: Any = group.attrs["concertino"]
    assert about["images"]["positions"] == rows.tolist()
    assert ImageAxis.at("z", "um", rows[:2]) == ImageAxis("z", "um", 0.0, 1.0)


def test_frames_of_a_camera_have_its_pixel_size(tmp_path: Path) -> None:
    stored(tmp_path, "hdf5", None)
    with h5py.File(tmp_path / "slices" / "slices.h5") as file:
        data = file["/entry/data"]
        assert list(data.attrs["axes"]) == ["frame", "y", "x"]
        assert "units" not in data["frame"].attrs
        np.testing.assert_allclose(data["y"], 0.65 * np.arange(12))


@pytest.mark.parametrize("name", ["hdf5", "zarr"])
def test_a_format_has_its_own_way(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=f"bytes_per_file: 5 was given for format '{name}'"):
        open_sink(tmp_path, shape=(4, 4), dtype="u2", format=name, bytes_per_file=5)


def test_what_is_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="format: 'jpeg' was given; give one of tiff, hdf5, z"):
        open_sink(tmp_path, shape=(4, 4), dtype="u2", format="jpeg")
    with pytest.raises(ParameterError, match="axes: z, x, x were given; give each another name"):
        ImageAxes(ImageAxis("z"), ImageAxis("x"), ImageAxis("x"))


@pytest.fixture
def own_format() -> Iterator[Callable[..., ImageFormat]]:
    """Register a format for the time of a test."""
    from concertino.storage.formats._image_formats import _FORMATS

    before = dict(_FORMATS)
    yield ImageFormat
    _FORMATS.clear()
    _FORMATS.update(before)


def test_a_format_of_ones_own(tmp_path: Path, own_format: Callable[..., ImageFormat]) -> None:
    def open_numbered(directory: Path, stream: ImageStream) -> ImageSink:
        return open_sink(directory / "inner", shape=stream.shape, dtype=stream.dtype)

    mine = own_format("mine", open_numbered, lambda stream: 10, {"application/x-mine": None})
    register_image_format(mine)
    assert "mine" in image_formats()
    sink = open_sink(tmp_path / "s", shape=(12, 17), dtype="<f4", format="mine", num_frames=3)
    sink.write(frames_of(3), 0)
    sink.close()
    assert len(list((tmp_path / "s" / "inner").glob("*.tif"))) == 3
    with pytest.raises(ParameterError, match="'mine' cannot be registered: mine is taken; there a"):
        register_image_format(mine)
    with pytest.raises(ParameterError, match="cannot be registered: application/x-hdf5 is taken"):
        register_image_format(own_format("other", open_numbered, len, {"application/x-hdf5": None}))


def test_a_file_that_is_no_hdf5_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"no")
    with pytest.raises(StorageError, match=r"a\.h5 cannot be read as HDF5"):
        open_images(tmp_path / "a.h5")
