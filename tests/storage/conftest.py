"""A file system small enough to be filled, runs as they are recorded, and their catalogue."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from event_model import compose_run
from numpy.typing import NDArray

from concertino.frames import frame_checksum
from concertino.storage import Catalog, Recorder, open_sink
from tests.small_disks import mounted_disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 2 MB in memory."""
    with mounted_disk(tmp_path / "small", "2m") as disk:
        yield disk


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Open the catalogue of a data directory."""
    with Catalog.open(tmp_path) as opened:
        yield opened


class RecordRun(Protocol):
    """Record a run of darks and projections, as the RunEngine and an image writer would."""

    def __call__(
        self,
        directory: Path,
        *,
        projections: NDArray[Any] = ...,
        bytes_per_file: int = ...,
        format: str = ...,
        described: int | None = ...,
        stop: bool = ...,
        interval_s: float = ...,
        **md: Any,
    ) -> dict[str, NDArray[Any]]: ...


@pytest.fixture
def record_run() -> RecordRun:
    """Return the function that records a run; it returns the frames by stream."""

    def record(
        directory: Path,
        *,
        projections: NDArray[Any] | None = None,
        bytes_per_file: int = 0,
        format: str = "tiff",
        described: int | None = None,
        stop: bool = True,
        interval_s: float = 0.001,
        **md: Any,
    ) -> dict[str, NDArray[Any]]:
        generator = np.random.default_rng(3)
        frames = {
            "darks": generator.integers(0, 99, (3, 12, 17)).astype("<u2"),
            "projections": (
                generator.integers(0, 2**16, (10, 12, 17)).astype("<u2")
                if projections is None
                else projections
            ),
        }
        metadata = {"scan_id": 1, "scan_name": directory.name, "plan_name": "radiography"}
        metadata |= {"run_directory": str(directory), **md}
        run = compose_run(metadata=metadata)
        recorder = Recorder()
        recorder("start", run.start_doc)
        for name, images in frames.items():
            _record_stream(
                recorder,
                run,
                directory / name,
                images,
                bytes_per_file,
                format,
                described,
                interval_s,
            )
        if stop:
            recorder("stop", run.compose_stop())
        recorder.close()
        return frames

    return record


def _record_stream(
    recorder: Recorder,
    run: Any,
    directory: Path,
    images: NDArray[Any],
    bytes_per_file: int,
    format: str,
    described: int | None,
    interval_s: float,
) -> None:
    shape = images.shape[1:]
    configuration = {
        "data": {"camera-frames": "tcp://127.0.0.1:9/gone", "camera-exposure": 0.1},
        "timestamps": {"camera-frames": 0.0, "camera-exposure": 0.0},
        "data_keys": {
            "camera-frames": {"source": "sim", "dtype": "string", "shape": []},
            "camera-exposure": {"source": "sim", "dtype": "number", "shape": []},
        },
    }
    stream = run.compose_descriptor(
        name=directory.name,
        data_keys={
            "camera": {
                "source": "sim",
                "dtype": "array",
                "shape": [1, *shape],
                "dtype_numpy": images.dtype.str,
                "external": "STREAM:",
                "object_name": "camera",
            },
            "angle": {"source": "sim", "dtype": "number", "shape": [], "object_name": "rotation"},
        },
        configuration={"camera": configuration},
        object_keys={"camera": ["camera"], "rotation": ["angle"]},
    )
    recorder("descriptor", stream.descriptor_doc)
    sink = open_sink(
        directory, shape=shape, dtype=images.dtype, bytes_per_file=bytes_per_file, format=format
    )
    begun_ns = int(stream.descriptor_doc["time"] * 1e9)
    for start in range(0, len(images), 4):
        batch = images[start : start + 4]
        numbers = np.arange(start, start + len(batch))
        checksums = np.array(
            [frame_checksum(np.ascontiguousarray(image)) for image in batch], dtype=np.uint64
        )
        times = begun_ns + (numbers * interval_s * 1e9).astype(np.int64)
        sink.write(batch, start, checksums, times, numbers + 1)
    claim = sink.claim_parameters()
    sink.close()
    resource = run.compose_stream_resource(data_key="camera", **claim)
    recorder("stream_resource", resource.stream_resource_doc)
    last = len(images) if described is None else min(described, len(images))
    for start in range(0, last, 3):
        stop = min(start + 3, last)
        recorder(
            "stream_datum",
            {
                **resource.compose_stream_datum({"start": start, "stop": stop}),
                "descriptor": stream.descriptor_doc["uid"],
                "seq_nums": {"start": start + 1, "stop": stop + 1},
            },
        )
        for i in range(start, stop):
            event = stream.compose_event(
                data={"angle": i * 0.5}, timestamps={"angle": 0.0}, filled={}
            )
            recorder("event", event)
