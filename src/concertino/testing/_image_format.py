"""What every format of stored images must do: the contract suite to inherit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from event_model import compose_run
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from concertino import ParameterError, StorageError
from concertino.frames import frame_checksum
from concertino.storage import (
    ImageAxes,
    ImageAxis,
    ImageSink,
    Recorder,
    StoredFrames,
    image_formats,
    open_run,
    open_sink,
    replay,
)

SHAPE = (12, 17)
METADATA = {"run": "abc", "stream": "projections", "camera": "camera", "pixel_size_um": 0.65}

_WRITER = """
import sys
import numpy as np
{imports}
from concertino.storage import open_sink
sink = open_sink(sys.argv[1], shape=(64, 64), dtype="<u2", format={format!r})
frames = np.arange(5, dtype="<u2")[:, None, None] + np.zeros((5, 64, 64), "<u2")
start = 0
while True:
    sink.write(frames + np.uint16(start), start)
    start = sink.stored
    print(start, flush=True)
"""


class ImageFormatContract:
    """Tests of an image format, to be inherited for one's own.

    A subclass says the name of the format, which is registered (`register_image_format`), and, if a process
    has to import a module for that, its name.

    Examples
    --------
    >>> from concertino.testing import ImageFormatContract
    >>> class TestMyFormat(ImageFormatContract):
    ...     format = "mine"
    ...     module = "my_beamline.formats"
    """

    format = ""
    module = ""
    dtypes: tuple[str, ...] = ("u1", "<u2", ">u2", "<i4", ">i4", "<f4", ">f4", "<f8", ">f8")
    """Of the pixels that it stores."""

    @pytest.fixture
    def open_it(self, tmp_path: Path) -> Iterator[Callable[..., ImageSink]]:
        """Give a function that opens a sink, which is closed after the test."""
        sinks: list[ImageSink] = []

        def open_it(directory: Path | None = None, **options: Any) -> ImageSink:
            options.setdefault("shape", SHAPE)
            options.setdefault("dtype", "<u2")
            sinks.append(open_sink(directory or tmp_path / "s", format=self.format, **options))
            return sinks[-1]

        yield open_it
        for sink in sinks:
            with suppress(StorageError):
                sink.close()

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """Mount a file system of 2 MB in memory."""
        directory = tmp_path / "small"
        directory.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)]
        mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"mounting a file system takes privileges: {mounted.stderr.strip()}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)

    def test_it_is_registered(self) -> None:
        """Its name is known."""
        assert self.format in image_formats()

    def test_what_was_written_is_read(
        self, open_it: Callable[..., ImageSink], tmp_path: Path
    ) -> None:
        """Every dtype comes back equal, in batches of any size, with time, number and checksum."""
        for dtype in self.dtypes:
            frames = some_frames(7, dtype=dtype)
            sink = open_it(
                tmp_path / dtype.replace(">", "big-").strip("<") / "projections", dtype=dtype
            )
            write_with_index(sink, frames, [1, 4, 2])
            assert sink.stored == 7
            sink.close()
            sink.close()
            stored = read_back(sink, 7)
            assert stored.dtype == np.dtype(dtype).newbyteorder("=")
            np.testing.assert_array_equal(stored.read(), frames)
            np.testing.assert_array_equal(stored.read(3, 6), frames[3:6])
            rows = slice(1, frames.shape[1] - 1)
            np.testing.assert_array_equal(stored.read(3, 6, rows=rows), frames[3:6, rows])
            np.testing.assert_array_equal(stored.index["timestamp_ns"], np.arange(7) * 10)
            assert stored.unreadable() == ()

    def test_any_shape_and_any_batches(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """What a call of `write` took is read at once, while the sink is open."""

        @settings(max_examples=8, deadline=None)
        @given(
            height=st.integers(1, 9),
            width=st.integers(1, 9),
            batches=st.lists(st.integers(1, 6), min_size=1, max_size=4),
        )
        def check(height: int, width: int, batches: list[int]) -> None:
            frames = some_frames(sum(batches), (height, width))
            directory = tmp_path_factory.mktemp("any") / "s"
            sink = open_sink(directory, shape=(height, width), dtype="<u2", format=self.format)
            start = 0
            for count in batches:
                sink.write(frames[start : start + count], start)
                start += count
                np.testing.assert_array_equal(read_back(sink, start).read(), frames[:start])
            sink.close()
            np.testing.assert_array_equal(read_back(sink, start).read(), frames)

        check()

    def test_other_memory_layouts_are_taken(self, open_it: Callable[..., ImageSink]) -> None:
        """Frames may be views, and of the other byte order."""
        odd = some_frames(8, (20, 40)).astype(">u2")[::2, 3:15, 2:36:2]
        sink = open_it()
        sink.write(odd, 0)
        sink.close()
        np.testing.assert_array_equal(read_back(sink, 4).read(), odd)

    def test_wrong_frames_are_refused(self, open_it: Callable[..., ImageSink]) -> None:
        """A frame out of turn, of another shape or dtype is not stored."""
        sink = open_it()
        with pytest.raises(StorageError, match=r"Frame 3 came to .* where frame 0 must be next"):
            sink.write(some_frames(2), 3)
        with pytest.raises(StorageError, match=r"Frames of shape \(4, 4\) and dtype uint16 came"):
            sink.write(some_frames(1, (4, 4)), 0)
        with pytest.raises(StorageError, match=r"dtype float32 came to .* which stores"):
            sink.write(some_frames(1, dtype="<f4"), 0)
        assert sink.stored == 0

    def test_a_dtype_that_it_has_not_is_refused(
        self, open_it: Callable[..., ImageSink], tmp_path: Path
    ) -> None:
        """Before anything is made."""
        with pytest.raises(ParameterError, match="Images of dtype complex64 cannot be stored"):
            open_it(dtype="complex64")
        assert not (tmp_path / "s").exists()

    def test_files_are_not_overwritten(
        self, open_it: Callable[..., ImageSink], tmp_path: Path
    ) -> None:
        """A directory that has files is refused."""
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "precious").write_bytes(b"precious")
        with pytest.raises(StorageError, match="it has files already, and files are never"):
            open_it()
        assert [path.name for path in (tmp_path / "s").iterdir()] == ["precious"]

    def test_sync(self, open_it: Callable[..., ImageSink]) -> None:
        """It may be called at any time, also before the first frame."""
        sink = open_it()
        sink.sync()
        for start in range(0, 40, 2):
            sink.write(some_frames(2), start)
        sink.sync()
        sink.sync()
        sink.close()

    def test_a_killed_writer_leaves_what_it_acknowledged(self, tmp_path: Path) -> None:
        """After ``kill -9`` at any moment all frames that were written are read."""
        script = _WRITER.format(
            format=self.format, imports=f"import {self.module}" if self.module else ""
        )
        writer = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = 0
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged >= 40:
                break
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        writer.wait()
        writer.stdout.close()
        # Another sink tells where and how: it is a function of the directory's name.
        other = open_sink(tmp_path / "other" / "s", shape=(64, 64), dtype="<u2", format=self.format)
        other.close()
        claim = other.claim_parameters()
        moved = {**claim, "uri": claim["uri"].replace(str(tmp_path / "other"), str(tmp_path))}
        stored = stored_frames(moved, acknowledged, (64, 64), "<u2", tmp_path / "documents")
        read = stored.read()
        for index in range(acknowledged):
            assert (read[index] == index).all(), index

    def test_a_full_disk_keeps_every_frame_that_it_counts(
        self, open_it: Callable[..., ImageSink], small_disk: Path
    ) -> None:
        """The error names the frame and the file; those before it are read; closing works."""
        frames = some_frames(64, (128, 256))  # 64 kB each
        sink = open_it(small_disk / "s", shape=(128, 256))
        for start in range(0, 24, 8):
            with suppress(StorageError):
                sink.write(frames[start : start + 8], start)
        with pytest.raises(
            StorageError, match=r"Cannot write frame \d+ to .*: No space left"
        ) as info:
            sink.write(frames[sink.stored : sink.stored + 16], sink.stored)
        assert f"write frame {sink.stored} to {small_disk}" in str(info.value)
        assert "Free some space" in str(info.value)
        assert 20 < sink.stored < 32
        sink.close()
        np.testing.assert_array_equal(read_back(sink, sink.stored).read(), frames[: sink.stored])

    def test_too_many_frames_for_the_disk_are_refused_at_once(
        self, open_it: Callable[..., ImageSink], small_disk: Path
    ) -> None:
        """When their number is announced."""
        with pytest.raises(StorageError, match=r"MB are needed, 2\.1 MB are free"):
            open_it(small_disk / "s", shape=(128, 256), num_frames=33)

    def test_a_damaged_frame_is_named(self, open_it: Callable[..., ImageSink]) -> None:
        """Reading compares with the checksums."""
        frames = some_frames(6)
        sink = open_it()
        write_with_index(sink, frames, [6])
        sink.close()
        needle = frames[4].tobytes()
        (path,) = (
            path
            for path in sink.directory.rglob("*")
            if path.is_file() and needle in path.read_bytes()
        )
        path.write_bytes(path.read_bytes().replace(needle, bytes(len(needle))))
        stored = read_back(sink, 6)
        with pytest.raises(StorageError, match=r"Frame 4 of .*: .*differs from the checksum"):
            stored.read()
        np.testing.assert_array_equal(stored.read(0, 4), frames[:4])
        assert stored.unreadable() == (4,)

    def test_missing_files_are_named(
        self, open_it: Callable[..., ImageSink], tmp_path: Path
    ) -> None:
        """A folder that was moved away is an error with its name."""
        sink = open_it()
        write_with_index(sink, some_frames(3), [3])
        sink.close()
        stored = read_back(sink, 3)
        sink.directory.rename(tmp_path / "elsewhere")
        with pytest.raises(StorageError, match=str(tmp_path)):
            stored.read()

    def test_a_replay_gives_the_same_frames(
        self, open_it: Callable[..., ImageSink], tmp_path: Path
    ) -> None:
        """The documents that a claim makes are replayed."""
        frames = some_frames(9)
        sink = open_it(tmp_path / "run" / "projections")
        write_with_index(sink, frames, [9])
        sink.close()
        stored_frames(sink.claim_parameters(), 9, SHAPE, "<u2", tmp_path / "run")
        report = replay(open_run(tmp_path / "run"), lambda name, document: None)
        assert report.frames == {"projections": 9}

    def test_axes_and_metadata_are_taken(self, open_it: Callable[..., ImageSink]) -> None:
        """Also of slices whose rows are not equally spaced."""
        axes = ImageAxes(
            ImageAxis.at("z", "um", np.array([0.0, 2.0, 10.0])),
            ImageAxis("y", "um", -3.0, 0.65),
            ImageAxis("x", "um", -5.0, 0.65),
        )
        sink = open_it(dtype="<f4", axes=axes, metadata={**METADATA, "sample": "Zähne 骨"})
        frames = some_frames(3, dtype="<f4")
        sink.write(frames, 0)
        sink.close()
        np.testing.assert_array_equal(read_back(sink, 3).read(), frames)


def some_frames(count: int, shape: tuple[int, int] = SHAPE, dtype: str = "<u2") -> NDArray[Any]:
    """Return frames that differ."""
    generator = np.random.default_rng(count)
    return generator.integers(0, 127, (count, *shape)).astype(dtype)


def write_with_index(sink: ImageSink, frames: NDArray[Any], batches: list[int]) -> None:
    """Write frames in batches, with checksum, time and number."""
    start = 0
    for count in batches:
        batch = frames[start : start + count]
        numbers = np.arange(start, start + count)
        checksums = [frame_checksum(np.ascontiguousarray(frame)) for frame in batch]
        sink.write(batch, start, np.array(checksums, np.uint64), numbers * 10, numbers + 1)
        start += count


def read_back(sink: ImageSink, count: int) -> StoredFrames:
    """Return the frames of a sink as a stored run gives them."""
    with TemporaryDirectory() as documents:  # the disk of the frames may be full
        return stored_frames(
            sink.claim_parameters(), count, sink.shape, sink.dtype.str, Path(documents) / "run"
        )


def stored_frames(
    claim: Any, count: int, shape: tuple[int, int], dtype: str, directory: Path
) -> StoredFrames:
    """Record a run whose frames a claim names, and open it."""
    run = compose_run(metadata={"run_directory": str(directory), "scan_name": directory.name})
    recorder = Recorder()
    recorder("start", run.start_doc)
    key = {
        "source": "test", "dtype": "array", "shape": [1, *shape], "dtype_numpy": dtype,
        "external": "STREAM:", "object_name": "camera",
    }  # fmt: skip
    stream = run.compose_descriptor(
        name="projections", data_keys={"camera": key}, object_keys={"camera": ["camera"]},
        configuration={"camera": {"data": {}, "timestamps": {}, "data_keys": {}}},
    )  # fmt: skip
    recorder("descriptor", stream.descriptor_doc)
    assert run.compose_stream_resource is not None
    resource = run.compose_stream_resource(data_key="camera", **claim)
    recorder("stream_resource", resource.stream_resource_doc)
    if count:
        datum = resource.compose_stream_datum({"start": 0, "stop": count})
        datum |= {
            "descriptor": stream.descriptor_doc["uid"],
            "seq_nums": {"start": 1, "stop": count + 1},
        }
        recorder("stream_datum", datum)
    recorder("stop", run.compose_stop())
    recorder.close()
    return open_run(directory).frames("projections")
