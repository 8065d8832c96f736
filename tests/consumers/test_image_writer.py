"""The image writer: claims, durability, multi-page files, errors."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from event_model import compose_run

from concertino import FrameStreamError, ParameterError, StorageError
from concertino.callbacks import ImageWriter
from concertino.devices import Camera, SimulatedBeamline
from concertino.frames import FrameStream, subscribe
from concertino.plans import radiography
from concertino.session import Session, open_session
from concertino.storage import open_run, replay

SHAPE = (16, 24)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path, progress=False, catalog=False) as opened:
        yield opened


def scan(session: Session, projections: int = 12) -> Any:
    beamline = SimulatedBeamline(shape=SHAPE, exposure=0.0, frame_rate=0.0)
    (uid,) = session.RE(
        radiography(
            beamline.camera, beamline.beam, beamline.sample_stage,
            radio_position=0, flat_position=1, num_darks=2, num_flats=2,
            num_projections=projections, md={"sample": "foam"},
        )
    )  # fmt: skip
    return open_run(uid, session.directory)


@pytest.mark.parametrize(
    ("format", "bytes_per_file"),
    [("tiff", 0), ("tiff", 5 * 16 * 24 * 2 + 4096), ("hdf5", 0), ("zarr", 0)],
)
@pytest.mark.parametrize("durability", ["written", "synced"])
def test_every_frame_reads_back_equal(
    session: Session, format: str, bytes_per_file: int, durability: str
) -> None:
    session.subscribe(
        ImageWriter(format=format, bytes_per_file=bytes_per_file, durability=durability)
    )
    seen: list[np.ndarray[Any, Any]] = []

    class Watch(ImageWriter):
        """Keeps a copy of what came over the stream."""

        def take(self, stream: Any, subscription: Any) -> None:
            for batch in subscription:
                if stream.name == "projections":
                    seen.append(batch.frames.copy())
                subscription.acknowledge(batch.stop)

        def subscribe(self, stream: Any) -> Any:
            from concertino.frames import subscribe

            return subscribe(stream.address, name="watch")

    session.subscribe(Watch())
    run = scan(session)
    assert run.exit_status == "success"
    stored = run.frames("projections").read()
    np.testing.assert_array_equal(stored, np.concatenate(seen))
    (resource,) = [
        d for n, d in run.documents() if n == "stream_resource" and "projections" in d["uri"]
    ]
    assert resource["parameters"]["durability"] == durability
    if format != "tiff":
        return
    files = sorted((run.directory / "projections").glob("*.tif"))
    assert len(files) == 12 if bytes_per_file == 0 else 1 < len(files) < 12


def test_what_is_no_format_is_refused() -> None:
    with pytest.raises(
        ParameterError, match="format: 'gif' was given; give one of tiff, hdf5, zar"
    ):
        ImageWriter(format="gif")
    with pytest.raises(ParameterError, match="bytes_per_file: 9 was given with format 'hdf5'"):
        ImageWriter(format="hdf5", bytes_per_file=9)


def test_the_files_carry_their_metadata(session: Session) -> None:
    session.subscribe(ImageWriter())
    run = scan(session)
    with tifffile.TiffFile(run.directory / "projections" / "frame_000003.tif") as file:
        description = file.pages.first.description
    assert '"sample": "foam"' in description or '"sample":"foam"' in description
    assert run.uid in description


def test_frames_go_to_another_directory_when_told(session: Session, tmp_path: Path) -> None:
    session.subscribe(ImageWriter(directory=tmp_path / "elsewhere"))
    scan(session)
    assert len(list((tmp_path / "elsewhere" / "scan_0001" / "projections").glob("*.tif"))) == 12


def test_only_some_streams_are_stored_when_told(session: Session) -> None:
    session.subscribe(ImageWriter(streams=("projections",)))
    run = scan(session)
    assert not (run.directory / "darks").exists()
    assert len(run.frames("projections")) == 12


def test_a_second_writer_stores_an_export(session: Session, tmp_path: Path) -> None:
    session.subscribe(ImageWriter())
    session.subscribe(ImageWriter(directory=tmp_path / "copy", name="export"))
    run = scan(session)
    resources = [d for n, d in run.documents() if n == "stream_resource"]
    assert all("copy" not in d["uri"] for d in resources)
    assert len(list((tmp_path / "copy" / "scan_0001" / "projections").glob("*.tif"))) == 12


def test_without_a_writer_the_run_says_that_nothing_is_stored(session: Session) -> None:
    run = scan(session)
    assert run.exit_status == "success"
    assert not [n for n, _ in run.documents() if n in ("stream_resource", "stream_datum")]


def test_a_replay_writes_the_same_files(session: Session, tmp_path: Path) -> None:
    session.subscribe(ImageWriter())
    run = scan(session)
    replay(run, [ImageWriter(directory=tmp_path / "again")])
    for index in range(12):
        name = f"projections/frame_{index:06d}.tif"
        np.testing.assert_array_equal(
            tifffile.imread(run.directory / name),
            tifffile.imread(tmp_path / "again" / "scan_0001" / name),
        )


def test_a_slow_disk_is_not_taken_for_a_dead_writer(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def slow_sync(file: int) -> None:
        time.sleep(0.1)
        sync(file)

    monkeypatch.setattr(os, "fsync", slow_sync)
    session.subscribe(ImageWriter())
    beamline = SimulatedBeamline(shape=SHAPE)
    camera = Camera(beamline.camera.source, exposure=0.0, subscriber_timeout_s=0.5)
    (uid,) = session.RE(
        radiography(
            camera, beamline.beam, beamline.sample_stage, radio_position=0, flat_position=1,
            num_projections=8, order=["projections"],
        )
    )  # fmt: skip
    stored = open_run(uid, session.directory).frames("projections")
    assert stored.read().shape == (8, *SHAPE)


def test_a_writer_that_cannot_subscribe_lets_go_of_its_files(tmp_path: Path) -> None:
    writer = ImageWriter(format="hdf5", directory=tmp_path)
    run = compose_run()
    writer("start", run.start_doc)
    with FrameStream(shape=SHAPE, dtype=np.uint16) as frames:
        subscribe(frames.address, name=writer.name)  # Somebody has the name.
        described = run.compose_descriptor(
            name="projections",
            data_keys={
                "camera": {
                    "source": "sim", "dtype": "array", "dtype_numpy": "<u2", "shape": [1, *SHAPE],
                    "external": "STREAM:", "object_name": "camera",
                }
            },
            configuration={
                "camera": {"data": {"camera-frames": frames.address}, "timestamps": {}, "data_keys": {}}
            },
        )  # fmt: skip
        with pytest.raises(FrameStreamError, match="has a subscriber 'writer' already"):
            writer("descriptor", described.descriptor_doc)
    assert writer.stored == ()
    open_now = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [path for path in open_now if path.startswith(str(tmp_path))]


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ParameterError, match="give 'written' or 'synced'"):
        ImageWriter(durability="maybe")
    with pytest.raises(ParameterError, match="bytes_per_file: -1 was given"):
        ImageWriter(bytes_per_file=-1)


def test_a_run_without_a_directory_is_refused() -> None:
    with pytest.raises(StorageError, match="has no directory to write its frames to"):
        ImageWriter()("start", {"uid": "abc", "time": 0.0})
