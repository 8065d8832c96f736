"""A real scan, reconstructed while it runs and again from its replay: equal bit for bit."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.documents import validate_run
from concertino.plans import continuous_tomography, step_tomography
from concertino.session import open_session
from concertino.storage import open_run, replay


def plan_for(name: str, beamline: SimulatedBeamline) -> Any:
    plan: Any = {"continuous": continuous_tomography, "stepped": step_tomography}[name]
    return plan(
        beamline.camera,
        beamline.rotation,
        beamline.beam,
        beamline.sample_stage,
        radio_position="0 mm",
        flat_position="1 mm",
        num_darks=5,
        num_flats=5,
        num_projections=40,
        angular_range="180 deg",
    )


@pytest.mark.parametrize("name", ["continuous", "stepped"])
def test_the_reconstruction_of_a_replay_is_the_live_one(tmp_path: Path, name: str) -> None:
    beamline = SimulatedBeamline(shape=(48, 64), exposure=0.0, frame_rate=200.0)
    live = OnlineReconstruction()
    with open_session(tmp_path / "data", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter(bytes_per_file=50_000))
        session.subscribe(live)
        session.RE(plan_for(name, beamline))
        session.wait()
    expected = live.wait(240)
    shutil.move(tmp_path / "data", tmp_path / "archive")  # and a replay does not mind

    run = open_run("scan_0001", root=tmp_path / "archive")
    validate_run(run.documents())
    assert {(row["stream"], row["state"]) for row in run.ledger()} == {
        (stream, "finished") for stream in ("darks", "flats", "projections")
    }
    assert all(run.frames(row["stream"]).shape[0] == row["frames"] for row in run.ledger())
    again = OnlineReconstruction(directory=tmp_path / "again")
    export = ImageWriter(directory=tmp_path / "export")
    documents: list[tuple[str, Mapping[str, Any]]] = []
    report = replay(run, [again, export, lambda kind, document: documents.append((kind, document))])
    result = again.wait(240)
    validate_run(documents)
    np.testing.assert_array_equal(result.volume, expected.volume)
    assert result.center_px == expected.center_px
    assert list(report.exports) == ["darks", "flats", "projections"]
    exported = sorted((tmp_path / "export" / "scan_0001" / "projections").glob("*.tif"))
    assert len(exported) == 40

    (derived,) = run.derived
    assert derived.start["derived_from"] == run.uid
    np.testing.assert_array_equal(derived.frames(derived.streams[0]).read(), expected.volume)
