"""Records that were altered, cut or are of other programs: listed as what they are, and in nobody's way."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concertino import ConcertinoError, ParameterError, StorageError
from concertino.cli._run_listing import list_runs, show_run
from concertino.documents import CONTROL_FIELDS, check_user_metadata
from concertino.storage import (
    DocumentFile,
    encode_document,
    find_runs,
    linked_runs,
    open_images,
    open_run,
    open_sink,
)

_ODD: list[Any] = [
    None, "", "x", -1, 0, 1e300, 2**70, 10**12, float("nan"), float("inf"), [], {}, [None], {"a": 1},
    True, "\0", "\x1b[31m", "µ" * 300,
]  # fmt: skip


def read_everything(directory: Path) -> None:
    """Read a run as all readers together do."""
    run = open_run(directory)
    for stream in run.streams:
        for key in run[stream].frame_keys:
            run.frames(stream, key).read(0, min(3, len(run.frames(stream, key))))
        for key in run[stream]._index.data_keys:
            if key not in (*run[stream].frame_keys, *run[stream].foreign_keys):
                run[stream].read(key)
        _ = run[stream].configuration
    run.ledger()
    linked_runs(run)
    run.close()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the container and key of each value within a document."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@pytest.fixture
def two_runs(tmp_path: Path, record_run: Any) -> Path:
    record_run(tmp_path / "scan_0001", plan_args={"exposure": {"value": 1, "unit": "s"}})
    record_run(tmp_path / "scan_0002", scan_id=2)
    return tmp_path


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_altered_the_others_stay_listed(
    data: st.DataObject, two_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = two_runs / "scan_0001" / "documents.jsonl"
    whole = record.read_bytes()
    lines = whole.splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 1), "line")
    kind = data.draw(st.sampled_from(["value", "missing", "bytes", "line", "cut", "twice"]), "kind")
    pair = json.loads(lines[number])
    within = list(places(pair[1]))
    if kind in ("value", "missing") and within:
        container, key = within[data.draw(st.integers(0, len(within) - 1), "place")]
        if kind == "missing":
            del container[key]
        else:
            container[key] = data.draw(st.sampled_from(_ODD), "odd")
        lines[number] = json.dumps(pair).encode() + b"\n"
    elif kind == "bytes":
        at = data.draw(st.integers(0, len(lines[number]) - 1), "at")
        new = bytes([data.draw(st.integers(0, 255), "byte")])
        lines[number] = lines[number][:at] + new + lines[number][at + 1 :]
    elif kind == "line":
        del lines[number]
    elif kind == "twice":
        lines.insert(number, lines[number])
    content = b"".join(lines)
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content)), "bytes kept")]
    record.write_bytes(content)
    try:
        assert {run.directory.name for run in find_runs(two_runs)} == {"scan_0001", "scan_0002"}
        for run in find_runs(two_runs):
            assert isinstance(run.exit_status, str)
            assert repr(run)
            assert run.exit_status != "damaged" or run.reason
        assert open_run(2, two_runs).exit_status == "success"
        list_runs(two_runs, 20)
        listed = capsys.readouterr().out
        assert "scan_0001" in listed
        assert "scan_0002" in listed
        assert not any(char in listed for char in "\0\x1b")
        with suppress(ConcertinoError):
            show_run(two_runs, "scan_0001")
        with suppress(ConcertinoError):
            read_everything(record.parent)
        capsys.readouterr()
    finally:
        record.write_bytes(whole)


def test_a_damaged_run_is_listed_with_its_reason(
    two_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = two_runs / "scan_0001" / "documents.jsonl"
    start, *rest = record.read_bytes().splitlines(keepends=True)
    document = json.loads(start)
    del document[1]["time"]
    record.write_bytes(b"".join([json.dumps(document).encode() + b"\n", *rest]))
    list_runs(two_runs, 20)
    listed = capsys.readouterr().out
    assert "scan_0001 is damaged: The start document in line 1 of" in listed
    assert "has no 'time'; the file was damaged or edited: restore it from a copy" in listed
    assert " success " in next(line for line in listed.splitlines() if line.startswith("scan_0002"))
    with pytest.raises(StorageError, match=r"line 1 of .* has no 'time'"):
        open_run("scan_0001", two_runs)
    assert open_run(-1, two_runs).name == "scan_0002"


def test_a_clock_that_was_set_back_changes_no_order(tmp_path: Path, record_run: Any) -> None:
    for number in 1, 2, 3:
        record_run(tmp_path / f"scan_{number:04d}", scan_id=number)
    record = tmp_path / "scan_0003" / "documents.jsonl"
    start, *rest = record.read_bytes().splitlines(keepends=True)
    document = json.loads(start)
    document[1]["time"] -= 3600
    record.write_bytes(b"".join([json.dumps(document).encode() + b"\n", *rest]))
    assert [run.name for run in find_runs(tmp_path)] == ["scan_0003", "scan_0002", "scan_0001"]
    assert open_run(-1, tmp_path).name == "scan_0003"


def test_a_run_is_the_one_of_the_directory_that_was_named(
    tmp_path: Path, record_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in "a", "b":
        record_run(tmp_path / place / "scan_0001", sample=place)
    record_run(tmp_path / "a" / "scan_0002", scan_id=2, sample="a")
    record_run(tmp_path / "b" / "a" / "scan_0001", sample="deeper")
    monkeypatch.chdir(tmp_path / "a")
    assert open_run("scan_0001", tmp_path / "b" / "a").start["sample"] == "deeper"
    assert open_run("scan_0001").start["sample"] == "a"
    assert open_run("./scan_0002", tmp_path / "b").start["sample"] == "a"
    with pytest.raises(StorageError, match=r"no run 'scan_0002' in"):
        open_run("scan_0002", tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"'a/scan_0001' is two runs: .*; give the whole path"):
        open_run("a/scan_0001", tmp_path / "b")


def test_runs_behind_symbolic_links_are_seen_once(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "elsewhere" / "scan_0001")
    record_run(tmp_path / "data" / "scan_0002", scan_id=2)
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere" / "scan_0001")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data" / "scan_0002")
    (tmp_path / "data" / "round").symlink_to(tmp_path / "data")
    found = {run.directory.name for run in find_runs(tmp_path / "data")}
    assert found == {"linked", "scan_0002"}


DEAD_WRITER = """
import os, sys
import numpy as np
from concertino.storage import open_sink
sink = open_sink(sys.argv[1], shape=(16, 16), dtype="<u2", format="hdf5")
sink.write(np.arange(300 * 256, dtype="<u2").reshape(300, 16, 16), 0)
os._exit(0)
"""

READ = """
import sys
from contextlib import suppress
from pathlib import Path
from concertino import StorageError
from concertino.storage import open_images
path, whole = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes()
for part in range(24):
    path.write_bytes(whole[: len(whole) * part // 24])
    try:
        open_images(path).read(0, 300)
        print("read", part)
    except StorageError as error:
        assert str(path) in str(error)
path.write_bytes(whole)
print("whole", open_images(path).read(0, 300).sum())
"""


def test_hdf5_files_that_were_cut_short_are_refused_at_once(tmp_path: Path) -> None:
    frames = np.arange(300 * 256, dtype="<u2").reshape(300, 16, 16)
    sink = open_sink(tmp_path / "closed", shape=(16, 16), dtype="<u2", format="hdf5")
    sink.write(frames[:200], 0)
    path = tmp_path / "closed" / "closed.h5"
    np.testing.assert_array_equal(open_images(path).read(0, 200), frames[:200])  # as it grows
    sink.write(frames[200:], 200)
    sink.close()
    np.testing.assert_array_equal(open_images(path).read(0, 300), frames)
    subprocess.run([sys.executable, "-c", DEAD_WRITER, str(tmp_path / "dead")], check=True)
    for path in (tmp_path / "closed" / "closed.h5", tmp_path / "dead" / "dead.h5"):
        # A process of its own: what hangs in HDF5 hangs for ever, with the interpreter's lock.
        done = subprocess.run(
            [sys.executable, "-c", READ, str(path)],
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        expected = f"whole {frames.sum()}"
        assert done.stdout.strip().splitlines()[-1:] == [expected], done.stdout + done.stderr
        # What a dead writer had reserved at the end may be missing: nothing of a frame is.
        assert all(line in ("read 23", expected) for line in done.stdout.strip().splitlines())


def test_a_run_of_another_program_is_shown_as_what_it_is(
    tmp_path: Path, record_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    record_run(tmp_path / "scan_0001")
    record = tmp_path / "scan_0001" / "documents.jsonl"
    lines = [json.loads(line) for line in record.read_bytes().splitlines()]
    for name, document in lines:
        if name == "descriptor":
            document["data_keys"]["sum"] = {
                "source": "sim", "dtype": "number", "shape": [1], "dtype_numpy": "<i8",
                "external": "STREAM:",
            }  # fmt: skip
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = open_run(1, tmp_path)
    assert run["projections"].frame_keys == ("camera",)
    assert run["projections"].foreign_keys == ("sum",)
    list_runs(tmp_path, 20)
    show_run(tmp_path, "1")
    shown = capsys.readouterr().out
    assert "data       projections: sum, stored beside the record, no images" in shown
    assert "frames     projections: 10 of 12 × 17 px, uint16" in shown


# What no file can keep is refused, and has tests of its own.
_KEYS = st.text(st.characters(codec="utf-8", exclude_characters="./\0"), min_size=1, max_size=12)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    st.sampled_from([2**53 + 1, 1796085945785374123, 2**63, 2**70, -(2**64)]),
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3)
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(md=st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_metadata_come_back_as_given(md: dict[str, Any], tmp_path: Path) -> None:
    try:
        check_user_metadata(md, lambda value: encode_document("start", value))
    except ParameterError:
        assert CONTROL_FIELDS & set(md)
        return
    record = tmp_path / "documents.jsonl"
    record.write_bytes(encode_document("start", md))
    ((_, read),) = DocumentFile(record)
    assert repr(read) == repr(md)  # also NaN, and 1 is not 1.0


@pytest.mark.parametrize(
    ("md", "message"),
    [
        (
            {"frames": 100},
            r"md: 'frames' is a field that runs have of their own, .* such as 'my_frames'",
        ),
        ({"tomo": "first"}, "'tomo' is a field"),
        ({"transient": True}, "'transient' is a field"),
        ({"derived_from": "batch 7"}, "'derived_from' is a field"),
        (
            {"sample.name": "x"},
            r"md: the key 'sample\.name' was given; keys are texts without '\.'",
        ),
        ({"sample": {"a/b": 1}}, r"md\['sample'\]: the key 'a/b' was given"),
        ({1: "a"}, "the key 1 was given"),
        ({"device": object()}, "md: device is <object .* cannot be written into the run's record"),
        (["sample"], r"md: \['sample'\] was given; give names and values"),
    ],
)
def test_metadata_that_cannot_be_kept_are_refused(md: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check_user_metadata(md, lambda value: encode_document("start", value))


def test_no_hidden_files(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / ".trash" / "scan_0001")
    assert find_runs(tmp_path) == []
    assert os.listdir(tmp_path) == [".trash"]
