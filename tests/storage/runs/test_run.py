"""Runs read back: whole, cut short, moved, damaged."""

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from event_model import compose_run

from concertino import ParameterError, StorageError
from concertino.documents import validate_run
from concertino.storage import DocumentFile, Recorder, find_runs, open_run


@pytest.mark.parametrize("bytes_per_file", [0, 3000, 10**6])
def test_a_run_reads_back(tmp_path: Path, record_run: Any, bytes_per_file: int) -> None:
    frames = record_run(tmp_path / "scan_0001", bytes_per_file=bytes_per_file, sample="tooth")
    run = open_run(tmp_path / "scan_0001")
    assert run.streams == ("darks", "projections")
    assert run.exit_status == "success"
    assert run.metadata["sample"] == "tooth"
    assert run.damage == ""
    assert list(run.documents()) == list(DocumentFile(tmp_path / "scan_0001" / "documents.jsonl"))
    validate_run(run.documents())
    for stream, expected in frames.items():
        stored = run.frames(stream)
        assert stored.shape == expected.shape
        assert stored.dtype == expected.dtype
        np.testing.assert_array_equal(stored.read(), expected)
        assert stored.unreadable() == ()
    np.testing.assert_array_equal(run["projections"].read("angle"), np.arange(10) * 0.5)
    assert run["projections"].configuration["camera-exposure"] == 0.1
    np.testing.assert_array_equal(run.frames("projections").index["number"], np.arange(10) + 1)
    assert repr(run["projections"]) == "<StoredStream projections: 10 frames of camera, 10 events>"
    assert repr(run.frames("darks")) == "<StoredFrames darks of scan_0001: 3 × 12 × 17 uint16>"
    assert "scan_0001" in repr(run)
    assert "success: darks, projections>" in repr(run)
    run.close()


KEYS: list[Any] = [
    3, -1, np.int64(2), slice(None), slice(2, 5), slice(5, 2), slice(None, None, 3),
    slice(None, None, -1), ..., (..., 3), (3, ...), (slice(1, 4), 2), (slice(1, 4), slice(2, 5), 3),
    (2, 3, 4), [4, 1], np.arange(10) > 6, (slice(None), ..., slice(0, 2)), (),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_frames_are_indexed_as_an_array(tmp_path: Path, record_run: Any, key: Any) -> None:
    expected = record_run(tmp_path / "scan_0001", bytes_per_file=3000)["projections"]
    stored = open_run(tmp_path / "scan_0001").frames("projections")
    np.testing.assert_array_equal(stored[key], expected[key])
    np.testing.assert_array_equal(np.asarray(stored), expected)
    np.testing.assert_array_equal(np.array(list(stored)), expected)


def test_frames_out_of_range_are_refused(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    stored = open_run(tmp_path / "scan_0001").frames("projections")
    with pytest.raises(IndexError, match="frame 10 of projections of scan_0001, which has 10"):
        stored[10]
    with pytest.raises(ParameterError, match=r"Frames 5 to 11 of projections .* it has 10"):
        stored.read(5, 11)
    with pytest.raises(
        ParameterError, match=r"the array to read them to has \(1, 2, 3\) and float64"
    ):
        stored.read(0, 1, np.zeros((1, 2, 3)))


def test_a_run_that_was_moved_is_read_where_it_is_now(tmp_path: Path, record_run: Any) -> None:
    frames = record_run(tmp_path / "beam time" / "scan_0001")
    shutil.move(tmp_path / "beam time", tmp_path / "archive")
    run = open_run(tmp_path / "archive" / "scan_0001")
    np.testing.assert_array_equal(run.frames("projections").read(), frames["projections"])


def test_a_copy_is_read_by_itself(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    shutil.copytree(tmp_path / "scan_0001", tmp_path / "copy")
    (tmp_path / "copy" / "projections" / "frame_000004.tif").unlink()
    open_run(tmp_path / "scan_0001").frames("projections").read()
    with pytest.raises(StorageError, match=f"Frame 4 of projections of scan_0001: {tmp_path}/copy"):
        open_run(tmp_path / "copy").frames("projections").read()


def test_only_frames_that_documents_describe_are_there(tmp_path: Path, record_run: Any) -> None:
    frames = record_run(tmp_path / "scan_0001", described=7, stop=False)
    run = open_run(tmp_path / "scan_0001")
    assert run.stop is None
    assert run.exit_status == "incomplete"
    assert run.reason.startswith("there is no stop document")
    np.testing.assert_array_equal(run.frames("projections").read(), frames["projections"][:7])


def test_a_record_cut_short_reads_as_far_as_it_goes(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    path = tmp_path / "scan_0001" / "documents.jsonl"
    os.truncate(path, path.stat().st_size - 200)
    run = open_run(tmp_path / "scan_0001")
    assert run.exit_status == "incomplete"
    assert "ends in the middle of a document" in run.damage
    assert run.reason == run.damage
    assert len(run.frames("projections")) == 10


def test_an_empty_record_says_so(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").touch()
    with pytest.raises(StorageError, match=r"has no document: the process .* died when it started"):
        open_run(tmp_path)


def test_a_changed_frame_is_found(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    path = tmp_path / "scan_0001" / "projections" / "frame_000006.tif"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)
    stored = open_run(tmp_path / "scan_0001").frames("projections")
    assert stored.unreadable() == (6,)
    with pytest.raises(
        StorageError,
        match=rf"Frame 6 of projections of scan_0001: {path} differs from the checksum",
    ):
        stored.read()
    whole = stored.read(verify=False)
    assert whole.shape == (10, 12, 17)
    # A checksum is that of a whole frame.
    np.testing.assert_array_equal(stored.read(5, 8, rows=slice(2, 9)), whole[5:8, 2:9])
    with pytest.raises(
        ParameterError, match=r"slice\(9, 2, None\) of projections of scan_0001 were"
    ):
        stored.read(5, 8, rows=slice(9, 2))
    stored.read(0, 6)


def test_a_shortened_file_is_named_with_its_frame(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    path = tmp_path / "scan_0001" / "projections" / "frame_000002.tif"
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(StorageError, match=f"Frame 2 of projections of scan_0001: {path}"):
        open_run(tmp_path / "scan_0001").frames("projections").read()


def test_asking_for_what_is_not_there(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    run = open_run(tmp_path / "scan_0001")
    with pytest.raises(
        StorageError, match="scan_0001 has no stream 'flats'; its streams are: darks, p"
    ):
        run["flats"]
    with pytest.raises(
        StorageError, match="frames of 'eye' were asked for; it has frames of camera"
    ):
        run.frames("darks", "eye")
    with pytest.raises(StorageError, match="no data key 'x'; it has camera, angle"):
        run["darks"].read("x")
    assert "darks" in run
    assert "flats" not in run


def test_runs_are_found_by_uid_name_scan_id_and_age(tmp_path: Path, record_run: Any) -> None:
    for number in (1, 2, 3):
        record_run(tmp_path / f"scan_{number:04d}", scan_id=number)
    raw = open_run("scan_0002", root=tmp_path)
    record_run(tmp_path / "scan_0002_reconstruction_01", scan_id=2, derived_from=raw.uid)
    assert [run.name for run in find_runs(tmp_path)] == [
        "scan_0002_reconstruction_01", "scan_0003", "scan_0002", "scan_0001",
    ]  # fmt: skip
    assert open_run(raw.uid, root=tmp_path).directory == tmp_path / "scan_0002"
    assert open_run(raw.uid[:8], root=tmp_path).uid == raw.uid
    assert open_run(2, root=tmp_path).uid == raw.uid
    assert open_run("2", root=tmp_path).uid == raw.uid
    assert open_run(-1, root=tmp_path).name == "scan_0003"
    assert open_run(-3, root=tmp_path).name == "scan_0001"
    assert [run.name for run in raw.derived] == ["scan_0002_reconstruction_01"]


def test_a_run_that_is_not_there(tmp_path: Path, record_run: Any) -> None:
    with pytest.raises(StorageError, match=f"no run 'abc' in {tmp_path}: it has no runs"):
        open_run("abc", root=tmp_path)
    record_run(tmp_path / "scan_0001")
    with pytest.raises(
        StorageError, match=r"no run 7 in .*: the newest of its 1 runs is scan_0001"
    ):
        open_run(7, root=tmp_path)
    with pytest.raises(StorageError, match=f"{tmp_path} is no run directory"):
        open_run(tmp_path)


def test_hdf5_frames_of_others_are_read(tmp_path: Path) -> None:
    images = np.arange(4 * 6 * 5, dtype="<i4").reshape(4, 6, 5)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file.create_dataset("/entry/data", data=images, chunks=(1, 6, 5), compression="gzip")
    document = {
        "mimetype": "application/x-hdf5",
        "uri": f"file://localhost{tmp_path}/frames.h5",
        "parameters": {"dataset": "/entry/data"},
    }
    _record_resource(tmp_path, document)
    np.testing.assert_array_equal(open_run(tmp_path).frames("primary").read(), images)


def test_a_mimetype_without_reader_is_named(tmp_path: Path) -> None:
    _record_resource(tmp_path, {"mimetype": "image/webp", "uri": "file://x/", "parameters": {}})
    with pytest.raises(
        StorageError, match="mimetype 'image/webp' at file://x/ cannot be read; there"
    ):
        open_run(tmp_path).frames("primary")


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    document = {"mimetype": "application/x-hdf5", "uri": "file://x/", "parameters": {}}
    _record_resource(tmp_path, document)
    with pytest.raises(StorageError, match="the parameter 'dataset' that this needs is missing"):
        open_run(tmp_path).frames("primary")


def _record_resource(directory: Path, document: dict[str, Any]) -> None:
    run = compose_run(metadata={"run_directory": str(directory)})
    key = {"source": "x", "dtype": "array", "shape": [1, 6, 5], "dtype_numpy": "<i4"}
    stream = run.compose_descriptor(
        name="primary", data_keys={"eye": {**key, "external": "STREAM:"}}
    )
    assert run.compose_stream_resource is not None
    resource = run.compose_stream_resource(data_key="eye", **document)
    datum = resource.compose_stream_datum({"start": 0, "stop": 4})
    recorder = Recorder()
    recorder("start", run.start_doc)
    recorder("descriptor", stream.descriptor_doc)
    recorder("stream_resource", resource.stream_resource_doc)
    recorder("stream_datum", {**datum, "descriptor": stream.descriptor_doc["uid"]})
    recorder("stop", run.compose_stop())
    recorder.close()
