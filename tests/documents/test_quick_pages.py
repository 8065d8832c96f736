"""Pages that are checked quickly are those that the schema takes, and no others."""

from collections.abc import Callable
from typing import Any

import event_model
import numpy as np
import pytest
from jsonschema import ValidationError

from concertino.documents import check_pages_quickly

WHOLE = event_model._Validator(event_model.schemas[event_model.DocumentNames.event_page])
MANY = 30_000


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
    check_pages_quickly()
    check_pages_quickly()  # once more does nothing
    quick = event_model.schema_validators[event_model.DocumentNames.event_page]
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


def test_a_long_page_is_not_looked_at_value_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    check_pages_quickly()
    quick = event_model.schema_validators[event_model.DocumentNames.event_page]
    asked: list[Any] = []
    monkeypatch.setattr(quick, "_whole", type("Asked", (), {"validate": asked.append})())
    quick.validate(page(MANY))
    assert not asked
    quick.validate({**page(MANY), "descriptor": 5})
    assert len(asked) == 1
