"""The recorder and the file it writes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import Msg, RunEngine
from event_model import compose_run

from concertino import DocumentError, StorageError
from concertino.storage import DocumentFile, Recorder, RunDirectories, find_runs

KILLED = """
import os, signal, sys
from event_model import compose_run
from concertino.storage import Recorder
run = compose_run(metadata={"run_directory": sys.argv[1]})
recorder = Recorder()
recorder("start", run.start_doc)
keys = {"x": {"source": "sim", "dtype": "number", "shape": []}}
stream = run.compose_descriptor(name="primary", data_keys=keys)
recorder("descriptor", stream.descriptor_doc)
for i in range(100):
    recorder("event", stream.compose_event(data={"x": i}, timestamps={"x": 0.0}))
os.kill(os.getpid(), signal.SIGKILL)
"""


def documents_of_a_run(directory: Path, **md: Any) -> list[tuple[str, dict[str, Any]]]:
    run = compose_run(metadata={"run_directory": str(directory), **md})
    keys = {"x": {"source": "sim", "dtype": "number", "shape": []}}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    events = [stream.compose_event(data={"x": i}, timestamps={"x": 1.5}) for i in range(3)]
    documents: list[tuple[str, Any]] = [
        ("start", run.start_doc),
        ("descriptor", stream.descriptor_doc),
        *(("event", event) for event in events),
        ("stop", run.compose_stop()),
    ]
    return documents


def test_what_was_recorded_reads_back_equal(tmp_path: Path) -> None:
    documents = documents_of_a_run(tmp_path / "scan_0001")
    recorder = Recorder()
    for name, document in documents:
        recorder(name, document)
    recorder.close()
    record = DocumentFile(tmp_path / "scan_0001" / "documents.jsonl")
    assert list(record) == documents
    assert record.damage == ""
    assert [path.name for path in (tmp_path / "scan_0001").iterdir()] == ["documents.jsonl"]


def test_interleaved_runs_keep_apart(tmp_path: Path) -> None:
    directories = RunDirectories(tmp_path)
    runs = [documents_of_a_run(directories.new().path, n=n) for n in range(3)]
    recorder = Recorder()
    for step in zip(*runs, strict=True):
        for name, document in step:
            recorder(name, document)
    recorder.close()
    for number, documents in enumerate(runs, 1):
        assert list(DocumentFile(tmp_path / f"scan_000{number}" / "documents.jsonl")) == documents


def test_values_that_json_has_not(tmp_path: Path) -> None:
    from concertino.units import q

    recorder = Recorder()
    values: dict[Any, Any] = {5: "key"}
    recorder(
        "start",
        {
            **values,
            "uid": "1",
            "time": 0.0,
            "run_directory": tmp_path,
            "array": np.arange(3, dtype=np.uint16),
            "strided": np.arange(6).reshape(2, 3).T,
            "number": np.float32(0.5),
            "nan": float("nan"),
            "inf": [float("inf"), None],
            "huge": 2**80,
            "length": 3 * q.mm,
        },
    )
    recorder.close()
    ((_, start),) = DocumentFile(tmp_path / "documents.jsonl")
    assert start["array"] == [0, 1, 2]
    assert start["strided"] == [[0, 3], [1, 4], [2, 5]]
    assert start["number"] == 0.5
    assert np.isnan(start["nan"])
    assert start["inf"] == [float("inf"), None]
    assert start["huge"] == 2**80
    assert start["length"] == {"value": 3, "unit": "mm"}
    assert start["5"] == "key"


def test_a_killed_process_leaves_every_document_it_was_given(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    record = DocumentFile(tmp_path / "documents.jsonl")
    documents = list(record)
    assert [name for name, _ in documents] == ["start", "descriptor", *["event"] * 100]
    assert documents[-1][1]["data"] == {"x": 99}
    assert record.damage == ""


def test_a_line_cut_short_is_left_out_and_told(tmp_path: Path) -> None:
    documents = documents_of_a_run(tmp_path)
    recorder = Recorder()
    for name, document in documents:
        recorder(name, document)
    recorder.close()
    path = tmp_path / "documents.jsonl"
    os.truncate(path, path.stat().st_size - 10)
    record = DocumentFile(path)
    assert list(record) == documents[:-1]
    assert record.damage == (
        f"line 6 of {path} ends in the middle of a document: the process that recorded this run was "
        "killed while it wrote; the 5 documents before it are complete"
    )


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_text('["start", {"uid": "1"}]\nrubbish\n["stop", {}]\n')
    with pytest.raises(StorageError, match=f"Line 2 of {path} is no document .*restore it"):
        list(DocumentFile(path))


def test_a_directory_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=f"{tmp_path} is no run directory: it has no documents.jsonl"
    ):
        list(DocumentFile(tmp_path / "documents.jsonl"))


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    recorder = Recorder()
    for name, document in documents_of_a_run(tmp_path):
        recorder(name, document)
    name, document = documents_of_a_run(tmp_path)[0]
    with pytest.raises(
        StorageError, match=r"documents\.jsonl: File exists\. Files are never overwritten"
    ):
        recorder(name, document)
    recorder.close()


def test_a_start_without_a_directory_is_an_error() -> None:
    recorder = Recorder()
    with pytest.raises(DocumentError, match=r"Run abc cannot be recorded: .* no 'run_directory'"):
        recorder("start", {"uid": "abc", "time": 0.0})


def test_a_document_of_a_run_that_was_not_seen_is_an_error(tmp_path: Path) -> None:
    recorder = Recorder()
    name, document = documents_of_a_run(tmp_path)[1]
    with pytest.raises(DocumentError, match=r"run_start '.*' belongs to no open run; subscribe"):
        recorder(name, document)


def test_a_value_that_cannot_be_json_is_an_error_that_names_it(tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(DocumentError, match="object cannot be written as JSON"):
        recorder("start", {"uid": "1", "run_directory": tmp_path, "bad": object()})
    recorder.close()


def test_a_run_whose_start_cannot_be_recorded_leaves_nothing_behind(tmp_path: Path) -> None:
    engine: Any = RunEngine({})
    recorder = Recorder(RunDirectories(tmp_path))
    engine.subscribe(recorder)

    def plan() -> Iterator[Msg]:
        yield Msg("open_run", None, bad=object())
        yield Msg("close_run")

    with pytest.raises(
        DocumentError, match=r"A start document .* object cannot be written as JSON"
    ):
        engine(plan())
    assert find_runs(tmp_path) == []
    assert not list(tmp_path.rglob("documents.jsonl"))
    (uid,) = engine(count_of_nothing())
    assert [run.uid for run in find_runs(tmp_path)] == [uid]
    recorder.close()


def count_of_nothing() -> Iterator[Msg]:
    yield Msg("open_run")
    yield Msg("close_run")


def test_a_full_disk_still_takes_the_stop_document(small_disk: Path) -> None:
    documents = documents_of_a_run(small_disk / "scan_0001", exit="ç" * 1000)
    recorder = Recorder()
    for name, document in documents[:-1]:
        recorder(name, document)
    with pytest.raises(OSError, match="space"):
        (small_disk / "fill").write_bytes(bytes(2**22))
    name, stop = documents[-1]
    recorder(name, {**stop, "reason": "x" * 10_000})
    recorder.close()
    *_, (name, stop) = DocumentFile(small_disk / "scan_0001" / "documents.jsonl")
    assert name == "stop"
    assert len(stop["reason"]) == 10_000


def test_a_file_made_beforehand_is_taken_by_its_run(tmp_path: Path) -> None:
    documents = documents_of_a_run(tmp_path / "scan_0001")
    recorder = Recorder()
    recorder.prepare(tmp_path / "scan_0001")
    for name, document in documents:
        recorder(name, document)
    recorder.close()
    assert list(DocumentFile(tmp_path / "scan_0001" / "documents.jsonl")) == documents


def test_a_file_made_for_a_run_that_never_started_goes(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.prepare(tmp_path / "scan_0001")
    for name, document in documents_of_a_run(tmp_path / "scan_0002"):
        recorder(name, document)
    recorder.prepare(tmp_path / "scan_0003")
    recorder.prepare(tmp_path / "scan_0004")
    (tmp_path / "scan_0004" / "notes.txt").write_text("tooth, first try")
    recorder.close()
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    # Nothing of such a run is left, and nothing of others is taken with it.
    assert left == ["scan_0002", "scan_0002/documents.jsonl", "scan_0004", "scan_0004/notes.txt"]


def test_a_record_that_cannot_be_closed_keeps_no_other_open(tmp_path: Path) -> None:
    recorder = Recorder()
    for scan in ("scan_0001", "scan_0002"):
        recorder(*documents_of_a_run(tmp_path / scan)[0])
    reserve = tmp_path / "scan_0001" / ".documents.reserve"
    reserve.unlink()
    reserve.mkdir()  # Somebody has put it there: a directory cannot be removed as a file.
    assert [run.exit_status for run in find_runs(tmp_path)] == ["running", "running"]
    with pytest.raises(StorageError, match="scan_0001"):
        recorder.close()
    assert [run.exit_status for run in find_runs(tmp_path)] == ["incomplete", "incomplete"]
