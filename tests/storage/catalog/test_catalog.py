"""The catalogue: what was recorded is found and read equal, through tiled and databroker."""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino import CatalogError
from concertino.storage import Catalog, CatalogWriter, open_run
from concertino.storage.catalog import _catalog_tree

pytestmark = pytest.mark.slow  # tiled takes seconds to import

DATABROKER = """
import sys
import numpy as np
import databroker
from concertino.storage import open_run
for scan_id in 1, 2, 3:
    run = databroker.catalog["concertino"][scan_id]
    stored = open_run(scan_id, root=sys.argv[1])
    for stream in stored.streams:
        read = run[stream].read()["camera"].values
        np.testing.assert_array_equal(read, stored.frames(stream).read())
    names = [name for name, document in run.documents()]
    assert names[0] == "start" and names[-1] == "stop", names
    print("equal", read.shape)
"""


def feed(writer: CatalogWriter, directory: Path) -> None:
    for name, document in open_run(directory).documents():
        writer(name, document)


def test_frames_and_events_read_back_equal(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    single = record_run(tmp_path / "scan_0001", scan_id=1, sample="tooth")
    pages = record_run(tmp_path / "scan_0002", scan_id=2, bytes_per_file=3000, sample="bone")
    hdf5 = record_run(tmp_path / "hdf5", scan_id=3, format="hdf5", sample="tooth")
    ome = record_run(tmp_path / "zarr", scan_id=4, format="zarr", sample="tooth")
    with CatalogWriter(catalog) as writer:
        feed(writer, tmp_path / "hdf5")
        feed(writer, tmp_path / "zarr")
        feed(writer, tmp_path / "scan_0001")
        feed(writer, tmp_path / "scan_0002")
    assert len(catalog) == 4
    for scan_id, frames in ((1, single), (2, pages), (3, hdf5), (4, ome)):
        run = catalog[scan_id]
        assert run.metadata["stop"]["exit_status"] == "success"
        for stream, expected in frames.items():
            data = run[stream].read()
            np.testing.assert_array_equal(data["camera"].values, expected)
            np.testing.assert_array_equal(data["angle"].values, np.arange(len(expected)) * 0.5)
        np.testing.assert_array_equal(run["projections"]["camera"][3:7, 2:5, ::2], frames["projections"][3:7, 2:5, ::2])  # fmt: skip
    stored = open_run(2, root=tmp_path)
    assert catalog[stored.uid].metadata["start"]["uid"] == stored.uid
    assert catalog[stored.uid[:8]].metadata["start"]["uid"] == stored.uid
    assert catalog[-1].metadata["start"]["scan_id"] == 4
    assert catalog[-2].metadata["start"]["scan_id"] == 3
    assert catalog["scan_0002"].metadata["start"]["scan_id"] == 2
    assert [run.metadata["start"]["scan_id"] for run in catalog.search(sample="bone").values()] == [
        2
    ]
    assert len(catalog.search(scan_id=np.int64(3))) == 1
    assert [run.name for run in catalog.runs()][:2] == ["zarr", "hdf5"]
    with pytest.raises(
        CatalogError,
        match=r"The catalogue of .*: There is no run 7 in .*: the newest of its 4 runs is zarr",
    ):
        catalog[7]
    with pytest.raises(CatalogError, match="There is no run -5 in"):
        catalog[-5]


def test_databroker_reads_the_same(tmp_path: Path, record_run: Any, catalog: Catalog) -> None:
    projections = np.arange(400 * 30 * 20).reshape(400, 30, 20).astype("<f4")
    for scan_id, name in enumerate(("tiff", "hdf5", "zarr"), 1):
        record_run(
            tmp_path / f"scan_{scan_id:04d}", scan_id=scan_id, format=name, projections=projections
        )
    assert catalog.catch_up() == 3
    profile = catalog.add_profile(directory=tmp_path / "profiles")
    assert profile == tmp_path / "profiles" / "concertino.yml"
    done = subprocess.run(
        [sys.executable, "-c", DATABROKER, str(tmp_path)],
        env={**os.environ, "TILED_PROFILES": str(tmp_path / "profiles")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "equal (400, 30, 20)\n" * 3, done.stderr


def test_a_run_that_was_killed_is_taken_in_later(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    frames = record_run(tmp_path / "scan_0001", described=7, stop=False)
    (missing,) = catalog.missing()
    assert (missing.directory, missing.reason) == (
        tmp_path / "scan_0001",
        "it has not been taken in yet",
    )
    assert catalog.catch_up() == 1
    assert catalog.catch_up() == 0
    run = catalog[1]
    assert run.metadata["stop"]["exit_status"] == "abort"
    assert "there is no stop document" in run.metadata["stop"]["reason"]
    np.testing.assert_array_equal(run["projections"].read()["camera"], frames["projections"][:7])


def test_the_catalogue_moves_with_its_directory(tmp_path: Path, record_run: Any) -> None:
    frames = record_run(tmp_path / "data" / "scan_0001", format="hdf5")
    record_run(tmp_path / "data" / "scan_0002", scan_id=2)
    with Catalog.open(tmp_path / "data") as first:
        assert first.rebuild() == 2
        assert first.rebuild() == 2
    shutil.move(tmp_path / "data", tmp_path / "archive")
    with Catalog.open(tmp_path / "archive") as moved:
        assert moved.catch_up() == 0
        for name in "scan_0001", "tooth":
            read = moved[1]["projections"].read()["camera"]
            np.testing.assert_array_equal(read, frames["projections"])
            (tmp_path / "archive" / name).rename(tmp_path / "archive" / "tooth")
        assert moved.missing() == []


def test_another_path_to_the_directory_takes_nothing_away(tmp_path: Path, record_run: Any) -> None:
    frames = record_run(tmp_path / "data" / "scan_0001")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with Catalog.open(tmp_path / "data") as first, Catalog.open(tmp_path / "link") as second:
        assert len(first) == 1
        made = sorted((tmp_path / "data" / ".catalog").glob("*.db"))
        inode = made[0].stat().st_ino
        assert len(second) == 1
        record_run(tmp_path / "data" / "scan_0002", scan_id=2)
        assert len(first) == len(second) == 2
        assert [path.stat().st_ino for path in made] == [inode]
        for catalog in first, second:
            read = catalog[1]["projections"].read()["camera"]
            np.testing.assert_array_equal(read, frames["projections"])
    copied = tmp_path / "data" / "backup" / "scan_0001"
    shutil.copytree(tmp_path / "data" / "scan_0001", copied)
    with Catalog.open(tmp_path / "data") as catalog:
        assert len(catalog) == 2
        (missing,) = catalog.missing()
        assert missing.directory == copied
        assert missing.reason == "It is a copy of scan_0001, which the catalogue has."


def test_a_scan_id_means_the_raw_run(tmp_path: Path, record_run: Any, catalog: Catalog) -> None:
    record_run(tmp_path / "scan_0001")
    raw = open_run(1, root=tmp_path).uid
    record_run(tmp_path / "scan_0001_reconstruction_01", derived_from=raw)
    assert catalog.catch_up() == 2
    assert catalog[1].metadata["start"]["uid"] == raw
    assert catalog[-1].metadata["start"]["uid"] == raw
    assert catalog["scan_0001_reconstruction_01"].metadata["start"]["derived_from"] == raw


def test_what_cannot_be_taken_in_is_told_and_keeps_nothing_else(
    tmp_path: Path, record_run: Any, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in 1, 2, 3:
        record_run(tmp_path / f"scan_{number:04d}", scan_id=number)
    record = tmp_path / "scan_0002" / "documents.jsonl"
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join([*lines[:4], b'["event", {"bad\n', *lines[5:]]))
    with CatalogWriter(catalog) as writer:
        for scan in "scan_0001", "scan_0003":
            feed(writer, tmp_path / scan)
        writer("start", {"uid": "x", "run_directory": str(record.parent)})
        writer("stop", {"run_start": "x"})
        writer.flush(60)
    assert len(catalog.search(plan_name="radiography")) == 2
    (missing,) = catalog.missing()
    assert missing.directory == record.parent
    assert missing.reason.startswith(f"Line 5 of {record} is no document")
    assert f"scan_0002 is not in the catalogue of {tmp_path}: Line 5 of" in caplog.text
    assert (
        f"The catalogue of {tmp_path} lacks 1 runs: scan_0002; catalog.missing() says"
        in caplog.text
    )
    with pytest.raises(
        CatalogError, match=r"scan_0002 cannot be catalogued: Line 5 of .* is no doc"
    ):
        catalog["scan_0002"]
    record.write_bytes(b"".join(lines))
    assert len(catalog) == 3
    assert catalog.missing() == []


def test_a_database_that_refuses_a_run_gets_it_later(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    for number in 1, 2, 3:
        record_run(tmp_path / f"scan_{number:04d}", scan_id=number)
    assert catalog.take_in(tmp_path / "scan_0001")
    (database,) = (tmp_path / ".catalog").glob("*.db")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        refusal = "before insert on nodes begin select raise(abort, 'no room'); end"
        other.execute(f"create trigger refuses {refusal}")
        with CatalogWriter(catalog) as writer:
            writer.flush(60)
            assert [(each.directory.name, each.reason) for each in catalog.missing()] == [
                (name, "IntegrityError: (sqlite3.IntegrityError) no room")
                for name in ("scan_0002", "scan_0003")
            ]
            other.execute("drop trigger refuses")
            record_run(tmp_path / "scan_0004", scan_id=4)
            feed(writer, tmp_path / "scan_0004")
            writer.flush(60)
        assert catalog.missing() == []


def test_what_grew_is_taken_in_again(tmp_path: Path, record_run: Any, catalog: Catalog) -> None:
    record_run(tmp_path / "scan_0001")
    record = tmp_path / "scan_0001" / "documents.jsonl"
    whole = record.read_bytes()
    record.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))  # as it is while it runs
    assert catalog[1].metadata["stop"]["exit_status"] == "abort"
    record.write_bytes(whole)
    assert catalog[1].metadata["stop"]["exit_status"] == "success"
    assert len(catalog) == 1


def test_two_writers_may_take_in_the_same_run(
    tmp_path: Path,
    record_run: Any,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record_run(tmp_path / "scan_0001")
    known_runs, others = catalog._files.known_runs, [Catalog(tmp_path)]

    def known_before_another_writes(uid: str | None = None) -> Any:
        known = known_runs(uid)
        while others:
            with others.pop() as other:
                assert other.take_in(tmp_path / "scan_0001")
        return known

    monkeypatch.setattr(catalog._files, "known_runs", known_before_another_writes)
    assert catalog.take_in(tmp_path / "scan_0001")
    assert not others
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert catalog.missing() == []
    assert len(catalog) == 1


def test_a_run_that_ends_while_it_is_taken_in_is_taken_in_again(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    record_run(tmp_path / "scan_0001")
    record = tmp_path / "scan_0001" / "documents.jsonl"
    *lines, stop = record.read_bytes().splitlines(keepends=True)
    assert catalog.take_in(record.parent)  # with what is imported for it

    def end_it(delay_s: float) -> None:
        time.sleep(delay_s)
        with record.open("ab") as file:
            file.write(stop)

    for attempt in range(40):  # at one moment or another of the 10 ms that it takes
        record.write_bytes(b"".join(lines))
        ending = threading.Thread(target=end_it, args=(attempt * 0.00025,))
        ending.start()
        catalog.take_in(record.parent)
        ending.join(240)
        assert catalog[1].metadata["stop"]["exit_status"] == "success", attempt


def test_one_that_is_made_anew_while_it_is_opened_is_opened_again(
    tmp_path: Path, record_run: Any, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []
    for number in 1, 2:
        record_run(tmp_path / f"scan_{number:04d}", scan_id=number)
        assert catalog.take_in(tmp_path / f"scan_{number:04d}")
        catalog.close()
        (database,) = (tmp_path / ".catalog").glob("*.db")
        copies.append(database.read_bytes())

    def put(content: bytes) -> None:
        made = database.with_suffix(".made")
        made.write_bytes(content)
        made.replace(database)

    put(copies[0])
    opened = _catalog_tree.open_client

    def overtaken(files: Any) -> Any:
        monkeypatch.undo()
        client = opened(files)
        put(copies[1])  # as another process does it meanwhile
        return client

    monkeypatch.setattr(_catalog_tree, "open_client", overtaken)
    catalog.client  # noqa: B018
    assert len(list(catalog.client)) == 2


def test_a_run_costs_little(tmp_path: Path, record_run: Any, catalog: Catalog) -> None:
    for number in range(1, 42):
        record_run(tmp_path / f"scan_{number:04d}", scan_id=number)
    assert catalog.take_in(tmp_path / "scan_0041")  # with what is imported for it
    costs_s = []
    for number in range(1, 41):
        begun_s = time.process_time()
        assert catalog.take_in(tmp_path / f"scan_{number:04d}")
        costs_s.append(time.process_time() - begun_s)
    assert np.median(costs_s) < 0.020


def test_a_call_does_not_wait_for_the_catalogue(
    tmp_path: Path, record_run: Any, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in 1, 2, 3, 4:
        record_run(tmp_path / f"scan_{number:04d}", scan_id=number)
    assert catalog.take_in(tmp_path / "scan_0001")  # with what is imported for it
    (database,) = (tmp_path / ".catalog").glob("*.db")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("begin immediate")  # another program writes, and takes its time
        writer = CatalogWriter(catalog)
        for number in 2, 3, 4:
            feed(writer, tmp_path / f"scan_{number:04d}")
        with pytest.raises(CatalogError, match=r"still lacks 3 runs after 0\.1 s; wait longer"):
            writer.flush(0.1)
        begun = time.monotonic()
        writer.close()
        catalog.close()
        assert time.monotonic() - begun < 10  # 2 s, on a quiet machine; SQLite waits for 30 s
    assert (
        f"The catalogue of {tmp_path} lacks 3 runs yet: scan_0002, scan_0003, scan_0004; its next use"
        in caplog.text
    )
    assert len(catalog) == 4


def test_it_waits_for_a_moment_without_a_run(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    def missing() -> list[str]:
        return [each.directory.name for each in catalog.missing()]

    record_run(tmp_path / "scan_0001")
    assert catalog.take_in(tmp_path / "scan_0001")  # with what is imported for it
    with CatalogWriter(catalog) as writer:
        writer.flush(60)
        for number in 2, 3:
            record_run(tmp_path / f"scan_{number:04d}", scan_id=number)
        other = list(open_run(tmp_path / "scan_0003").documents())
        writer(*other[0])
        feed(writer, tmp_path / "scan_0002")
        time.sleep(0.3)
        assert missing() == ["scan_0002", "scan_0003"]
        for name, document in other[1:]:
            writer(name, document)
        until = time.monotonic() + 240
        while missing() and time.monotonic() < until:
            time.sleep(0.02)
        assert missing() == []


def test_what_an_ended_process_left_is_caught_up_in_the_background(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    record_run(tmp_path / "scan_0001")
    record_run(tmp_path / "scan_0002", scan_id=2)
    with CatalogWriter(catalog) as writer:
        writer.flush(120)
        assert catalog.missing() == []


def test_other_versions_files_are_left_alone(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    record_run(tmp_path / "scan_0001")
    (tmp_path / ".catalog").mkdir()
    others = [tmp_path / ".catalog" / name for name in ("runs-9-tiled-98.0.db", "catalog.db")]
    for other in others:
        other.write_bytes(b"of another version")
    assert len(catalog) == 1
    assert all(other.read_bytes() == b"of another version" for other in others)
    assert catalog.rebuild() == 1
    assert not any(other.exists() for other in others)


def test_a_damaged_database_is_told_and_made_anew_when_asked(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    record_run(tmp_path / "scan_0001")
    assert len(catalog) == 1
    catalog.close()
    (database,) = (tmp_path / ".catalog").glob("*.db")
    database.write_bytes(b"rubbish" * 1000)
    with pytest.raises(
        CatalogError, match=r"cannot be used: .*\. Call catalog\.rebuild\(\) to make it anew"
    ):
        len(catalog)
    assert not catalog.take_in(tmp_path / "scan_0001")
    with CatalogWriter(catalog) as writer:
        feed(writer, tmp_path / "scan_0001")
        writer.flush(60)
    assert database.read_bytes() == b"rubbish" * 1000
    assert catalog.rebuild() == 1
    assert len(catalog) == 1


KILLED = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("pragma cache_size = 1")  # what does not fit goes to the file before the end
database.execute("begin immediate")
database.execute("update nodes set metadata = metadata || hex(zeroblob(200000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_that_was_killed_in_a_transaction_costs_nothing(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    record_run(tmp_path / "scan_0001", scan_id=1)
    assert len(catalog) == 1
    catalog.close()
    (database,) = (tmp_path / ".catalog").glob("*.db")
    subprocess.run([sys.executable, "-c", KILLED, str(database)], check=False)
    assert database.with_name(f"{database.name}-journal").stat().st_size > 0
    record_run(tmp_path / "scan_0002", scan_id=2)
    assert [run.directory.name for run in catalog.missing()] == ["scan_0002"]
    assert len(catalog) == 2
    assert catalog[1].metadata["start"]["scan_id"] == 1


def test_where_nothing_can_be_written_it_is_elsewhere(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    record_run(tmp_path / "scan_0001")
    (tmp_path / ".catalog").write_text("of somebody else")
    assert len(catalog) == 1
    assert (tmp_path / ".catalog").read_text() == "of somebody else"


def test_any_name_of_a_data_directory(tmp_path: Path, record_run: Any) -> None:
    root = tmp_path / "Zähne 牙 µ; [x] beamtime #3 what? a%20b & ' = +"
    frames = {kind: record_run(root / kind, format=kind) for kind in ("tiff", "hdf5", "zarr")}
    with Catalog.open(root) as catalog:
        for kind, stored in frames.items():
            kept = open_run(root / kind).frames("projections")  # one file read in two ways
            np.testing.assert_array_equal(kept.read(), stored["projections"])
            read = catalog[kind]["projections"].read()["camera"]
            np.testing.assert_array_equal(read, stored["projections"])
            np.testing.assert_array_equal(kept.read(), stored["projections"])
        assert len(catalog.search(plan_name="radiography")) == 3
    assert os.listdir(tmp_path) == [root.name]
