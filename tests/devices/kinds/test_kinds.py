"""Device kinds made from signals of any library, in the unit of the kind."""

import asyncio
from collections.abc import Callable
from typing import Any

import ophyd
import ophyd.sim
import pytest
import scipy.constants
from ophyd_async.core import soft_signal_rw

from concertino import DeviceError, ParameterError
from concertino.devices import (
    DetectorStage,
    DeviceKind,
    Instrument,
    LensChanger,
    Monochromator,
    SetpointAndLimits,
    SimulatedMotor,
    TubeSettings,
)


def asynchronous(value: Any, unit: str) -> Any:
    return soft_signal_rw(type(value), value, units=unit or None, name="signal")


class _WithUnit(ophyd.Signal):  # type: ignore[misc]
    """A signal as EPICS has it, with a unit, limits and an answer that comes at once."""

    def __init__(self, unit: str, **given: Any) -> None:
        super().__init__(**given)
        self._unit = unit

    def describe(self) -> dict[str, Any]:
        told: dict[str, Any] = super().describe()
        told[self.name] |= {"units": self._unit, "lower_ctrl_limit": -5, "upper_ctrl_limit": 50000}
        return told


def synchronous(value: Any, unit: str) -> Any:
    return _WithUnit(unit, name="signal", value=value)


def told(device: DeviceKind, camera: str = "camera") -> dict[str, float]:
    return dict(asyncio.run(device.optics(camera)))


@pytest.mark.parametrize("signal", [asynchronous, synchronous])
def test_any_signal_tells_in_the_unit_of_the_kind(signal: Callable[[Any, str], Any]) -> None:
    assert told(Monochromator(energy=signal(12400.0, "eV"))) == {"energy_kev": 12.4}
    # Photons of 1 angstrom have h c / (1e-10 m e) eV.
    kev = scipy.constants.h * scipy.constants.c / 1e-10 / scipy.constants.e / 1000
    for wavelength in (signal(0.1, "nm"), "1 angstrom", 1):
        assert told(Monochromator(wavelength=wavelength))["energy_kev"] == pytest.approx(
            kev, rel=1e-9
        )
    stage = DetectorStage(distance=signal(0.08, "m"), offset="5 mm", source_distance="44 m")
    assert told(stage) == {"propagation_distance_mm": 85.0, "source_distance_mm": 44e3}
    turret = LensChanger(objective=signal("10x", ""), magnifications={"5x": 5, "10x": 9.98})
    assert told(turret) == {"magnification": 9.98}
    # One that states no unit, as Tango attributes do not, is told.
    stated = Monochromator(energy=signal(20000.0, ""), units={"energy": "eV"})
    assert told(stated) == {"energy_kev": 20.0}
    assert told(Monochromator(energy="20 keV", camera="detail")) == {}


def test_a_baseline_has_set_points_and_limits_in_the_same_unit() -> None:
    async def read(device: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return await device.describe(), await device.read()

    described, reading = asyncio.run(read(Monochromator(energy=synchronous(20000.0, "eV"))))
    assert {key: reading[key]["value"] for key in described} == {
        "monochromator-energy": 20.0,
        "monochromator-energy-low_limit": -0.005,
        "monochromator-energy-high_limit": 50.0,
    }
    assert {each["units"] for each in described.values()} == {"keV"}
    motor = SimulatedMotor("mm", velocity=1, max_velocity=2, limits=(-3, 7), name="z")
    _, reading = asyncio.run(read(SetpointAndLimits(motor)))
    assert {key: each["value"] for key, each in reading.items()} == {
        "z": 0.0, "z-setpoint": 0.0, "z-low_limit": -3.0, "z-high_limit": 7.0,
    }  # fmt: skip
    described, reading = asyncio.run(read(SetpointAndLimits(ophyd.sim.SynAxis(name="old"))))
    assert list(described) == list(reading) == ["old", "old_setpoint"]  # it reads that itself
    switch = soft_signal_rw(bool, False, name="switch")
    assert list(asyncio.run(read(SetpointAndLimits(switch)))[0]) == ["switch"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Monochromator(), r"nothing was given, and a monochromator tells energy, wavelength"),
        (lambda: Monochromator(energy="20 mm"), r"monochromator-energy: an energy in keV is wanted"),
        (lambda: Monochromator(energy=[20]),  # type: ignore[arg-type]
         r"\[20\] was given. Give a signal or motor"),
        (lambda: Instrument("toaster", heat=1), r"kind: 'toaster' was given; give one of attenuator"),
        (lambda: Instrument("pump", heat=1), r"heat was given, and a pump tells|pump: heat was given"),
    ],
)  # fmt: skip
def test_what_no_kind_can_have(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (Monochromator(energy=20, wavelength=1), r"energy of 20 keV and a wavelength of 1 angstrom, which is 12\.3984 keV"),
        (Monochromator(energy=asynchronous(20.0, "mm")), r"signal reads as 20 in 'mm', and 'keV' is wanted"),
        (Monochromator(energy=asynchronous("high", "")), r"signal reads as 'high', which is no number"),
        (LensChanger(objective="2x", magnifications={"5x": 5}), r"objective '2x' in the beam; magnifications are known of 5x"),
        (LensChanger(objective="5x", magnification=4, magnifications={"5x": 5}), r"magnification of 4, and the objective '5x' has 5"),
        (LensChanger(magnification=0), r"magnification of 0"),
        (TubeSettings(voltage=100, current="2 mA", power_limit=150), r"100 kV and 2000 uA, which are 200 W; its target takes 150 W"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_right(device: DeviceKind, said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        told(device)


def test_an_instrument_tells_what_its_kind_has() -> None:
    ring = Instrument(
        "storage_ring", current=asynchronous(0.1, "A"), energy="6 GeV", lifetime="2 hour"
    )

    async def read() -> Any:
        await ring.describe()
        return await ring.read(), await ring["current"].present()

    reading, current = asyncio.run(read())
    assert {key: each["value"] for key, each in reading.items()} == {
        "storage_ring-current": 100.0, "storage_ring-current-setpoint": 100.0,
        "storage_ring-energy": 6.0, "storage_ring-lifetime": 2.0,
    }  # fmt: skip
    assert current == 100.0
    assert told(ring) == {}
    with pytest.raises(DeviceError, match="storage_ring was asked for mode; it tells current"):
        ring["mode"]
