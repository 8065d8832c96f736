"""Flats before and after, and between projections: in every plan, without code of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino import ParameterError
from concertino.batch import reconstruct_run
from concertino.documents import validate_run
from concertino.plans import Flats, ImagingScan, Radiographs, grating_stepping, radiography, resume
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import StoredScan, open_run
from concertino.testing import PlanFault, plan_messages, run_with_fault
from tests.plans.laboratory import COUNTS, POSITIONS, Laboratory

from .scenarios import SCENARIOS

#: Each with five projections.
PLANS: dict[str, dict[str, Any]] = {
    "radiography": {"num_projections": 5},
    "step_tomography": {"num_projections": 5, "angular_range": "10 deg"},
    "continuous_tomography": {"num_projections": 5, "angular_range": "5 deg"},
    "step_spiral_tomography": {"num_projections": 2},
    "continuous_spiral_tomography": {"num_projections": 2},
}
AROUND = ["darks", "flats", "projections", "flats"]
BETWEEN = ["darks", "flats every 2 projections", "flats"]
ORDERS: list[tuple[list[str], list[tuple[str, int]]]] = [
    (AROUND, [("darks", 2), ("flats", 2), ("projections", 5), ("flats_from_00002", 2)]),
    (
        BETWEEN,
        [
            ("darks", 2), ("flats", 2), ("projections", 2), ("flats_from_00002", 2),
            ("projections_from_00002", 2), ("flats_from_00004", 2), ("projections_from_00004", 1),
            ("flats_from_00006", 2),
        ],
    ),
]  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path, noise=False, exposure=0.001)
    yield made
    made.close()


def streams(lab: Laboratory, plan: Any) -> list[tuple[str, int]]:
    """Run a plan; return the streams that were begun, and how many frames were asked of each."""
    lab.documents.clear()
    messages = plan_messages(lab.bench(lambda: plan))
    requests = [m.args[0] for m in messages if m.command == "prepare"]
    return [(request.stream, request.count) for request in requests if hasattr(request, "stream")]


@pytest.mark.parametrize(("order", "wanted"), ORDERS)
@pytest.mark.parametrize("name", PLANS)
def test_flats_come_several_times(
    lab: Laboratory, name: str, order: list[str], wanted: list[tuple[str, int]]
) -> None:
    assert streams(lab, lab.plan(name, order=order, **PLANS[name])) == wanted
    validate_run(lab.documents)
    start = lab.documents[0][1]
    assert start["frames"] == dict(wanted)
    assert start["plan_args"]["order"] == order
    assert start["tomo"]["num_projections"] == 5
    scan = StoredScan(open_run(start["run_directory"]))
    flats = sum(count for stream, count in wanted if stream.startswith("flats"))
    assert [len(scan.read(stream)) for stream in scan.streams] == [2, flats, 5]
    assert all(not scan.missing(stream) for stream in scan.streams)


def test_the_axis_is_back_when_flats_are_taken_and_goes_on_where_it_was(lab: Laboratory) -> None:
    plan = lab.plan("step_tomography", order=BETWEEN, **PLANS["step_tomography"])
    lab.documents.clear()
    moves = [
        f"{m.obj.name} {m.args[0]:g}"
        for m in plan_messages(lab.bench(lambda: plan))
        if m.command == "set" and m.obj.name in ("rotation", "sample_stage")
    ]
    assert moves == [
        "sample_stage 1",
        "sample_stage 0", "rotation 0", "rotation 0", "rotation 2", "rotation 0",
        "sample_stage 1",
        "sample_stage 0", "rotation 4", "rotation 4", "rotation 6", "rotation 0",
        "sample_stage 1",
        "sample_stage 0", "rotation 8", "rotation 8", "rotation 0",
        "sample_stage 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("step_tomography", {"scheme": "golden_ratio"}),
        # One projection in 180 deg at 200 Hz would be 36000 deg/s.
        ("continuous_tomography", {"num_projections": 900, "angular_range": "180 deg"}),
        ("step_tomography", {"scheme": [1.0, 5.0, 3.0]}),
    ],
)
def test_darks_alone_ask_nothing_of_the_projections(
    lab: Laboratory, name: str, asked: dict[str, Any]
) -> None:
    documents = lab.run(name, order=["darks"], **asked)
    validate_run(documents)
    tomo = documents[0][1]["tomo"]
    assert (tomo["num_projections"], tomo["angles_deg"]) == (0, None)
    assert documents[0][1]["frames"] == {"darks": 2}


def test_several_cameras(lab: Laboratory) -> None:
    b = lab.beamline
    cameras = [b.camera, b.add_camera("detail", shape=(12, 20), pixel_size_um=2.5)]
    plan = radiography(
        cameras, b.beam, b.sample_stage, **COUNTS, **POSITIONS,
        order=["flats every 2 projections"], md=lab.directories.new().metadata(),
    )  # fmt: skip
    assert streams(lab, plan) == [
        (f"{base}{camera}{part}", count)
        for base, part, count in (
            ("flats", "", 2), ("projections", "", 2),
            ("flats", "_from_00002", 2), ("projections", "_from_00002", 1),
        )
        for camera in ("", "-detail")
    ]  # fmt: skip
    validate_run(lab.documents)


def test_darks_around_a_grating(lab: Laboratory) -> None:
    b = lab.beamline

    def stepping(order: list[str]) -> Any:
        return grating_stepping(
            b.camera, b.grating_stage, b.beam, b.sample_stage, grating_period="2.4 um",
            stepping_start_position="3 um", num_darks=2, num_steps_per_period=3, **POSITIONS,
            order=order, md=lab.directories.new().metadata(),
        )  # fmt: skip

    assert streams(lab, stepping(["darks", "reference_stepping", "object_stepping", "darks"])) == [
        ("darks", 2), ("reference_stepping", 3), ("object_stepping", 3), ("darks_from_00002", 2),
    ]  # fmt: skip
    with pytest.raises(ParameterError, match="and object_stepping are not taken in parts"):
        lab.RE(stepping(["darks every 2 object_stepping"]))
    with pytest.raises(ParameterError, match="Those that are no darks or flats are taken once"):
        lab.RE(stepping(["reference_stepping", "object_stepping", "reference_stepping"]))


def test_flats_around_a_recording(lab: Laboratory) -> None:
    scenario = SCENARIOS["recording of nothing"]

    def recording(order: list[str]) -> Any:
        asked = {**scenario.parameters, "order": order, "md": lab.directories.new().metadata()}
        assert scenario.make is not None
        return scenario.make(lab, **asked)

    lab.documents.clear()
    lab.RE(recording(AROUND))
    validate_run(lab.documents)
    announced = {"darks": 2, "flats": 2, "projections": 7, "flats_from_00002": 2}
    assert lab.documents[0][1]["frames"] == announced
    begun = [d["name"] for n, d in lab.documents if n == "descriptor" and d["name"] in announced]
    assert begun == list(announced)
    with pytest.raises(ParameterError, match="and projections are not taken in parts"):
        lab.RE(recording(BETWEEN))


def test_a_scan_that_broke_between_flats_is_resumed(lab: Laboratory) -> None:
    asked = {"order": BETWEEN, "num_projections": 30, "num_flats": 3, "angular_range": "180 deg"}
    asked["order"] = ["darks", "flats every 10 projections", "flats"]
    bench = lab.bench(lambda: lab.plan("step_tomography", **asked))
    messages = plan_messages(bench)
    begin = [i for i, m in enumerate(messages) if m.command == "prepare"][4]
    outcome = run_with_fault(bench, PlanFault(begin + 25, "raise after"))
    first = open_run(outcome.find("start")[0]["run_directory"])
    there = len(first.frames("projections_from_00010"))
    assert 0 < there < 10
    b = lab.beamline
    lab.documents.clear()
    lab.RE(
        resume(
            first, b.camera, b.beam, b.sample_stage, b.rotation, md=lab.directories.new().metadata()
        )
    )
    start = lab.documents[0][1]
    assert start["frames"] == {
        f"projections_from_{10 + there:05d}": 10 - there,
        "flats_from_00006": 3, "projections_from_00020": 10, "flats_from_00009": 3,
    }  # fmt: skip
    scan = StoredScan(open_run(start["run_directory"]))
    assert [len(scan.read(stream)) for stream in ("darks", "flats", "projections")] == [2, 12, 30]
    made = reconstruct_run(open_run(start["run_directory"]), ReconstructionSettings(center=8.0))
    assert made.missing == ()
    assert np.isfinite(open_run(made.directory).frames("slices").read()).all()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["projections", "flats", "projections"], "order: ['projections', 'flats', 'projections'] was given; name"),
        (["flats every 0 projections"], "order: ['flats every 0 projections'] was given; name darks, flats"),
        (["flats every 2 darks"], "order: 'flats every 2 darks' was given, and darks are not taken in parts. Name"),
        (["flats every 2 radios"], "order: ['flats every 2 radios'] was given; name darks, flats, projections, and"),
        (["projections every 2 projections"], "order: 'projections every 2 projections' was given, and projections"),
        (["flats every 2 projections", "projections"], "order: ['flats every 2 projections', 'projections'] was"),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_taken_is_refused(
    lab: Laboratory, order: list[str], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        lab.RE(lab.plan("radiography", order=order))
    assert str(caught.value).startswith(message)


def test_the_value_has_the_order() -> None:
    scan = ImagingScan(
        acquisitions=[{"kind": "flats", "number": 3}, {"kind": "radiographs", "number": 250}],
        order=["flats every 100 projections", "flats"], radio_position=0, flat_position=1,
    )  # fmt: skip
    assert scan.frames == {"flats": 12, "projections": 250}
    taken = [(visit.stream, visit.first, visit.stop) for visit in scan.visits]
    assert taken == [
        ("flats", 0, 3), ("projections", 0, 100), ("flats", 3, 6), ("projections", 100, 200),
        ("flats", 6, 9), ("projections", 200, 250), ("flats", 9, 12),
    ]  # fmt: skip


@pytest.mark.parametrize("every", ["every projection", "every 1 projection", "every 1 projections"])
def test_one_may_be_said_as_one(every: str) -> None:
    scan = ImagingScan(
        acquisitions=[Flats(number=2), Radiographs(number=2)], order=[f"flats {every}"],
        radio_position=0, flat_position=1,
    )  # fmt: skip
    taken = [(visit.stream, visit.first, visit.stop) for visit in scan.visits]
    assert taken == [("flats", 0, 2), ("projections", 0, 1), ("flats", 2, 4), ("projections", 1, 2)]
