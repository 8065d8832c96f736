"""The catalogue: what was recorded is found and read equal, through tiled and databroker."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from concertino import CatalogError
from concertino.storage import Catalog, CatalogWriter, open_run

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


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path) as opened:
        yield opened


def feed(writer: CatalogWriter, directory: Path) -> None:
    for name, document in open_run(directory).documents():
        writer(name, document)


def without_record(documents: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the documents of a run that has no directory."""
    result = []
    for name, document in documents:
        if name == "start":
            del document["run_directory"]
        result.append((name, document))
    return result


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
    assert [run.metadata["start"]["scan_id"] for run in catalog.search(sample="bone").values()] == [
        2
    ]
    assert [run.name for run in catalog.runs()][:2] == ["zarr", "hdf5"]
    with pytest.raises(
        CatalogError, match=r"no run 7 in the catalogue of .*, which has 4: give a uid"
    ):
        catalog[7]
    with pytest.raises(CatalogError, match="no run -5 in"):
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


def test_a_run_without_a_record_is_kept_until_its_stop(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    frames = record_run(tmp_path / "elsewhere" / "scan_0001")
    documents = without_record(open_run(tmp_path / "elsewhere" / "scan_0001").documents())
    with CatalogWriter(catalog) as writer:
        for name, document in documents:
            writer(name, document)
        writer.flush()
        np.testing.assert_array_equal(catalog[-1]["darks"].read()["camera"].values, frames["darks"])


def test_a_run_that_was_killed_is_taken_in_later(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    frames = record_run(tmp_path / "scan_0001", described=7, stop=False)
    assert [run.name for run in catalog.missing()] == ["scan_0001"]
    assert catalog.catch_up() == 1
    assert catalog.catch_up() == 0
    run = catalog[1]
    assert run.metadata["stop"]["exit_status"] == "abort"
    assert "there is no stop document" in run.metadata["stop"]["reason"]
    np.testing.assert_array_equal(run["projections"].read()["camera"], frames["projections"][:7])


def test_the_catalogue_is_made_anew_from_the_records(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    frames = record_run(tmp_path / "data" / "scan_0001")
    record_run(tmp_path / "data" / "scan_0002", scan_id=2)
    first = Catalog.open(tmp_path / "data")
    assert first.rebuild() == 2
    assert first.rebuild() == 2
    first.close()
    shutil.move(tmp_path / "data", tmp_path / "archive")
    with Catalog.open(tmp_path / "archive") as moved:
        assert moved.catch_up() == 2
        np.testing.assert_array_equal(
            moved[1]["projections"].read()["camera"], frames["projections"]
        )


def test_a_scan_id_means_the_raw_run(tmp_path: Path, record_run: Any, catalog: Catalog) -> None:
    record_run(tmp_path / "scan_0001")
    raw = open_run(1, root=tmp_path).uid
    record_run(tmp_path / "scan_0001_reconstruction_01", derived_from=raw)
    assert catalog.catch_up() == 2
    assert catalog[1].metadata["start"]["uid"] == raw
    assert catalog[-1].metadata["start"]["derived_from"] == raw


def test_an_error_is_kept_and_raised_once(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    record_run(tmp_path / "scan_0001")
    documents = without_record(open_run(tmp_path / "scan_0001").documents())
    broken = [pair for pair in documents if pair[0] != "stream_resource"]
    writer = CatalogWriter(catalog)
    for name, document in broken:
        writer(name, document)
    with pytest.raises(
        CatalogError, match=r"scan_0001 could not be taken into the catalogue of .*; its own"
    ):
        writer.flush()
    for name, document in documents:  # nothing is left of the first attempt
        writer(name, document)
    writer.close()
    assert len(catalog) == 1
    np.testing.assert_array_equal(catalog[1]["darks"].read()["camera"].shape, (3, 12, 17))


def test_a_call_does_not_wait_for_the_catalogue(
    tmp_path: Path, record_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_run(tmp_path / "scan_0001")
    released, taken = threading.Event(), []

    class Slow(Catalog):
        def insert(self, documents: Any) -> None:
            taken.append(len(list(documents)))
            released.wait(30)

    writer = CatalogWriter(Slow(tmp_path))
    for _ in range(3):
        feed(writer, tmp_path / "scan_0001")
    with pytest.raises(CatalogError, match=r"still lacks 3 runs after 0\.1 s; wait longer"):
        writer.flush(0.1)
    released.set()
    writer.close()
    assert len(taken) >= 3


def test_it_waits_for_a_moment_without_a_run(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    record_run(tmp_path / "scan_0002")
    taken = threading.Event()

    class Noting(Catalog):
        def insert(self, documents: Any) -> None:
            taken.set()

    writer = CatalogWriter(Noting(tmp_path))
    other = list(open_run(tmp_path / "scan_0002").documents())
    writer(*other[0])
    feed(writer, tmp_path / "scan_0001")
    assert not taken.wait(0.3)
    for name, document in other[1:]:
        writer(name, document)
    assert taken.wait(10)
    writer.close()


def test_a_catalogue_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / ".catalog"
    directory.mkdir()
    newer = {"format": 1, "concertino": "99.1", "tiled": "98.0"}
    (directory / "version.json").write_bytes(orjson.dumps(newer))
    with pytest.raises(
        CatalogError,
        match=rf"the catalogue {directory} was made by a newer version \(concertino 99\.1, tiled 98\.0\) "
        rf"than is installed \(concertino .*\); upgrade them, or remove {directory}: the catalogue is",
    ):
        Catalog.open(tmp_path)


def test_a_database_of_a_newer_tiled_is_refused(
    tmp_path: Path, record_run: Any, catalog: Catalog
) -> None:
    import sqlite3
    from contextlib import closing

    record_run(tmp_path / "scan_0001")
    catalog.catch_up()
    catalog.close()
    with closing(sqlite3.connect(tmp_path / ".catalog" / "catalog.db")) as database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")
        database.commit()
    with pytest.raises(CatalogError, match=r"made by a newer tiled \(.*\) than is installed"):
        catalog[1]


def test_a_damaged_database_is_told(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / ".catalog").mkdir()
    (tmp_path / ".catalog" / "catalog.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(CatalogError, match=r"cannot be opened: .*; if it is damaged, remove"):
        len(catalog)


def test_opening_costs_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from concertino.storage import Catalog, CatalogWriter;"
        "CatalogWriter(Catalog.open(sys.argv[1])).close();"
        "print([m for m in ('tiled', 'sqlalchemy', 'pyarrow', 'databroker') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []
