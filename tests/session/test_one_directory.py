"""Several sessions, readers and programs in one data directory, and a catalogue that costs no scan."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from ophyd import Signal
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector

from concertino import ParameterError, SessionError
from concertino.callbacks import ImageWriter
from concertino.cli._run_listing import list_runs
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import Catalog, find_runs, open_run

pytestmark = pytest.mark.slow  # tiled takes seconds to import

OTHER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_one_directory import scans
from concertino.session import open_session
with open_session(sys.argv[1], progress=False, guard=False) as session:
    scans(session, "other", 3, "tiff")
"""


def scans(session: Any, sample: str, count: int, image_format: str) -> None:
    """Take small scans, whose frames say by whom."""
    beamline = SimulatedBeamline(shape=(8, 16), exposure=0.0, frame_rate=0.0)
    token = session.subscribe(ImageWriter(format=image_format))
    for _ in range(count):
        session.RE(
            radiography(
                beamline.camera, beamline.beam, beamline.sample_stage, radio_position="0 mm",
                flat_position="1 mm", num_darks=1, num_flats=1, num_projections=2,
                md={"sample": sample},
            )
        )  # fmt: skip
    session.unsubscribe(token)


def test_all_runs_of_all_are_listed_and_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "beamtime #3 µ"
    slits = Signal(name="slits", value=np.array([1.0, 2.0, 3.0]))
    with open_session(root, progress=False, guard=False, baseline=[slits]) as session:
        with subprocess.Popen(
            [sys.executable, "-c", OTHER, str(root), str(Path(__file__).parent)]
        ) as other:
            scans(session, "mine", 2, "hdf5")
            with init_devices():
                files = StaticPathProvider(UUIDFilenameProvider(), tmp_path)
                blob = SimBlobDetector(files, name="blob")
            session.RE(bp.count([blob], 2))
            assert other.wait(300) == 0
        session.wait(240)
        assert len(session.catalog) == 6
        shutil.rmtree(root / ".catalog")  # by somebody who tidies up
        scans(session, "mine", 1, "zarr")
        session.wait(240)
        assert len(session.catalog) == 7
        assert session.catalog.missing() == []
        found = find_runs(root)
        assert sorted(run.name for run in found) == [f"scan_{i:04d}" for i in range(1, 8)]
        assert {run.exit_status for run in found} == {"success"}
        with Catalog.open(root) as reader:
            for which in session.catalog, reader:
                assert len(which.search(sample="other")) == 3
                assert len(which.search(sample="mine")) == 3
            for run in found:
                if run.start["plan_name"] == "radiography":
                    frames = open_run(run.uid, root).frames("projections").read()
                    read = reader[run.uid]["projections"].read()["camera"]
                    np.testing.assert_array_equal(read, frames)
                else:
                    assert open_run(run.uid, root).frames("primary").shape == (2, 240, 320)
        baseline = session.catalog["scan_0007"]["baseline"].read()["slits"]
        np.testing.assert_array_equal(baseline, [[1, 2, 3]] * 2)
    list_runs(root, 20)
    listed = capsys.readouterr().out
    assert listed.count(" success ") == 7
    assert os.listdir(tmp_path / "beamtime #3 µ") != []
    assert all(path.suffix == ".h5" or path == root for path in tmp_path.iterdir())


def test_a_catalogue_that_cannot_be_used_costs_no_scan(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    with open_session(root, progress=False, guard=False) as session:
        scans(session, "first", 1, "tiff")
        session.wait(240)
    (database,) = (root / ".catalog").glob("*.db")
    database.write_bytes(b"of another program" * 500)
    with (
        caplog.at_level(logging.WARNING),
        open_session(root, progress=False, guard=False) as session,
    ):
        scans(session, "second", 3, "tiff")
        session.wait(240)
    assert [run.exit_status for run in find_runs(root)] == ["success"] * 4
    assert "Call catalog.rebuild() to make it anew" in caplog.text
    with open_session(root, progress=False, guard=False) as session:
        assert session.catalog.rebuild() == 4


def test_metadata_that_would_hide_a_scan_are_refused_before_it(tmp_path: Path) -> None:
    beamline = SimulatedBeamline(shape=(8, 16), exposure=0.0, frame_rate=0.0)

    def plan(md: dict[str, Any]) -> Any:
        return radiography(
            beamline.camera, beamline.beam, beamline.sample_stage, radio_position="0 mm",
            flat_position="1 mm", num_darks=1, num_flats=1, num_projections=2, md=md,
        )  # fmt: skip

    with pytest.raises(ParameterError, match="'transient' is a field that runs have of their own"):
        open_session(tmp_path, catalog=False, md={"transient": True})
    with open_session(tmp_path, progress=False, guard=False, catalog=False) as session:
        refused: list[dict[Any, Any]] = [
            {"frames": 100},
            {"tomo": "x"},
            {"derived_from": "7"},
            {"a.b": 1},
            {1: 2},
        ]
        for md in refused:
            with pytest.raises(ParameterError, match=r"^md: (the key )?.* (is a field|was given)"):
                session.RE(plan(md))
        assert find_runs(tmp_path) == []
        with pytest.raises(ParameterError, match="RE: 'frames' is a field"):
            session.RE(plan({}), frames=3)
        kept = {"t_ns": 1796085945785374123, "n": 2**70, "limit": float("inf"), "tags": {"a", 1}}
        session.RE(plan(kept))
        start = open_run(-1, tmp_path).start
        assert {key: start[key] for key in kept} == {**kept, "tags": [1, "a"]}
        with pytest.raises(SessionError, match="This RunEngine has a session already"):
            open_session(tmp_path / "other", run_engine=session.RE)
