"""What is checked quickly is what the schema takes, and nothing else."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from jsonschema import ValidationError

from concertino.devices import SimulatedBeamline, SimulatedMotor
from concertino.documents import check_documents_quickly

PAGE = event_model.DocumentNames.event_page
DESCRIPTOR = event_model.DocumentNames.descriptor
WHOLE = event_model._Validator(event_model.schemas[PAGE])
WHOLE_DESCRIPTOR = event_model._Validator(event_model.schemas[DESCRIPTOR])
MANY = 30_000


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what is left to event-model's validators: others in its table note it, behind the quick ones."""
    documents: list[Any] = []
    for name in (PAGE, DESCRIPTOR):
        noting = type("Noting", (), {"validate": documents.append})()
        monkeypatch.setitem(event_model.schema_validators, name, noting)
    check_documents_quickly()
    return documents


def page(rows: int = 3) -> dict[str, Any]:
    return {
        "descriptor": "d",
        "uid": [str(row) for row in range(rows)],
        "seq_num": list(range(1, rows + 1)),
        "time": [1.0] * rows,
        "data": {"angle": [0.5] * rows, "source": ["encoder"] * rows},
        "timestamps": {"angle": [1.0] * rows, "source": [1.0] * rows},
        "filled": {},
    }


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({name: value})


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "none": lambda document: None,
    "integers as time": put("time", [1, 2, 3]),
    "nan": put("time", [float("nan")] * 3),
    "no filled": lambda document: document.pop("filled"),
    "filled": put("filled", {"angle": [True, "datum", False]}),
    "filled wrongly": put("filled", {"angle": [1]}),
    "no data": lambda document: document.pop("data"),
    "no uid": lambda document: document.pop("uid"),
    "one more": put("extra", 1),
    "uid": put("uid", [1, 2, 3]),
    "one uid": put("uid", ["a", "b", None]),
    "seq_num": put("seq_num", [1, 2, 3.5]),
    "a truth as number": put("seq_num", [1, 2, True]),
    "time": put("time", ["now"] * 3),
    "time alone": put("time", 1.0),
    "descriptor": put("descriptor", 5),
    "data as list": put("data", [1]),
    "a column as number": put("data", {"angle": 5}),
    "a column as array": put("data", {"angle": np.zeros(3)}),
    "a column as tuple": put("timestamps", {"angle": (1.0,)}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_answer_is_that_of_the_schema(change: Callable[[dict[str, Any]], Any]) -> None:
    check_documents_quickly()
    check_documents_quickly()  # once more does nothing
    quick = event_model.schema_validators[PAGE]
    document = page()
    change(document)
    wrong = next((error.message for error in WHOLE.iter_errors(document)), None)
    if wrong is None:
        quick.validate(document)
        return
    with pytest.raises(ValidationError) as caught:
        quick.validate(document)
    with pytest.raises(ValidationError) as expected:
        WHOLE.validate(document)
    assert caught.value.message == expected.value.message


def test_a_long_page_is_not_looked_at_value_by_value(asked: list[Any]) -> None:
    quick = event_model.schema_validators[PAGE]
    quick.validate(page(MANY))
    assert not asked
    quick.validate({**page(MANY), "descriptor": 5})
    assert len(asked) == 1


def data_key(**more: Any) -> dict[str, Any]:
    return {"dtype": "number", "shape": [], "source": "soft", **more}


def descriptor() -> dict[str, Any]:
    """One of each thing that a descriptor may have."""
    return {
        "data_keys": {
            "motor": data_key(
                units="mm", precision=3, dtype_numpy="<f8", object_name="motor", external="STREAM:",
                limits={"control": {"low": -1, "high": 1.5}, "alarm": None},
            ),
            "picture": {"dtype": "array", "shape": (2, None), "source": "file", "dims": ["y", "x"]},
            "state": data_key(choices=["on", "off"], units=None, precision=None, also={"a": [1]}),
        },
        "configuration": {
            "motor": {
                "data": {"motor-velocity": 1.0},
                "timestamps": {"motor-velocity": 1.0},
                "data_keys": {"motor-velocity": data_key()},
            }
        },
        "hints": {"motor": {"fields": ["motor"]}},
        "object_keys": {"motor": ["motor"]},
        "object_classes": {"motor": "concertino.devices.SimulatedMotor"},
        "name": "baseline", "run_start": "r", "time": 1.0, "uid": "d",
    }  # fmt: skip


#: Stand for every value of the descriptor, one after the other.
ODD: tuple[Any, ...] = (
    None, True, 5, 1.5, float("nan"), np.float64(1), "x", "number", "", [], [1], [1.5], [True], ["a"], [None],
    (1,), np.zeros(2), {}, {"a": 1}, {"a.b": 1}, {"a": {"b/c": 1}}, {"": 1}, {"fields": ["a"]}, {"fields": 1},
    {"low": 1, "high": True}, {"low": 1}, {"control": {"low": None, "high": 2}}, {"rds": 5},
    {"motor": {"data_keys": {"a": {}}}}, [["a", "<f8"]],
)  # fmt: skip


def places(part: dict[str, Any], within: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in part.items():
        yield (*within, name)
        if isinstance(value, dict):
            yield from places(value, (*within, name))


def changed(place: tuple[str, ...], change: Callable[[dict[str, Any], str], Any]) -> dict[str, Any]:
    document = copy.deepcopy(descriptor())
    part = document
    for name in place[:-1]:
        part = part[name]
    change(part, place[-1])
    return document


def test_no_descriptor_is_taken_that_the_schema_refuses(asked: list[Any]) -> None:
    quick = event_model.schema_validators[DESCRIPTOR]
    quick.validate(descriptor())
    assert not asked  # All of it is usual.
    taken = refused = 0
    for place in places(descriptor()):
        documents = [changed(place, lambda part, name: part.pop(name))]
        documents += [
            changed(place, lambda part, name, odd=odd: part.update({name: odd}))  # type: ignore[misc]
            for odd in ODD
        ]
        documents += [
            changed(place, lambda part, name, odd=odd: part.update({odd: part.pop(name)}))  # type: ignore[misc]
            for odd in ("a.b", "a/b", "", "fields", "NX_class", "other")
        ]
        for document in documents:
            asked.clear()
            quick.validate(document)
            if asked:
                refused += 1
            else:
                taken += 1
                assert WHOLE_DESCRIPTOR.is_valid(document), (place, document)
    assert taken > 300  # Both are plenty, else nothing is compared.
    assert refused > 300


def test_a_wrong_descriptor_has_the_schema_s_message() -> None:
    check_documents_quickly()
    quick = event_model.schema_validators[DESCRIPTOR]
    wrong = changed(
        ("data_keys", "motor", "dtype"), lambda part, name: part.update({name: "float"})
    )
    with pytest.raises(ValidationError) as caught:
        quick.validate(wrong)
    with pytest.raises(ValidationError) as expected:
        WHOLE_DESCRIPTOR.validate(wrong)
    assert caught.value.message == expected.value.message


def test_a_baseline_of_200_devices_is_not_looked_at_by_the_schema(asked: list[Any]) -> None:
    engine, described = RunEngine({}), []
    engine.subscribe(lambda _, document: described.append(document), "descriptor")
    motors = [
        SimulatedMotor(name=f"m{number}", unit="mm", velocity=1.0, max_velocity=2.0)
        for number in range(200)
    ]
    beamline = SimulatedBeamline(shape=(16, 16))

    def plan() -> Any:
        yield from bps.null()
        yield from count([beamline.rotation])

    engine(bpp.baseline_wrapper(plan(), [*motors, *beamline.baseline]))
    assert not asked
    (baseline,) = (one for one in described if one["name"] == "baseline")
    assert {f"m{number}" for number in range(200)} <= baseline["data_keys"].keys()
    WHOLE_DESCRIPTOR.validate(baseline)
