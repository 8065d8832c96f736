import asyncio
import math
from collections.abc import Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pint
import pytest
from bluesky import Msg, RunEngine
from bluesky.utils import FailedStatus, MsgGenerator
from ophyd import Signal
from ophyd.sim import SynAxis
from ophyd_async.core import SignalRW, StrictEnum, soft_signal_rw
from ophyd_async.sim import SimMotor

from concertino import ParameterError
from concertino.devices import SimulatedBeamline
from concertino.session._unit_guard import UnitGuard
from concertino.units import q

FOREIGN: pint.UnitRegistry[Any] = pint.UnitRegistry()


class Gain(StrictEnum):
    LOW = "10 mm"
    HIGH = "20 mm"


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    engine = RunEngine({}, context_managers=[])
    engine.preprocessors.append(UnitGuard())
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join(timeout=5)
    engine.loop.close()


def call(engine: RunEngine, awaitable: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(awaitable, engine.loop).result(timeout=5)


def motor(engine: RunEngine, units: str) -> SimMotor:
    async def connected() -> SimMotor:
        device = SimMotor("rotation", units=units)
        await device.connect()
        return device

    return call(engine, connected())  # type: ignore[no-any-return]


def signal(engine: RunEngine, datatype: Any, initial: Any, **kwargs: Any) -> SignalRW[Any]:
    async def connected() -> SignalRW[Any]:
        made: SignalRW[Any] = soft_signal_rw(datatype, initial, name="signal", **kwargs)
        await made.connect()
        return made

    return call(engine, connected())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "value",
    [90 * q.deg, 0.25 * q.turn, math.pi / 2 * q.rad, 90 * FOREIGN.deg, "90 deg", {"value": 90, "unit": "deg"}],
)  # fmt: skip
@pytest.mark.parametrize(("units", "expected"), [("deg", 90), ("rad", math.pi / 2)])
def test_a_quantity_arrives_in_the_unit_of_the_motor(
    engine: RunEngine, value: Any, units: str, expected: float
) -> None:
    rotation = motor(engine, units)

    engine(bps.mv(rotation, value))

    assert call(engine, rotation.user_readback.get_value()) == pytest.approx(expected, rel=1e-12)


def test_ophyd_axis(engine: RunEngine) -> None:
    stage = SynAxis(name="stage", egu="mm")

    engine(bps.mv(stage, 1 * q.cm))

    assert stage.position == 10


def test_signal(engine: RunEngine) -> None:
    exposure = signal(engine, float, 0.0, units="s")

    engine(bps.abs_set(exposure, "20 ms", wait=True))

    assert call(engine, exposure.get_value()) == pytest.approx(0.02)


def test_two_devices_in_one_move(engine: RunEngine) -> None:
    rotation, stage = motor(engine, "rad"), SynAxis(name="stage", egu="mm")

    engine(bps.mv(rotation, 90 * q.deg, stage, "1 um"))

    assert call(engine, rotation.user_readback.get_value()) == pytest.approx(math.pi / 2)
    assert stage.position == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            10 * q.mm,
            "rotation: an angle in deg is wanted, but '10 millimeter' is a length. "
            "Give a plain number in deg or a quantity such as '10 deg'.",
        ),
        (
            "90 dogs",
            "rotation: 'dogs' in '90 dogs' is not a unit that is known. "
            "Give one such as 'mm', 'deg', 's' or 'px'.",
        ),
        (
            "ninety",
            "rotation: 'ninety' is no quantity. Give a number with a unit, such as '10 mm'.",
        ),
        (
            "90",
            "rotation: '90' has no unit. Give it one, such as '90 deg'.",
        ),
    ],
)
def test_refused_before_the_motor_gets_it(engine: RunEngine, value: Any, message: str) -> None:
    rotation = motor(engine, "deg")

    with pytest.raises(ParameterError) as caught:
        engine(bps.mv(rotation, value))

    assert str(caught.value) == message
    assert call(engine, rotation.user_setpoint.get_value()) == 0


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (
            "",
            "rotation: '90 degree' cannot be converted, as the device states no unit. "
            "Give a plain number in the unit that it uses.",
        ),
        (
            "ticks of it",
            "rotation: '90 degree' cannot be converted, as the unit that the device states, "
            "'ticks of it', is not known. Give a plain number in that unit.",
        ),
    ],
)
def test_a_motor_without_a_usable_unit(engine: RunEngine, units: str, message: str) -> None:
    rotation = motor(engine, units)

    with pytest.raises(ParameterError) as caught:
        engine(bps.mv(rotation, 90 * q.deg))

    assert str(caught.value) == message


def test_what_is_no_quantity_passes_as_it_is(engine: RunEngine) -> None:
    gain = signal(engine, Gain, Gain.LOW)
    text = signal(engine, str, "")
    old = Signal(name="old")

    engine(bps.mv(gain, "20 mm", text, "10 mm", old, "10 mm"))

    assert call(engine, gain.get_value()) == Gain.HIGH
    assert call(engine, text.get_value()) == "10 mm"
    assert old.get() == "10 mm"


def test_the_plan_sees_the_error_and_can_clean_up(engine: RunEngine) -> None:
    rotation = motor(engine, "deg")

    def plan() -> MsgGenerator[str]:
        try:
            yield from bps.mv(rotation, 10 * q.mm)
        except ParameterError:
            yield from bps.mv(rotation, "45 deg")
        return "done"

    result = engine(bpp.finalize_wrapper(plan(), bps.mv(rotation, 0.5 * q.turn)))

    assert call(engine, rotation.user_readback.get_value()) == 180
    assert result is not None


def test_the_same_message_twice(engine: RunEngine) -> None:
    rotation = motor(engine, "deg")
    message = Msg("set", rotation, 0.25 * q.turn, group="move")

    def plan() -> MsgGenerator[None]:
        for _ in range(2):
            yield message
            yield Msg("wait", None, group="move")

    engine(plan())

    assert call(engine, rotation.user_readback.get_value()) == 90


def test_a_device_that_refuses_fails_in_the_plan(engine: RunEngine) -> None:
    stage = SynAxis(name="stage", egu="mm")
    failed = []

    def plan() -> MsgGenerator[None]:
        try:
            yield from bps.mv(stage, "1 mm", timeout=5, nonsense=True)
        except TypeError as error:
            failed.append(error)

    engine(plan())

    assert len(failed) == 1


def test_without_the_guard_an_angle_is_refused_and_not_misread(engine: RunEngine) -> None:
    engine.preprocessors.clear()
    rotation = motor(engine, "deg")

    with pytest.raises(FailedStatus) as caught:
        engine(bps.mv(rotation, 90 * q.deg))

    assert isinstance(caught.value.__cause__, pint.DimensionalityError)


def test_a_cameras_own_units_are_its_settings_affair(engine: RunEngine) -> None:
    camera = SimulatedBeamline(shape=(8, 8)).camera
    gain = call(engine, camera.gain.get_value())
    engine(bps.mv(camera.gain, f"{2 * gain} counts/electron", camera.exposure, "20 ms"))
    assert call(engine, camera.gain.get_value()) == pytest.approx(2 * gain)
    assert call(engine, camera.exposure.get_value()) == pytest.approx(0.02)
    with pytest.raises(FailedStatus) as caught:
        engine(bps.mv(camera.exposure, "20 mm"))
    assert "Camera camera cannot be set to that: exposure: a time in s" in str(
        caught.value.__cause__
    )
