"""TIFF sinks: what they write is read by other people's programs."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from concertino import ParameterError, StorageError
from concertino.storage import ImageSink, ImageStream, open_sink
from concertino.storage.formats._tiff_layout import page_layout

METADATA = {"run": "abc", "stream": "projections", "camera": "camera", "pixel_size_um": 0.65}


def some_frames(count: int, shape: tuple[int, int] = (12, 17), dtype: str = "<u2") -> NDArray[Any]:
    generator = np.random.default_rng(count)
    return generator.integers(0, 127, (count, *shape)).astype(dtype)


def write(sink: ImageSink, frames: NDArray[Any], batches: list[int] | None = None) -> None:
    start = 0
    for count in batches or [len(frames)]:
        sink.write(frames[start : start + count], start)
        start += count


def tags_of(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffTags:
    assert isinstance(page, tifffile.TiffPage)
    return page.tags


def read_pages(directory: Path) -> NDArray[Any]:
    pages = []
    for path in sorted(directory.glob("*.tif")):
        with tifffile.TiffFile(path) as file:
            pages += [page.asarray() for page in file.pages]
    return np.array(pages)


@pytest.mark.parametrize("bytes_per_file", [0, 3000])
@pytest.mark.parametrize(
    "dtype", ["u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"]
)
def test_tifffile_reads_what_was_written(tmp_path: Path, dtype: str, bytes_per_file: int) -> None:
    frames = some_frames(7, dtype=dtype)
    with_sink = open_sink(
        tmp_path / "s",
        shape=(12, 17),
        dtype=dtype,
        bytes_per_file=bytes_per_file,
        metadata=METADATA,
    )
    write(with_sink, frames, [1, 4, 2])
    assert with_sink.stored == 7
    with_sink.close()
    result = read_pages(tmp_path / "s")
    assert result.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result, frames)


@pytest.mark.parametrize("bytes_per_file", [0, 10**6])
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
def test_pillow_reads_what_was_written(tmp_path: Path, dtype: str, bytes_per_file: int) -> None:
    frames = some_frames(3, dtype=dtype)
    sink = open_sink(tmp_path / "s", shape=(12, 17), dtype=dtype, bytes_per_file=bytes_per_file)
    write(sink, frames)
    sink.close()
    read = []
    for path in sorted((tmp_path / "s").glob("*.tif")):
        with Image.open(path) as image:
            for page in range(getattr(image, "n_frames", 1)):
                image.seek(page)
                read.append(np.asarray(image))
    np.testing.assert_array_equal(np.array(read), frames)


@pytest.mark.parametrize("bytes_per_file", [0, 10**6])
def test_each_image_carries_its_metadata(tmp_path: Path, bytes_per_file: int) -> None:
    sink = open_sink(
        tmp_path / "s",
        shape=(12, 17),
        dtype="<u2",
        bytes_per_file=bytes_per_file,
        metadata={**METADATA, "sample": "Zähne 骨"},
    )
    write(sink, some_frames(12), [5, 7])
    sink.close()
    descriptions = []
    for path in sorted((tmp_path / "s").glob("*.tif")):
        with tifffile.TiffFile(path) as file:
            descriptions += [
                json.loads(tags_of(page)["ImageDescription"].value) for page in file.pages
            ]
            numerator, denominator = tags_of(file.pages[0])["XResolution"].value
            assert tags_of(file.pages[0])["ResolutionUnit"].value == 3
            assert 10_000 * denominator / numerator == pytest.approx(0.65)
    assert descriptions == [{"index": i, **METADATA, "sample": "Zähne 骨"} for i in range(12)]


def test_files_roll_over_at_their_size(tmp_path: Path) -> None:
    frames = some_frames(23)
    sink = open_sink(tmp_path / "s", shape=(12, 17), dtype="<u2", bytes_per_file=4000)
    write(sink, frames, [2, 9, 12])
    pages = sink.claim_parameters()["parameters"]["chunk_shape"][0]
    sink.close()
    files = sorted((tmp_path / "s").iterdir())
    assert [file.name for file in files] == [f"frames_{i:06d}.tif" for i in range(-(-23 // pages))]
    assert all(file.stat().st_size <= 4000 for file in files)
    np.testing.assert_array_equal(read_pages(tmp_path / "s"), frames)


def test_a_file_smaller_than_an_image_takes_one(tmp_path: Path) -> None:
    frames = some_frames(3)
    sink = open_sink(tmp_path / "s", shape=(12, 17), dtype="<u2", bytes_per_file=10)
    write(sink, frames)
    sink.close()
    assert len(list((tmp_path / "s").iterdir())) == 3
    np.testing.assert_array_equal(read_pages(tmp_path / "s"), frames)


def test_bigtiff_only_when_4_gib_can_be_exceeded() -> None:
    stream = ImageStream((1024, 1024), "u2")
    assert not page_layout(stream, pages=2000).big
    assert page_layout(stream, pages=2048).big


def test_bigtiff_is_read_too(tmp_path: Path) -> None:
    frames = some_frames(5)
    sink = open_sink(
        tmp_path / "s", shape=(12, 17), dtype="<u2", bytes_per_file=2**33, metadata=METADATA
    )
    write(sink, frames, [3, 2])
    sink.close()
    with tifffile.TiffFile(tmp_path / "s" / "frames_000000.tif") as file:
        assert file.is_bigtiff
        assert json.loads(tags_of(file.pages[4])["ImageDescription"].value)["index"] == 4
    np.testing.assert_array_equal(read_pages(tmp_path / "s"), frames)
    with Image.open(tmp_path / "s" / "frames_000000.tif") as image:
        image.seek(3)
        np.testing.assert_array_equal(np.asarray(image), frames[3])


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    dtype=st.sampled_from(["u1", "<u2", "<f4"]),
    batches=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    bytes_per_file=st.sampled_from([0, 1, 2000, 10**6, 2**33]),
)
def test_any_shape_and_any_batches(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    dtype: str,
    batches: list[int],
    bytes_per_file: int,
) -> None:
    directory = tmp_path_factory.mktemp("any")
    frames = some_frames(sum(batches), (height, width), dtype)
    sink = open_sink(
        directory / "s", shape=(height, width), dtype=dtype, bytes_per_file=bytes_per_file
    )
    for count, start in zip(batches, itertools.accumulate([0, *batches]), strict=False):
        sink.write(frames[start : start + count], start)
        # a whole file at every moment
        np.testing.assert_array_equal(read_pages(directory / "s"), frames[: start + count])
    sink.close()


def test_frames_in_another_memory_layout(tmp_path: Path) -> None:
    frames = some_frames(8, (20, 40))
    odd = frames.astype(">u2")[::2, 3:15, 2:36:2]
    for name, bytes_per_file in (("single", 0), ("pages", 10**6)):
        sink = open_sink(
            tmp_path / name, shape=(12, 17), dtype="<u2", bytes_per_file=bytes_per_file
        )
        sink.write(odd, 0)
        sink.close()
        np.testing.assert_array_equal(read_pages(tmp_path / name), odd)


@pytest.mark.parametrize("bytes_per_file", [0, 10**6])
def test_sync_and_close(tmp_path: Path, bytes_per_file: int) -> None:
    sink = open_sink(tmp_path / "s", shape=(12, 17), dtype="<u2", bytes_per_file=bytes_per_file)
    sink.sync()
    frames = some_frames(6)
    for start in (0, 2, 4):
        numbers = np.arange(start, start + 2)
        sink.write(
            frames[start : start + 2], start, numbers.astype(np.uint64), numbers * 10, numbers + 1
        )
        sink.sync()
    sink.close()
    sink.close()
    index = np.fromfile(
        tmp_path / "s" / "frames.index",
        dtype=[("timestamp_ns", "<i8"), ("number", "<i8"), ("checksum", "<u8")],
    )
    np.testing.assert_array_equal(index["checksum"], np.arange(6))
    np.testing.assert_array_equal(index["timestamp_ns"], np.arange(6) * 10)
    np.testing.assert_array_equal(index["number"], np.arange(6) + 1)


def test_many_files_are_synced_at_once(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "s", shape=(12, 17), dtype="<u2")
    write(sink, some_frames(40))
    sink.sync()
    sink.close()


@pytest.mark.parametrize("bytes_per_file", [0, 10**6])
def test_a_full_disk_keeps_every_frame_that_it_counts(
    small_disk: Path, bytes_per_file: int
) -> None:
    frames = some_frames(64, (128, 256))  # 64 kB each
    sink = open_sink(small_disk / "s", shape=(128, 256), dtype="<u2", bytes_per_file=bytes_per_file)
    with pytest.raises(
        StorageError, match=r"Cannot write frame \d+ to .*\.tif: No space left"
    ) as info:
        write(sink, frames, [8] * 8)
    assert f"write frame {sink.stored} to " in str(info.value)
    assert "Free some space" in str(info.value)
    assert 20 < sink.stored < 32
    sink.close()
    np.testing.assert_array_equal(read_pages(small_disk / "s"), frames[: sink.stored])


def test_large_frames_of_a_batch_are_files_in_order(tmp_path: Path) -> None:
    frames = some_frames(12, (512, 512))
    sink = open_sink(tmp_path / "s", shape=(512, 512), dtype="<u2")
    write(sink, frames, [1, 7, 4])
    sink.sync()
    sink.close()
    sink.close()
    np.testing.assert_array_equal(read_pages(tmp_path / "s"), frames)


def test_a_full_disk_keeps_every_large_frame_that_it_counts(small_disk: Path) -> None:
    frames = some_frames(8, (512, 512))  # 512 kB each
    sink = open_sink(small_disk / "s", shape=(512, 512), dtype="<u2")
    with pytest.raises(StorageError, match=r"Cannot write frame 3 to .*000003\.tif: No space left"):
        write(sink, frames, [8])
    assert sink.stored == 3
    sink.close()
    np.testing.assert_array_equal(read_pages(small_disk / "s"), frames[:3])


def test_frames_behind_one_that_failed_are_not_kept(tmp_path: Path) -> None:
    frames = some_frames(8, (512, 512))
    sink = open_sink(tmp_path / "s", shape=(512, 512), dtype="<u2")
    other = tmp_path / "s" / "frame_000005.tif"
    other.write_bytes(b"somebody's")
    with pytest.raises(StorageError, match=r"Cannot write frame 5 to .*000005\.tif: File exists"):
        write(sink, frames, [8])
    sink.close()
    assert sink.stored == 5
    assert other.read_bytes() == b"somebody's"
    other.unlink()
    np.testing.assert_array_equal(read_pages(tmp_path / "s"), frames[:5])


def test_too_many_frames_for_the_disk_are_refused_at_once(small_disk: Path) -> None:
    with pytest.raises(StorageError, match=r"2\.1 MB are needed, 2\.1 MB are free"):
        open_sink(small_disk / "s", shape=(128, 256), dtype="<u2", num_frames=32, bytes_per_file=10)


def test_files_in_the_directory_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "frame_000000.tif").write_bytes(b"precious")
    with pytest.raises(StorageError, match="it has files already, and files are never overwritten"):
        open_sink(tmp_path, shape=(4, 4), dtype="u2")


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "s", shape=(12, 17), dtype="<u2")
    with pytest.raises(StorageError, match=r"Frame 3 came to .* where frame 0 must be next"):
        sink.write(some_frames(2), 3)
    with pytest.raises(StorageError, match=r"Frames of shape \(4, 4\) and dtype uint16 came"):
        sink.write(some_frames(1, (4, 4)), 0)
    with pytest.raises(StorageError, match=r"dtype float32 came to .* which stores"):
        sink.write(some_frames(1, dtype="<f4"), 0)
    sink.close()


def test_a_dtype_that_tiff_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="Images of dtype complex64 cannot be stored as TIFF"):
        open_sink(tmp_path / "s", shape=(4, 4), dtype="complex64")
    assert not (tmp_path / "s").exists()


def test_the_claim_says_where_and_how(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "a b", shape=(12, 17), dtype="<u2")
    assert sink.claim_parameters() == {
        "uri": f"file://localhost{tmp_path}/a%20b/",
        "mimetype": "multipart/related;type=image/tiff",
        "parameters": {
            "template": "frame_{:06d}.tif",
            "chunk_shape": [1, 12, 17],
            "join_method": "concat",
        },
    }
    sink.close()


def test_the_package_is_light() -> None:
    code = (
        "import sys, concertino.storage;"
        "print([m for m in ('h5py', 'tiled', 'databroker', 'tifffile', 'bluesky') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
