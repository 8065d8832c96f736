import os
import shutil
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from concertino import ParameterError, StorageError
from concertino.storage import open_images, open_scan, open_sink, sample_path
from concertino.storage.images._image_sources import find_tiffs, natural_sort

STACK = np.random.default_rng(1).integers(0, 60_000, (23, 7, 11)).astype(np.uint16)


def write_directory(path: Path, stack: NDArray[Any], template: str = "frame_{}.tif") -> None:
    path.mkdir()
    for i, image in enumerate(stack):
        tifffile.imwrite(path / template.format(i), image)


def make_directory(path: Path) -> str:
    write_directory(path / "files", STACK)
    return str(path / "files")


def make_pattern(path: Path) -> str:
    write_directory(path / "files", STACK)
    (path / "files" / "notes.txt").write_text("not an image")
    return str(path / "files" / "frame_*.tif")


def make_pages(path: Path) -> str:
    tifffile.imwrite(path / "pages.tif", STACK)
    return str(path / "pages.tif")


def make_page_by_page(path: Path) -> str:
    with tifffile.TiffWriter(path / "pages.tif", bigtiff=True) as writer:
        for i, image in enumerate(STACK):
            writer.write(image, contiguous=False, description=f"page {i}" * (1 + i % 3))
    return str(path / "pages.tif")


def make_big_endian(path: Path) -> str:
    tifffile.imwrite(path / "pages.tif", STACK, byteorder=">", rowsperstrip=2)
    return str(path / "pages.tif")


def make_imagej(path: Path) -> str:
    tifffile.imwrite(path / "pages.tif", STACK, imagej=True)
    return str(path / "pages.tif")


def make_one_directory_entry_for_all(path: Path) -> str:
    tifffile.imwrite(path / "pages.tif", STACK, truncate=True)
    return str(path / "pages.tif")


def make_compressed(path: Path) -> str:
    tifffile.imwrite(path / "pages.tif", STACK, compression="zlib", predictor=True)
    return str(path / "pages.tif")


def make_compressed_page_by_page(path: Path) -> str:
    with tifffile.TiffWriter(path / "pages.tif") as writer:
        for image in STACK:
            writer.write(image, contiguous=False, compression="zlib")
    return str(path / "pages.tif")


def make_tiled(path: Path) -> str:
    tifffile.imwrite(path / "pages.tif", STACK, tile=(16, 16))
    return str(path / "pages.tif")


def make_several_files_of_pages(path: Path) -> str:
    (path / "files").mkdir()
    for name, part in (("a9", STACK[:5]), ("a10", STACK[5:6]), ("a11", STACK[6:])):
        tifffile.imwrite(path / "files" / f"{name}.tiff", part)
    return str(path / "files")


def make_hdf5(path: Path) -> str:
    with h5py.File(path / "scan.h5", "w") as file:
        file["a/b"] = STACK
        file["a/mean"] = STACK.mean()
    return f"{path}/scan.h5:/a/b"


def make_chunked_hdf5(path: Path) -> str:
    with h5py.File(path / "scan.nxs", "w") as file:
        file.create_dataset("b", data=STACK, chunks=(4, 3, 11), compression="gzip", shuffle=True)
        file.create_dataset("c", data=STACK)
    return f"{path}/scan.nxs:b"


def make_big_endian_hdf5(path: Path) -> str:
    with h5py.File(path / "scan.hdf5", "w") as file:
        file.create_dataset("b", data=STACK.astype(">u2"))
    return f"{path}/scan.hdf5"


def make_hdf5_with_userblock(path: Path) -> str:
    with h5py.File(path / "scan.h5", "w", userblock_size=512) as file:
        file["b"] = STACK
    return f"{path}/scan.h5"


SOURCES = [value for name, value in sorted(globals().items()) if name.startswith("make_")]


@pytest.fixture(scope="module", params=SOURCES, ids=lambda make: make.__name__[5:])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(request.param(tmp_path_factory.mktemp("source")))


def test_every_source_gives_the_same_frames(source: str) -> None:
    with open_images(source) as images:
        assert images.shape == STACK.shape
        assert images.dtype == np.uint16
        assert images.dtype.isnative
        assert len(images) == 23
        np.testing.assert_array_equal(images.read(), STACK)
        np.testing.assert_array_equal(images[3], STACK[3])
        np.testing.assert_array_equal(images[-1], STACK[-1])
        assert images.read(4, 4).shape == (0, 7, 11)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_range_of_any_region(source: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, 22), "start")
    count = data.draw(st.none() | st.integers(0, 23 - start), "count")
    row, column = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 10))
    height, width = data.draw(st.integers(1, 7 - row)), data.draw(st.integers(1, 11 - column))
    expected = STACK[start:][:count, row : row + height, column : column + width]
    images = open_images(source, start=start, count=count, roi=(row, column, height, width))
    assert images.shape == expected.shape
    first = data.draw(st.integers(0, len(expected)), "first")
    last = data.draw(st.integers(first, len(expected)), "last")
    np.testing.assert_array_equal(images.read(first, last), expected[first:last])
    out = np.zeros((last - first, height, width), data.draw(st.sampled_from([np.uint16, np.int32])))
    assert images.read(first, last, out=out) is out
    np.testing.assert_array_equal(out, expected[first:last])
    images.close()


def test_frames_are_read_into_strided_memory(source: str) -> None:
    slots = np.zeros((4, 7, 22), np.uint16)
    open_images(source).read(2, 6, out=slots[:, :, ::2])
    np.testing.assert_array_equal(slots[:, :, ::2], STACK[2:6])
    assert not slots[:, :, 1::2].any()


def test_threads_read_at_the_same_time(source: str) -> None:
    images = open_images(source)
    wrong: list[int] = []

    def run(seed: int) -> None:
        for start in np.random.default_rng(seed).integers(0, 20, 40):
            if not np.array_equal(images.read(start, start + 3), STACK[start : start + 3]):
                wrong.append(int(start))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_files_that_begin_alike_are_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, dtype in (("d", "<u2"), ("signed", "<i2")):
        sink = open_sink(tmp_path / name, shape=STACK.shape[1:], dtype=dtype)
        sink.write((STACK % 200).astype(dtype), 0)
        sink.close()
    whole = tifffile.TiffFile
    asked: list[Path] = []

    def noting(path: Path) -> tifffile.TiffFile:
        asked.append(path)
        return whole(path)

    monkeypatch.setattr(tifffile, "TiffFile", noting)
    np.testing.assert_array_equal(open_images(tmp_path / "d").read(), STACK % 200)
    assert [path.name for path in asked] == ["frame_000000.tif"]
    # Of the same size, and other pixels: one bit of the header differs.
    shutil.copy(tmp_path / "signed" / "frame_000012.tif", tmp_path / "d" / "frame_000012.tif")
    with pytest.raises(StorageError, match=r"alike: .*frame_000012\.tif has 7x11 px of int16"):
        open_images(tmp_path / "d")
    (tmp_path / "d" / "frame_000012.tif").write_bytes(b"II*\0")
    with pytest.raises(StorageError, match=r"frame_000012\.tif cannot be read as TIFF"):
        open_images(tmp_path / "d")


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "f2", "f4", "f8"])
def test_dtypes(tmp_path: Path, dtype: str) -> None:
    stack = (STACK % 200).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stack)
    images = open_images(tmp_path / "a.tif")
    assert images.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(images.read(), stack)


def test_a_list_of_files_keeps_its_order(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", STACK)
    images = open_images([tmp_path / "d" / "frame_7.tif", str(tmp_path / "d" / "frame_2.tif")])
    np.testing.assert_array_equal(images.read(), STACK[[7, 2]])


def test_one_image_is_a_sequence_of_one(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", STACK[0])
    assert open_images(tmp_path / "one.tif").shape == (1, 7, 11)
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["image"] = STACK[0]
        file.create_dataset("packed", data=STACK[1], compression="gzip")
    np.testing.assert_array_equal(open_images(f"{tmp_path}/one.h5:image")[0], STACK[0])
    np.testing.assert_array_equal(
        open_images(tmp_path / "one.h5", dataset="packed", roi=(1, 2, 3, 4))[0], STACK[1, 1:4, 2:6]
    )


def test_numbers_in_names_count(tmp_path: Path) -> None:
    names = ["b1.tif", "a100.tif", "a20.tif", "a3.tif", "a.tif", "a3b2.tif", "a3b10.tif"]
    ordered = [p.name for p in natural_sort(Path(n) for n in names)]
    assert ordered == ["a.tif", "a3.tif", "a3b2.tif", "a3b10.tif", "a20.tif", "a100.tif", "b1.tif"]


def test_magic_characters_in_a_real_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan[1].tif", STACK)
    assert find_tiffs(tmp_path / "scan[1].tif") == [tmp_path / "scan[1].tif"]


# --- scans


def write_nxtomo(path: Path, keys: list[int], angles: NDArray[Any], unit: str = "degree") -> None:
    with h5py.File(path, "w") as file:
        entry = file.create_group("scan/tomo")
        entry["definition"] = "NXtomo"
        detector = entry.create_group("instrument/detector")
        detector.create_dataset("data", data=STACK[: len(keys)], chunks=(1, 7, 11))
        detector["image_key"] = keys
        entry["sample/rotation_angle"] = angles
        entry["sample/rotation_angle"].attrs["units"] = unit


KEYS = [2, 2, 1, 0, 0, 1, 0, 3, 0, 2]


def test_frames_for_alignment_are_no_projections(tmp_path: Path) -> None:
    path = tmp_path / "n.nxs"
    write_nxtomo(path, KEYS, np.radians(np.arange(10.0)) * 1e3, "mrad")
    with h5py.File(path, "a") as file:
        control = np.array(KEYS)
        control[[6, 8]] = -1  # as ESRF's writers note them; in image_key they are projections
        file["scan/tomo/instrument/detector/image_key_control"] = control
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.projections.read(), STACK[[3, 4]])
    assert scan.angles_deg == pytest.approx([3, 4])
    assert scan.darks.shape[0] == 3


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"instrument/detector/x_pixel_size": (6.5e-6, "m")}, 6.5),
        ({"instrument/detector/x_pixel_size": (6.5, "um"), "sample/x_pixel_size": (650, "nm")}, 0.65),
        ({"sample/x_pixel_size": (1e-6, "m"), "sample/y_pixel_size": (2e-6, "m")}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_pixel_of_an_nxtomo(
    tmp_path: Path, sizes: dict[str, tuple[float, str]], expected: float | None
) -> None:
    path = tmp_path / "n.nxs"
    write_nxtomo(path, KEYS, np.arange(10.0))
    with h5py.File(path, "a") as file:
        for name, (value, unit) in sizes.items():
            file[f"scan/tomo/{name}"] = value
            file[f"scan/tomo/{name}"].attrs["units"] = unit
    assert open_scan(path).pixel_size_um == (expected and pytest.approx(expected))


def test_units_that_fit_no_angle_are_told(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "n.nxs", KEYS, np.arange(10.0), "mm")
    with pytest.raises(
        StorageError, match=r"rotation_angle is in 'mm', which cannot be read as deg"
    ):
        open_scan(tmp_path / "n.nxs")


def test_nxtomo_is_sorted_by_image_key(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "n.nxs", KEYS, np.arange(10.0))
    scan = open_scan(tmp_path / "n.nxs")
    assert scan.layout == "NXtomo"
    np.testing.assert_array_equal(scan.darks.read(), STACK[[0, 1, 9]])
    np.testing.assert_array_equal(scan.flats.read(), STACK[[2, 5]])
    np.testing.assert_array_equal(scan.projections.read(), STACK[[3, 4, 6, 8]])
    np.testing.assert_array_equal(scan.projections.read(1, 3), STACK[[4, 6]])
    assert scan.angles_deg is not None
    np.testing.assert_array_equal(scan.angles_deg, [3, 4, 6, 8])
    np.testing.assert_array_equal(open_images(tmp_path / "n.nxs").read(), STACK[[3, 4, 6, 8]])
    later = open_scan(tmp_path / "n.nxs", start=2, roi=(1, 2, 3, 4))
    np.testing.assert_array_equal(later.projections.read(), STACK[[6, 8], 1:4, 2:6])
    assert later.darks.shape == (3, 3, 4)
    assert later.angles_deg is not None
    np.testing.assert_array_equal(later.angles_deg, [6, 8])
    scan.darks.close()
    np.testing.assert_array_equal(scan.flats[0], STACK[2])  # each kind has its own file


def test_angles_in_radians(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "n.nxs", [0, 0], np.array([0, np.pi]), "rad")
    angles = open_scan(tmp_path / "n.nxs").angles_deg
    assert angles is not None
    np.testing.assert_allclose(angles, [0, 180])


def test_dxfile_without_darks_and_angles(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["exchange/data"] = STACK
        file["exchange/data_white"] = STACK[:2]
    scan = open_scan(tmp_path / "d.h5", start=20)
    assert scan.layout == "DXfile"
    assert (len(scan.darks), len(scan.flats), len(scan.projections)) == (0, 2, 3)
    assert scan.darks.shape == (0, 7, 11)
    assert scan.angles_deg is None
    np.testing.assert_array_equal(open_images(tmp_path / "d.h5")[0], STACK[0])


def test_the_sample_is_a_scan_of_a_tooth() -> None:
    assert sample_path().stat().st_size < 1_000_000
    assert "UChicago Argonne" in (sample_path().parent / "LICENSE.tooth.txt").read_text()
    scan = open_scan(sample_path())
    assert scan.projections.shape == (181, 2, 416)
    assert scan.flats.shape == scan.darks.shape == (10, 2, 416)
    assert scan.angles_deg is not None
    assert scan.angles_deg[0] == 0
    assert scan.angles_deg[-1] == pytest.approx(179.005, abs=1e-3)
    darks, flats = scan.darks.read().mean(axis=0), scan.flats.read().mean(axis=0)
    lines = -np.log((scan.projections.read() - darks) / (flats - darks))
    # the whole tooth: it attenuates in the middle, and never at the borders
    assert lines[:, :, 200:230].mean() > 1
    assert abs(lines[:, :, :30].mean()) < 0.05
    assert abs(lines[:, :, -30:].mean()) < 0.05


def test_the_sample_is_a_lossless_crop() -> None:
    whole = Path(__file__).parents[4] / "shared/data/tooth.h5"
    if not whole.exists():  # a clone elsewhere: then the checks above are all there is
        return
    for kind in ("data", "data_white", "data_dark"):
        expected = open_images(f"{whole}:/exchange/{kind}", roi=(0, 80, 2, 416))
        np.testing.assert_array_equal(
            open_images(f"{sample_path()}:/exchange/{kind}").read(), expected.read()
        )


# --- errors


def test_errors_for_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"No file fits the pattern '.*x_\*\.tif' \(seen from"):
        open_images(str(tmp_path / "x_*.tif"))
    with pytest.raises(StorageError, match=r"The directory .* has no TIFF files"):
        open_images(tmp_path)
    with pytest.raises(StorageError, match=r"There is no file or directory .*gone\.tif"):
        open_images(tmp_path / "gone.tif")
    with pytest.raises(StorageError, match=r"There is no file .*gone\.h5"):
        open_images(f"{tmp_path}/gone.h5:/a")
    with pytest.raises(StorageError, match=r"A list of images was given that has no files"):
        open_images([])


def test_errors_for_data_sets(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["one"] = STACK
        file["sub/two"] = STACK[:2]
        file["four"] = np.zeros((2, 2, 2, 2))
        file["none"] = np.zeros((0, 2, 2))
        file["text"] = "hello"
    with pytest.raises(
        StorageError,
        match=r"has no data set '/three'; the images in it are: .*/one \(23, 7, 11\), /sub/two",
    ):
        open_images(f"{path}:/three")
    with pytest.raises(StorageError, match=r"more than one stack of images. Say which.*a\.h5:NAME"):
        open_images(path)
    with pytest.raises(
        StorageError, match=r"a\.h5:four has shape \(2, 2, 2, 2\) .*give a data set of numbers"
    ):
        open_images(path, dataset="four")
    with pytest.raises(StorageError, match=r"a\.h5:none is empty: its shape is \(0, 2, 2\)"):
        open_images(path, dataset="none")
    with pytest.raises(StorageError, match=r"has no data set 'sub'"):
        open_images(path, dataset="sub")
    with pytest.raises(
        StorageError, match=r"neither a DXfile .* nor an NXtomo.*/one \(23, 7, 11\)"
    ):
        open_scan(path)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["text"] = "hello"
    with pytest.raises(StorageError, match=r"b\.h5 has no stack of images in it"):
        open_images(tmp_path / "b.h5")


def test_errors_for_images_that_are_not_alike(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", STACK[:3])
    tifffile.imwrite(tmp_path / "d" / "frame_3.tif", STACK[0, :5])
    with pytest.raises(
        StorageError,
        match=r"frame_0\.tif has 7x11 px of uint16, .*frame_3\.tif has 5x11 px of uint16",
    ):
        open_images(tmp_path / "d")
    tifffile.imwrite(tmp_path / "d" / "frame_3.tif", STACK[0].astype(np.float32))
    with pytest.raises(StorageError, match=r"frame_3\.tif has 7x11 px of float32"):
        open_images(tmp_path / "d")
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((7, 11, 3), np.uint8), photometric="rgb")
    with pytest.raises(StorageError, match=r"images with axes YXS .*only grey ones"):
        open_images(tmp_path / "rgb.tif")
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as writer:
        writer.write(STACK[0], contiguous=False)
        writer.write(STACK[0, :3], contiguous=False)
    with pytest.raises(
        StorageError, match=r"not alike: the first is 7x11 px of uint16, page 1 has shape \(3, 11\)"
    ):
        open_images(tmp_path / "mixed.tif")
    # One page of many, whose bytes are as many: a key frame would take it for the same.
    with tifffile.TiffWriter(tmp_path / "odd.tif") as writer:
        for number in range(23):
            image = STACK[number].T if number == 11 else STACK[number]
            writer.write(image.view(np.int16) if number == 17 else image, contiguous=False)
    with pytest.raises(StorageError, match=r"page 11 has shape \(11, 7\)"):
        open_images(tmp_path / "odd.tif")


def test_errors_for_regions_and_ranges(tmp_path: Path) -> None:
    source = make_pages(tmp_path)
    for roi in [(0, 8, 7, 4), (-1, 0, 2, 2), (0, 0, 8, 1), (0, 0, 0, 1)]:
        with pytest.raises(
            ParameterError, match=r"region of interest \(row .*does not fit in.*7x11 px"
        ):
            open_images(source, roi=roi)
    with pytest.raises(ParameterError, match=r"Start index 23 was asked for.*frames 0 to 22"):
        open_images(source, start=23)
    with pytest.raises(ParameterError, match=r"Start index -1 was asked for"):
        open_images(source, start=-1)
    with pytest.raises(ParameterError, match=r"20 frames from start index 5 on .* holds 23"):
        open_images(source, start=5, count=20)
    images = open_images(source, start=3)
    with pytest.raises(
        ParameterError, match=r"Frames 18 to 21 of .* from frame 3 on were asked for; it has 20"
    ):
        images.read(18, 21)
    with pytest.raises(ParameterError, match=r"Frames 5 to 3 of .* were asked for; it has 20"):
        images.read(5, 3)
    with pytest.raises(
        ParameterError, match=r"Frames 0 to 2 of .* have shape \(2, 7, 11\) and dtype uint16"
    ):
        images.read(0, 2, out=np.empty((2, 7, 11), np.uint8))
    with pytest.raises(IndexError, match=r"frame 20 of .* which has 20"):
        images[20]


@pytest.mark.parametrize("content", [b"", b"II*\0", b"this is a text and not an image" * 9])
def test_errors_for_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.tif").write_bytes(content)
    (tmp_path / "bad.h5").write_bytes(content)
    with pytest.raises(
        StorageError, match=r"bad\.tif cannot be read as TIFF: .*restore it from a copy"
    ):
        open_images(tmp_path / "bad.tif")
    with pytest.raises(
        StorageError, match=r"bad\.h5 cannot be read as HDF5: .*restore it from a copy"
    ):
        open_images(tmp_path / "bad.h5")


def test_errors_for_files_cut_short(tmp_path: Path) -> None:
    path = Path(make_pages(tmp_path))
    images = open_images(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StorageError, match=r"Frame \d+ of .*pages\.tif ends before its frame \d+"):
        images.read()
    np.testing.assert_array_equal(images.read(0, 5), STACK[:5])
    with pytest.raises(StorageError, match=r"pages\.tif .*(cut short|cannot be read as TIFF)"):
        open_images(path)
    tifffile.imwrite(path, STACK[0])
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(StorageError, match=r"cut short: its last image ends at byte \d+, the file"):
        open_images(path)


def test_errors_for_damaged_compressed_data(tmp_path: Path) -> None:
    path = Path(make_compressed(tmp_path))
    images = open_images(path)
    content = bytearray(path.read_bytes())
    content[-200:] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"pages\.tif cannot be read as TIFF"):
        images.read()
    source = make_chunked_hdf5(tmp_path)
    with h5py.File(tmp_path / "scan.nxs", "r") as file:
        chunk = file["b"].id.get_chunk_info(2)
    content = bytearray((tmp_path / "scan.nxs").read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    (tmp_path / "scan.nxs").write_bytes(content)
    with pytest.raises(StorageError, match=r"cannot be read from .*scan\.nxs:/b: .*damaged"):
        open_images(source).read()


def test_error_for_a_file_that_vanished(tmp_path: Path) -> None:
    images = open_images(make_directory(tmp_path))
    os.unlink(tmp_path / "files" / "frame_4.tif")
    with pytest.raises(StorageError, match=r"Frame 4 cannot be read from .*frame_4\.tif: No such"):
        images.read()


def test_errors_for_scans_that_do_not_fit(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "a.nxs", KEYS, np.arange(9.0))
    with pytest.raises(StorageError, match=r"rotation_angle has 9 values for 10 frames"):
        open_scan(tmp_path / "a.nxs")
    write_nxtomo(tmp_path / "b.nxs", [1, 2], np.arange(2.0))
    with pytest.raises(StorageError, match=r"NXtomo without projections \(image_key_control, or"):
        open_scan(tmp_path / "b.nxs")
    with h5py.File(tmp_path / "c.nxs", "w") as file:
        file["entry/definition"] = "NXtomo"
    with pytest.raises(StorageError, match=r"/entry is an NXtomo, and has no detector with data"):
        open_scan(tmp_path / "c.nxs")
