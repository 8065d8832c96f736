"""Checks of parameters that pydantic does: what is refused, and that the rest stays as it was given."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, create_model

from concertino import ParameterError
from concertino.units import (
    ChecksMembers,
    ChecksPosition,
    ChecksQuantity,
    ChecksScanArguments,
    MotorPlace,
    ParameterCheck,
)

PLACES: tuple[MotorPlace, ...] = (
    ("stage", "mm", -5.0, 10.0),
    ("rotation", "deg", None, None),
    ("lift", "um", 0.0, None),
)


class Motor(Enum):
    """The motors, as bluesky's queue server names them."""

    STAGE, LIFT, FAR = "stage", "lift", "far"


@pytest.mark.parametrize("value", [3, 0.5, "1 cm", {"value": 1, "unit": "um"}])
def test_a_quantity_stays_as_it_was_given(value: Any) -> None:
    assert TypeAdapter(Annotated[Any, ChecksQuantity("mm")]).validate_python(value) is value


@pytest.mark.parametrize(
    ("check", "value", "sentence"),
    [
        (ChecksQuantity("mm"), None, "size: None is no quantity. Give a plain number in mm or"),
        (ChecksQuantity("mm", positive=True), "-1 mm", "size: '-1 mm' is not positive. Give more than 0 mm."),
        (ChecksPosition("motor", PLACES), 11, "size: Motor stage was asked to move to 11 mm; its limits are -5 to 10 mm."),
        (ChecksPosition("motor", PLACES), "-6 mm", "size: Motor stage was asked to move to -6 mm; its limits are"),
        (ChecksPosition("motor", PLACES), "1 s", "size: a length in mm is wanted, but '1 s' is a time."),
        (ChecksMembers((("size", ChecksQuantity("s")),)), [1], "size: [1] was given. Give parameters by name"),
        (ChecksMembers((("height", ChecksQuantity("s")),)), {"height": "1 mm"}, "height: a time in s is wanted"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(check: ParameterCheck, value: Any, sentence: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check.check(value, "size", {"motor": "stage"})
    assert str(caught.value).startswith(sentence)


def test_what_may_be_left_out_may_be_none() -> None:
    ChecksQuantity("mm", optional=True).check(None, "size", {})
    ChecksPosition("motor", PLACES, relative=True).check(None, "size", {"motor": "stage"})
    ChecksMembers((("size", ChecksQuantity("s")),)).check({"other": 1}, "parameters", {})


def test_a_motor_is_known_by_the_parameter_before() -> None:
    place: Any = Annotated[Any, ChecksPosition("motor", PLACES)]
    model = create_model("Model", motor=(Motor, ...), place=(place, ...))
    assert model(motor="stage", place="1 cm").model_dump()["place"] == "1 cm"
    assert model(motor="lift", place="2 m").model_dump()["place"] == "2 m"
    with pytest.raises(ValueError, match=r"place: Motor lift .* its limits are 0 to inf um\."):
        model(motor="lift", place=-0.1)
    # Of a motor that told nothing, a quantity of any kind may be a position.
    for good in (3, "4 deg", "2 mm", {"value": 1, "unit": "mm"}):
        model(motor="far", place=good)
    for bad in ("4 xyz", True, None):
        with pytest.raises(ValueError, match="place: "):
            model(motor="far", place=bad)


def test_distances_have_no_limits() -> None:
    ChecksPosition("motor", PLACES, relative=True).check("1 m", "size", {"motor": "stage"})


@pytest.mark.parametrize(
    ("made", "arguments", "sentence"),
    [
        (lambda: ChecksScanArguments(PLACES), ["stage", -5, "1 cm", "rotation", 0, "1 turn"], ""),
        (lambda: ChecksScanArguments(PLACES), ["stage", -5, "1 cm", "rotation", 0, 5, "stage", 11], "start of stage: Motor"),
        (lambda: ChecksScanArguments(PLACES), ["camera"], "args: 'camera' is no motor. Give motor, start, end for each"),
        (lambda: ChecksScanArguments(PLACES, counted=True), ["stage", 0, 1, 0], "number of stage: 0 is too small."),
        (lambda: ChecksScanArguments(PLACES, counted=True), ["stage", 0, 1, 3, "lift", -1], "start of lift: Motor lift"),
        (lambda: ChecksScanArguments(PLACES, relative=True), ["stage", -50, "1 m"], ""),
        (lambda: ChecksScanArguments(PLACES, relative=True), ["stage", -50, "1 s"], "end of stage: a length"),
    ],
)  # fmt: skip
def test_arguments_of_a_scan_are_what_their_places_say(
    made: Callable[[], ChecksScanArguments], arguments: list[Any], sentence: str
) -> None:
    model = create_model("Model", args=(list[Annotated[Any, made()]], ...))
    if not sentence:
        assert model(args=arguments).model_dump()["args"] == arguments
        return
    with pytest.raises(ValueError, match="1 validation error") as caught:
        model(args=arguments)
    assert sentence in str(caught.value)


def test_what_a_check_looks_like_makes_it_anew() -> None:
    names = {kind.__name__: kind for kind in (ChecksMembers, ChecksPosition, ChecksQuantity)}
    check = ChecksMembers((("a", ChecksQuantity("mm", True)), ("b", ChecksPosition("m", PLACES))))
    assert eval(repr(check), names) == check
