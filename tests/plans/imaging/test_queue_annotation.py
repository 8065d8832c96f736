"""What a queue server is told of motors: their units and limits, as far as they tell them."""

import asyncio
import inspect
import typing
from typing import Any

import pytest
from bluesky.utils import MsgGenerator
from pydantic import TypeAdapter

from concertino.devices import SimulatedMotor
from concertino.plans import continuous_tomography, motor_places, queue_annotation, radiography
from concertino.plans.imaging import _queue_annotation
from concertino.units import QuantityLike


class Mute:
    """A motor of a control system that does not answer."""

    name, parent = "mute", None

    async def describe(self) -> dict[str, Any]:
        """Wait for ever."""
        await asyncio.Event().wait()
        return {}


def motor(unit: str, low: float, high: float) -> SimulatedMotor:
    return SimulatedMotor(
        unit, velocity=1, max_velocity=2, acceleration_time=0.1, limits=(low, high), name="motor"
    )


def test_motors_tell_units_and_limits() -> None:
    free = SimulatedMotor("um", velocity=1, max_velocity=2, acceleration_time=0.1, name="free")
    places = motor_places({"stage": motor("mm", -3, 5), "free": free})
    assert places == (("stage", "mm", -3.0, 5.0), ("free", "um", None, None))
    assert motor_places({}) == ()


def test_of_a_motor_that_does_not_answer_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queue_annotation, "_TELLS_S", 0.2)
    assert motor_places({"mute": Mute(), "stage": motor("mm", 0, 1)}) == (
        ("stage", "mm", 0.0, 1.0),
    )


@pytest.mark.parametrize(
    ("unit", "good", "bad"),
    [
        ("rad", [57, "-0.99 rad"], [58, "-1.01 rad"]),  # 1 rad is 57.296 deg
        ("deg", [1, "-0.01 rad"], [1.1, "-0.02 rad"]),
        ("mm", [1, -1], [2]),  # a rotation whose unit is no angle is taken to be in deg
    ],
)
def test_angles_have_the_limits_of_the_rotation(unit: str, good: list[Any], bad: list[Any]) -> None:
    places = motor_places({"rotation": motor(unit, -1, 1)})
    told = queue_annotation(continuous_tomography, {"rotation": ["rotation"]}, places)
    annotation = eval(told["parameters"]["start_angle"]["annotation"], {"typing": typing})
    check = typing.get_args(annotation)[1]
    for value in good:
        check.check(value, "start_angle", {"rotation": "rotation"})
    for value in bad:
        with pytest.raises(ValueError, match="start_angle: Motor rotation was asked to move to"):
            check.check(value, "start_angle", {"rotation": "rotation"})


def test_a_plan_of_ones_own_is_described_by_the_names_of_its_parameters() -> None:
    def mine(
        camera: Any, start_angle: QuantityLike, frames: int, note: str = "", tolerance: Any = None
    ) -> MsgGenerator[None]:
        yield from ()

    told = queue_annotation(mine, {"camera": ["camera", "other"]})["parameters"]
    assert told["camera"] == {"annotation": "Camera", "devices": {"Camera": ["camera", "other"]}}
    assert told["frames"]["min"] == 1
    assert "note" not in told
    tolerance = TypeAdapter(eval(told["tolerance"]["annotation"], {"typing": typing}))
    assert tolerance.validate_python(None) is None
    with pytest.raises(ValueError, match="an angle in deg is wanted"):
        tolerance.validate_python("1 mm")


def test_every_device_and_quantity_of_a_plan_is_told() -> None:
    roles = {
        "cameras": ["camera"],
        "beam": ["shutter"],
        "sample_stage": ["stage"],
        "per_frame": ["ring"],
    }
    told = queue_annotation(radiography, roles)["parameters"]
    # The rest bluesky's server understands by itself.
    assert set(inspect.signature(radiography).parameters) - set(told) == {
        "on_lost",
        "readout",
        "md",
    }
