"""What users, and hands in a stored document, get wrong in the value of a scan: one sentence tells what and where."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concertino import DocumentError, ParameterError
from concertino.documents import TomoBlock
from concertino.frames import RecordingTrigger
from concertino.plans import (
    Darks,
    ImagingScan,
    retrospective_radiography,
    take_again,
    take_scan,
)
from tests.plans.laboratory import POSITIONS, Laboratory

from .scenarios import devices

DARKS = [Darks(number=1)]


def scan(**fields: Any) -> ImagingScan:
    return ImagingScan(**{"acquisitions": DARKS, **POSITIONS, **fields})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scan(acquisitions=[]), "acquisitions: there is none. Give at least one"),
        (lambda: scan(acquisitions=Darks(number=1)), "acquisitions: Darks(kind='darks', number=1) was given; give a list"),
        (lambda: scan(acquisitions="darks"), "acquisitions: 'darks' was given; give a list"),
        (lambda: scan(acquisitions=None), "acquisitions: None was given; give a list"),
        (lambda: scan(acquisitions=[Darks]), "acquisitions: the class Darks was given. Give one of it"),
        (lambda: scan(acquisitions=[{"kind": ["darks"]}]), "acquisitions: ['darks'] is no kind of acquisition that is known"),
        (lambda: ImagingScan(**{"acquisition": DARKS}, **POSITIONS), "acquisition: there is no such field. ImagingScan has version, plan,"),
        (lambda: Darks(**{"num": 3}), "num: there is no such field. Darks has kind, number. Use one of these."),
        (lambda: Darks(**{}), "number: this was not given. Darks has kind, number. Give it, too."),
        (lambda: scan(order=None), "order: None was given; give a list"),
        (lambda: scan(plan=""), "plan: "),
        (lambda: scan(version=2), "version: the imaging_scan block is of version 2, and Concertino"),
        (lambda: scan(radio_position="nan mm"), "radio_position: 'nan millimeter' is not a finite number"),
        (lambda: scan(radio_position=None), "radio_position: None is no position. Give a number in the motor's unit"),
        (lambda: scan(flat_position={"value": 0, "unit": None}), "flat_position: {'value': 0, 'unit': None} is no quantity"),
        (lambda: scan().model_copy(update={"order": ("flats",)}), "order: ['flats'] was given; name darks"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()
    text = str(caught.value)
    assert text.startswith(message)
    assert text.endswith(".")
    assert not text.endswith("..")


def test_a_copy_is_converted_as_a_new_value_is() -> None:
    copied = scan().model_copy(update={"radio_position": "5 mm", "max_blur": "2 px"})
    assert copied == scan(radio_position="5 mm", max_blur=2)


def test_acquisitions_may_come_one_after_the_other() -> None:
    assert scan(acquisitions=(each for each in DARKS)).order == ("darks",)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path_factory.mktemp("wrong"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def start(lab: Laboratory) -> dict[str, Any]:
    stored = lab.run("step_tomography")[0][1]
    return json.loads(json.dumps(stored, default=str))  # type: ignore[no-any-return]


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda s: s["imaging_scan"].update(version=2, more=3), DocumentError, "the imaging_scan block is of version 2, and"),
        (lambda s: s["imaging_scan"]["acquisitions"][0].update(kind="helix"), DocumentError, "'helix' is no kind of acquisition"),
        (lambda s: s["imaging_scan"]["acquisitions"][0].update(new=3), DocumentError, "wrong: new: there is no such field"),
        (lambda s: s["imaging_scan"].update(order=None), DocumentError, "wrong: order: None was given"),
        (lambda s: s["imaging_scan"].update(version=None), DocumentError, "wrong: version: None was given (Input should be a valid integer). Give what it can be."),
        (lambda s: s.pop("imaging_scan"), DocumentError, "has no imaging_scan block"),
        (lambda s: s.pop("plan_args"), DocumentError, "has no plan_args, so nobody can tell with which devices"),
        (lambda s: s["plan_args"].pop("camera"), ParameterError, "run: its plan_args do not name its camera. "),
    ],
)  # fmt: skip
def test_a_document_that_a_hand_changed(
    lab: Laboratory, start: dict[str, Any], edit: Edit, error: type[Exception], message: str
) -> None:
    changed = copy.deepcopy(start)
    edit(changed)
    lab.documents.clear()
    with pytest.raises(error) as caught:
        lab.RE(take_again(changed, devices(lab)))
    assert message in str(caught.value)
    assert ".." not in str(caught.value)
    assert not lab.documents


def test_devices_that_are_no_list(lab: Laboratory, start: dict[str, Any]) -> None:
    b = lab.beamline
    wrong: Any
    for wrong, message in (
        (b.camera, "devices: rotation was the rotation of the run, and is not among camera. Give it, too."),
        ("camera", "devices: 'camera' was given. Give a list of devices."),
        (["camera"], "devices: 'camera' is among them, and has no name. Give devices."),
    ):  # fmt: skip
        with pytest.raises(ParameterError) as caught:
            lab.RE(take_again(start, wrong))
        assert str(caught.value) == message
    lab.documents.clear()
    again = take_again(
        start,
        {each.name: each for each in devices(lab)},
        md=lab.directories.new().metadata(),
    )
    lab.RE(again)
    assert lab.documents[-1][1]["exit_status"] == "success"


def test_the_trigger_that_somebody_fired_is_asked_for(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    b = lab.beamline
    lab.RE(
        retrospective_radiography(
            b.camera, b.beam, b.sample_stage, RecordingTrigger(), num_darks=1, num_flats=1, num_before=1, num_after=1,
            max_wait="0.1 s", on_timeout="keep", md=lab.directories.new().metadata(), **POSITIONS,
        )
    )  # fmt: skip
    with pytest.raises(ParameterError) as caught:
        lab.RE(take_again(lab.documents[0][1], devices(lab)))
    assert str(caught.value) == (
        "trigger: that of the run was fired by hand or by a callback, which is none of the devices. Give what starts "
        "exposures as trigger=…."
    )
    lab.close()


def test_what_is_no_value_is_not_taken(lab: Laboratory) -> None:
    b = lab.beamline
    for taken, motors, message in (
        (scan().to_json(), None, "scan: {'version': 1"),
        (None, None, "scan: None was given. Give an ImagingScan; of a start document, ImagingScan.from_start(start)."),
        (scan(), [b.rotation], "motors: ["),
        (scan(), b.rotation, "motors: rotation was given. Give a mapping of each part to its motor"),
    ):  # fmt: skip
        with pytest.raises(ParameterError) as caught:
            lab.RE(take_scan(taken, b.camera, b.beam, b.sample_stage, motors))  # type: ignore[arg-type]
        assert str(caught.value).startswith(message)


def test_darks_alone_are_a_scan(lab: Laboratory) -> None:
    b = lab.beamline
    lab.documents.clear()
    taken = scan(acquisitions=[Darks(number=2)])
    lab.RE(take_scan(taken, b.camera, b.beam, b.sample_stage, md=lab.directories.new().metadata()))
    stored = lab.documents[0][1]
    assert TomoBlock.from_start(stored).num_projections == 0
    assert stored["frames"] == {"darks": 2}
    assert lab.documents[-1][1]["exit_status"] == "success"
