"""Every plan makes a value that goes through JSON, and does what it did when it was made of closures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from concertino import DocumentError, ParameterError
from concertino.plans import (
    Darks,
    Flats,
    GoldenRatio,
    ImagingScan,
    MultiTurn,
    OppositeViews,
    Radiographs,
    StepProjections,
    SweepProjections,
    take_again,
    take_scan,
)
from concertino.units import q
from tests.plans.laboratory import Laboratory

from .scenarios import SCENARIOS, devices, run_listed

#: Messages and start documents of the plans before they made values, as `run_listed` gives them.
BEFORE = json.loads(Path(__file__).with_name("scans_before.json").read_text())
# The streams are called so; what was recorded said "views".
BEFORE["axis brought upright"]["start"]["plan_args"]["order"] = ["darks", "flats", "views_1"]
# As many views as were asked for, at each of two angles; what was recorded counted them all.
BEFORE["axis found"]["start"]["plan_args"]["num_views"] = 2
# What makes the beam stands in the block since scans know their optics.
BEFORE["steps at a tube"]["start"]["tomo"]["source_kind"] = "tube"
PLACES: dict[str, Any] = {"radio_position": 0, "flat_position": "1 cm"}


def simple_scan(**more: Any) -> ImagingScan:
    """Return a scan of darks and radiographs."""
    return ImagingScan(acquisitions=[Darks(number=2), Radiographs(number=3)], **PLACES, **more)


def rounded(value: Any) -> Any:
    """Return JSON with its numbers as they compare: 3 is 3.0, and rounding is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(f"{value:.9g}")
    if isinstance(value, Mapping):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def test_what_was_recorded_is_of_every_scenario() -> None:
    assert set(BEFORE) == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scan_does_what_it_did_and_is_taken_again_from_its_start_document(
    tmp_path: Path, name: str
) -> None:
    scenario = SCENARIOS[name]
    lab = scenario.laboratory(tmp_path)
    try:
        told = [run_listed(lab, scenario.messages(lab))]
        stored = next(d for n, d in lab.documents if n == "start")
        stored = json.loads(
            (Path(stored["run_directory"]) / "documents.jsonl").read_text().splitlines()[0]
        )[1]
        scan = ImagingScan.from_start(stored)
        assert scan.to_json() == stored["imaging_scan"]
        again = take_again(stored, devices(lab), md=lab.directories.new().metadata())
        told.append(run_listed(lab, again))
    finally:
        lab.close()
    for messages, start in told:
        assert messages == BEFORE[name]["messages"]
        assert rounded(start) == rounded(BEFORE[name]["start"])


def test_a_missing_device_is_named(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    documents = lab.run("step_tomography")
    b = lab.beamline
    with pytest.raises(ParameterError) as caught:
        lab.RE(take_again(documents[0][1], [b.camera, b.beam, b.sample_stage]))
    assert str(caught.value) == (
        "devices: rotation was the rotation of the run, and is not among camera, shutter, sample_stage. Give it, too."
    )
    with pytest.raises(
        DocumentError, match="has no imaging_scan block, so nobody can tell what it took"
    ):
        lab.RE(take_again({"uid": "0", "plan_name": "ascan", "plan_args": {}}, []))
    lab.close()


def test_quantities_are_kept_with_their_units() -> None:
    scan = ImagingScan(
        acquisitions=[
            Darks(number="5 frames"), Flats(number=4.0),
            SweepProjections(number=90, angular_range=0.5 * q.turn, rotation_axis="12 px", scheme=MultiTurn(turns=7)),
        ],
        **PLACES,
    )  # fmt: skip
    value = scan.to_json()
    assert value["radio_position"] == {"value": 0.0, "unit": ""}
    assert value["flat_position"] == {"value": 1.0, "unit": "cm"}
    sweep = value["acquisitions"][2]
    assert sweep["kind"] == "sweep_projections"
    assert sweep["angular_range"] == {"value": 180.0, "unit": "deg"}
    assert sweep["rotation_axis"] == {"value": 12.0, "unit": "px"}
    assert sweep["scheme"] == {"name": "multi_turn", "turns": 7}
    assert value["acquisitions"][0] == {"kind": "darks", "number": 5}
    assert ImagingScan(**json.loads(json.dumps(value))) == scan


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Darks(number=0), "num_darks: 0 is too small. Give at least 1 frame."),
        (
            lambda: StepProjections(number=3, trigger="edge"),
            "trigger: 'edge' was given, and in a stepped scan pulses must wait for the stage. Give the device that "
            "makes them, or 'software'.",
        ),
        (
            lambda: ImagingScan(acquisitions=[{"kind": "dose"}], **PLACES),
            "acquisitions: 'dose' is no kind of acquisition that is known",
        ),
        (
            lambda: ImagingScan(acquisitions=[Radiographs(number=3), StepProjections(number=3)], **PLACES),
            "acquisitions: several take the stream projections. Give each a stream of its own.",
        ),
        (lambda: Darks(**{}), "number: this was not given. Darks has kind, number. Give it, too."),
        (lambda: StepProjections(number=3, trigger="foot"), "trigger: 'foot' was given (Input should be 'software', "),
        (lambda: ImagingScan(acquisitions=[], **PLACES), "acquisitions: there is none. Give at least one, such as "),
        (lambda: ImagingScan(acquisitions=[{"kind": ["darks"]}], **PLACES), "acquisitions: ['darks'] is no kind of "),
        (lambda: StepProjections(number=3, scheme={"name": ["list"]}), "scheme: {'name': ['list']} was given; give "),
        (lambda: simple_scan(order=None), "order: None was given; give a list such as ['darks', 'flats', 'projections']."),
        (lambda: simple_scan(order=5), "order: 5 was given; give a list such as ['darks', 'flats', 'projections']."),
        (lambda: simple_scan(order=["darks", 5]), "order: ['darks', 5] was given; give a list such as ['darks', "),
        (lambda: simple_scan(order=[]), "order: [] was given; name darks, projections, and at least one."),
        (lambda: Darks(**{"number": 3, "exposure": 2}), "exposure: there is no such field. Darks has kind, number. Use one of these."),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_when_the_value_is_made(make: Any, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_a_scan_is_taken_as_it_is_where_one_is_wanted() -> None:
    wanted = simple_scan()
    assert ImagingScan.model_validate(wanted) == wanted
    assert TypeAdapter(list[ImagingScan]).validate_python([wanted]) == [wanted]
    assert ImagingScan(acquisitions=(each for each in wanted.acquisitions), **PLACES) == wanted


def test_messages_of_wrong_blocks_end_once() -> None:
    wrong = {**simple_scan().to_json(), "acquisitions": [{"kind": "darks", "number": 0}]}
    for start in ({"uid": "0"}, {"uid": "0", "imaging_scan": wrong}):
        with pytest.raises(DocumentError) as caught:
            ImagingScan.from_start(start)
        assert ".." not in str(caught.value)


def test_views_of_the_axis_want_darks_and_flats_before_them(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    b = lab.beamline
    scan = ImagingScan(
        acquisitions=[Darks(number=2), Flats(number=2), OppositeViews(number=2)],
        order=["darks", "views", "flats"], **PLACES,
    )  # fmt: skip
    with pytest.raises(ParameterError) as caught:
        lab.RE(take_scan(scan, b.camera, b.beam, b.sample_stage, {"rotation": b.rotation}))
    assert str(caught.value) == (
        "order: darks, views, flats are taken, and the views want flats before them. Name these first."
    )
    lab.close()


def test_what_no_acquisition_uses_is_refused(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    b = lab.beamline
    scan = ImagingScan(acquisitions=[Radiographs(number=3)], **PLACES)
    for more, message in (
        ({"trigger": b.trigger_box}, "trigger: trigger_box was given, and no acquisition of the scan is started by"),
        ({"motors": {"rotation": b.rotation}}, "motors: rotation was given, which nothing of the scan moves; it has"),
    ):  # fmt: skip
        with pytest.raises(ParameterError) as caught:
            lab.RE(take_scan(scan, b.camera, b.beam, b.sample_stage, **more))
        assert str(caught.value).startswith(message)
    with pytest.raises(
        ParameterError, match="stream: 'flats' was given; the scan takes projections"
    ):
        scan.of("flats")
    lab.close()


class Mine:
    """A rule of a user's own."""

    name = "mine"

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        return [start_deg + (index * 7 % number) * range_deg / number for index in range(number)]


def test_a_rule_of_ones_own_is_stored_as_its_angles(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    with pytest.raises(ParameterError, match="is a rule that Concertino does not know"):
        StepProjections(number=3, scheme=Mine()).to_json()
    messages, start = run_listed(lab, lab.plan("step_tomography", num_projections=4, scheme=Mine()))
    stored = lab.documents[0][1]
    scheme = {"name": "mine", "listed": [0.0, 2.25, 1.5, 0.75]}
    assert stored["imaging_scan"]["acquisitions"][2]["scheme"] == scheme
    value = StepProjections(**stored["imaging_scan"]["acquisitions"][2])
    assert StepProjections(**json.loads(json.dumps(value.to_json()))) == value
    with pytest.raises(ParameterError, match="scheme: "):
        StepProjections(number=2, scheme={"name": "mine", "listed": ["up", "down"]})
    again = take_again(stored, devices(lab), md=lab.directories.new().metadata())
    assert run_listed(lab, again) == (messages, start)
    lab.close()


def test_angles_may_be_an_array() -> None:
    value = StepProjections(number=3, scheme=np.linspace(0, 90, 3))
    assert value == StepProjections(number=3, scheme=[0, 45, 90])
    assert StepProjections(**json.loads(json.dumps(value.to_json()))) == value


def test_a_scheme_that_is_named_goes_through_json() -> None:
    value = StepProjections(number=4, scheme="golden_ratio").to_json()
    assert StepProjections(**value).scheme == GoldenRatio()
