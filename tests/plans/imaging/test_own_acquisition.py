"""A kind of acquisition that the package does not know gets preflight, ledger, pauses, resume and export."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import h5py
import numpy as np
import pytest
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.devices import SimulatedMotor
from concertino.documents import validate_run
from concertino.plans import (
    Acquisition,
    Darks,
    Flats,
    ImagingScan,
    PauseRequest,
    Radiographs,
    ScanSetup,
    acquisition_kinds,
    preflight,
    register_acquisition,
    resume,
    take_again,
    take_scan,
    with_pause_request,
)
from concertino.storage import StoredScan, export_nxtomo, open_run
from concertino.testing import PlanFault, plan_messages, run_with_fault
from tests.plans.laboratory import Laboratory, quicken

from .scenarios import devices, run_listed


@register_acquisition
class DoseSeries(Acquisition):
    """One radiograph behind each of some thicknesses of a filter.

    Parameters
    ----------
    thicknesses_mm : sequence of float
        Where the filter stands for each frame, in mm.
    """

    TRIGGER: ClassVar[Any] = "software"
    MOTORS: ClassVar[Mapping[str, bool]] = {"filter": False}

    kind: Literal["dose_series"] = "dose_series"
    thicknesses_mm: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.thicknesses_mm)

    def take(self, setup: ScanSetup, piece: Any, hold: PauseRequest | None) -> MsgGenerator[bool]:
        places = [(setup.motors["filter"], self.thicknesses_mm)]
        return setup.steps(places, setup.radio, piece, hold)

    def tomo(self, setup: ScanSetup) -> dict[str, Any]:
        return {"scheme": "dose_series", "acquisition": "stepped", "angles_deg": [0.0] * self.count}


THICKNESSES = tuple(0.5 * index for index in range(12))
SCAN = ImagingScan(
    plan="dose_series",
    acquisitions=[Darks(number=2), Flats(number=3), DoseSeries(thicknesses_mm=THICKNESSES)],
    order=["darks", "flats every 4 projections"],
    radio_position=0,
    flat_position="1 mm",
)


class DoseLaboratory(Laboratory):
    """A laboratory with a filter."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, noise=False, exposure=0.004)
        self.filter = SimulatedMotor("mm", velocity=50.0, max_velocity=50.0, name="filter")
        self.more = {"filter": self.filter}

    def series(self, **more: Any) -> MsgGenerator[Any]:
        b = self.beamline
        return take_scan(
            SCAN, b.camera, b.beam, b.sample_stage, {"filter": self.filter},
            md=self.directories.new().metadata(), **more,
        )  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DoseLaboratory]:
    import asyncio

    made = DoseLaboratory(tmp_path)
    asyncio.run(quicken(made.filter))
    yield made
    made.close()


def test_preflight_knows_its_frames(lab: DoseLaboratory) -> None:
    figures = preflight(lab.series())
    assert figures.plan == "dose_series"
    taken = {"darks": 0, "flats": 0, "projections": 0}
    for stream in figures.streams:
        taken[stream.stream.partition("_from_")[0]] += stream.frames
    assert taken == {"darks": 2, "flats": 9, "projections": 12}
    assert figures.disk_bytes == 23 * 16 * 16 * 2
    assert not figures.refusals


def test_it_is_taken_with_ledgers_and_exported(lab: DoseLaboratory, tmp_path: Path) -> None:
    messages, start = run_listed(lab, lab.series())
    validate_run(lab.documents)
    run = open_run(lab.documents[0][1]["run_directory"])
    assert start["tomo"]["scheme"] == "dose_series"
    assert start["plan_args"]["filter"] == "filter"
    assert start["plan_args"]["thicknesses_mm"] == list(THICKNESSES)
    events = [
        e["data"]
        for name in run.streams
        if name.startswith("projections")
        for e in run[name].events
    ]
    np.testing.assert_allclose(sorted(e["filter"] for e in events), THICKNESSES, atol=1e-6)
    assert run.stop is not None
    assert (
        run.stop["num_events"]["ledger"] == 2 * 7
    )  # the frames' own, and the writer's, of each stream
    with h5py.File(export_nxtomo(run, tmp_path / "series.nx")) as file:
        keys = file["entry/instrument/detector/image_key"][:]
        assert file["entry/instrument/detector/data"].shape == (23, 16, 16)
    assert [int(np.sum(keys == key)) for key in (2, 1, 0)] == [2, 9, 12]
    again = take_again(
        json.loads(json.dumps(lab.documents[0][1])),
        devices(lab),
        md=lab.directories.new().metadata(),
    )
    assert run_listed(lab, again) == (messages, start)


def test_it_is_resumed(lab: DoseLaboratory) -> None:
    bench = lab.bench(lab.series)
    begin = [i for i, m in enumerate(plan_messages(bench)) if m.command == "prepare"][4]
    outcome = run_with_fault(bench, PlanFault(begin + 20, "raise after"))
    first = open_run(outcome.find("start")[0]["run_directory"])
    b = lab.beamline
    lab.documents.clear()
    lab.RE(
        resume(
            first, b.camera, b.beam, b.sample_stage, motors={"filter": lab.filter},
            md=lab.directories.new().metadata(),
        )
    )  # fmt: skip
    scan = StoredScan(open_run(lab.documents[0][1]["run_directory"]))
    assert len(scan.runs) == 2
    assert [len(scan.read(stream)) for stream in ("darks", "flats", "projections")] == [2, 9, 12]


def test_it_pauses(lab: DoseLaboratory) -> None:
    hold = PauseRequest()
    asked: list[Any] = []

    def pause(message: Any) -> None:
        if message.command == "trigger" and message.obj is lab.beamline.camera and not asked:
            asked.append(hold.request("a look at the sample"))
        elif asked and message.command == "wait_for" and hold.waiting:
            asked[0].release()

    lab.RE.msg_hook = pause  # type: ignore[assignment]
    lab.documents.clear()
    lab.RE(with_pause_request(lab.series(), hold))
    lab.RE.msg_hook = None
    scan = StoredScan(open_run(lab.documents[0][1]["run_directory"]))
    assert len(scan.read("projections")) == 12
    assert any(d["name"] == "pauses" for n, d in lab.documents if n == "descriptor")


def test_kinds_are_known_by_name() -> None:
    assert acquisition_kinds()["dose_series"] is DoseSeries
    assert register_acquisition(DoseSeries) is DoseSeries
    with pytest.raises(ParameterError, match="does not say which kind of acquisition it is"):

        @register_acquisition
        class Nameless(Radiographs):
            kind: str = "nameless"  # type: ignore[assignment]

    with pytest.raises(
        ParameterError, match=r"Thief calls itself 'darks', as concertino\.plans\.Darks does"
    ):

        @register_acquisition
        class Thief(Radiographs):
            kind: Literal["darks"] = "darks"  # type: ignore[assignment]

    assert acquisition_kinds()["darks"] is Darks
