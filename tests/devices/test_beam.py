"""What switches the beam: shutter, tube, and anything else by a SignalBeam."""

import asyncio
import math
import time
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky import RunEngine
from ophyd.sim import SynAxis
from ophyd_async.core import soft_signal_rw

from concertino import DeviceError, ParameterError
from concertino.callbacks import ImageWriter
from concertino.devices import (
    SignalBeam,
    SimulatedBeamline,
    SimulatedShutter,
    SimulatedStorageRing,
    SimulatedTube,
)
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import open_run

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("beam", "on", "off"),
    [
        (SimulatedShutter(name="shutter"), "open", "closed"),
        (SimulatedTube(name="tube"), "on", "off"),
    ],
    ids=["shutter", "tube"],
)
async def test_switching(beam: Any, on: str, off: str) -> None:
    def lit() -> bool:
        return bool(beam.is_open if isinstance(beam, SimulatedShutter) else beam.is_on)

    key = f"{beam.name}-state"
    assert not lit()
    for value, state in ((True, on), (False, off), (on, on), (off, off), (1, on), (0, off)):
        await beam.set(value)
        assert lit() == (state == on)
        assert (await beam.read())[key]["value"] == state


@pytest.mark.parametrize("wrong", ["ajar", None, 2, 0.5, ""])
async def test_what_is_no_switch_position(wrong: Any) -> None:
    shutter = SimulatedShutter(name="shutter")
    with pytest.raises(DeviceError) as caught:
        await shutter.set(wrong)
    assert str(caught.value) == (
        f"Beam switch shutter was set to {wrong!r}; it takes True (beam on) or False (beam off), or "
        "one of the words open, on, closed, close, off."
    )
    assert not shutter.is_open


async def test_a_slow_shutter_and_what_a_camera_sees_of_it() -> None:
    shutter = SimulatedShutter(delay_s=0.05, name="shutter")
    began = time.time()
    await shutter.set(True)
    opened = time.time()
    assert opened - began >= 0.05
    await asyncio.sleep(0.05)
    await shutter.set(False)
    closed = time.time()
    history = shutter.history
    assert history.fraction(began, began + 0.04) == 0
    assert history.fraction(opened, opened + 0.04) == 1
    assert history.fraction(closed, closed + 1) == 0
    half = history.fraction(opened - 0.02, opened + 0.02)
    assert 0.3 < half < 0.7


async def test_a_tube_needs_time_to_come_on_and_none_to_go_off() -> None:
    tube = SimulatedTube(ramp_s=0.05, name="tube")
    began = time.monotonic()
    await tube.set(True)
    assert time.monotonic() - began >= 0.05
    status = tube.set(False)
    await asyncio.sleep(0)
    assert not tube.is_on
    await status
    configuration = await tube.read_configuration()
    assert configuration["tube-voltage"]["value"] == 60
    assert (await tube.describe_configuration())["tube-voltage"]["units"] == "kV"


async def test_the_ring_loses_current() -> None:
    ring = SimulatedStorageRing(current=200.0, lifetime_h=1 / 3600, name="ring")
    now = time.time()
    assert ring.current_at(now + 1) == pytest.approx(200 / 2.718281828, rel=0.05)
    reading = await ring.read()
    assert 0 < reading["ring-current"]["value"] <= 200


def test_a_switch_over_a_signal_of_words() -> None:
    RE = RunEngine({})
    signal = soft_signal_rw(str, "?", name="frontend")
    RE(bps.wait_for([signal.connect]))
    beam = SignalBeam(signal, on="Open", off="Close")
    for value, word in ((True, "Open"), (False, "Close"), ("on", "Open"), ("closed", "Close")):
        RE(bps.abs_set(beam, value, wait=True))
        assert asyncio.run_coroutine_threadsafe(signal.get_value(), RE.loop).result() == word
    with pytest.raises(DeviceError, match="Beam switch frontend was set to 'ajar'"):
        RE(bps.abs_set(beam, "ajar", wait=True))


def test_a_switch_over_an_ophyd_device_can_be_read() -> None:
    RE = RunEngine({})
    filter_wheel = SynAxis(name="wheel")
    beam = SignalBeam(filter_wheel, on=3, off=0)
    RE(bps.abs_set(beam, True, wait=True))
    assert filter_wheel.position == 3
    assert beam.read()["wheel"]["value"] == 3
    assert "wheel" in beam.describe()


def test_a_beamline_of_no_known_source() -> None:
    with pytest.raises(ParameterError) as caught:
        SimulatedBeamline(shape=(16, 16), source="laser")
    assert str(caught.value) == "source: 'laser' was given; give 'synchrotron' or 'tube'."


@pytest.mark.parametrize(("source", "baseline"), [("synchrotron", 5), ("tube", 4)])
def test_the_state_of_a_beamline_follows_its_devices(source: str, baseline: int) -> None:
    RE, b = RunEngine({}), SimulatedBeamline(shape=(16, 16), source=source)
    assert len(b.baseline) == baseline
    RE(bps.mv(b.rotation, 90, b.sample_stage, 3, b.beam, True))
    now = time.time()
    state = b.state(now, now + 0.01)
    assert state.beam_on == 1
    assert state.angle_start_rad == pytest.approx(1.5708, abs=1e-4)
    assert state.sample_offset_mm == (3, 0)
    assert (state.ring_current_ma is None) == (source == "tube")
    RE(bps.mv(b.beam, False))
    now = time.time()
    assert b.state(now, now + 0.01).beam_on == 0


def mean_flat(root: Path, **tube: float) -> float:
    """Return the mean of the flats of a scan at such a tube, darks taken off, in counts."""
    b = SimulatedBeamline(shape=(32, 64), source="tube", exposure=0.002, frame_rate=200.0)
    session = open_session(root, progress=False, catalog=False)
    session.subscribe(ImageWriter())
    try:
        session.RE(
            bps.mv(*[a for name, value in tube.items() for a in (getattr(b.tube, name), value)])
        )
        session.RE(
            radiography(
                b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=10,
                num_darks=10, num_flats=10, num_projections=1,
            )
        )  # fmt: skip
        run = open_run(1, session.directory)
        stored = [np.asarray(run.frames(kind)[:], float).mean() for kind in ("flats", "darks")]
        return float(stored[0] - stored[1])
    finally:
        session.close()


@pytest.mark.parametrize(
    ("voltage", "current", "factor"),
    [(60.0, 1000.0, 1.0), (30.0, 1000.0, 0.25), (60.0, 500.0, 0.5), (40.0, 1500.0, 1.5 * 4 / 9)],
)
def test_the_light_of_a_tube_is_its_current_times_its_voltage_squared(
    tmp_path: Path, voltage: float, current: float, factor: float
) -> None:
    nominal = mean_flat(tmp_path / "nominal", voltage=60.0, current=1000.0)
    found = mean_flat(tmp_path / "other", voltage=voltage, current=current)
    # The beam drifts by at most 1 % over minutes.
    assert found / nominal == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
async def test_a_tube_refuses_what_is_no_voltage(wrong: float) -> None:
    tube = SimulatedTube(name="tube")
    with pytest.raises(
        DeviceError, match=r"voltage of tube tube was set to .* kV; it takes 0 kV or"
    ):
        await tube.voltage.set(wrong)
    with pytest.raises(
        DeviceError, match=r"current of tube tube was set to .* uA; it takes 0 uA or"
    ):
        await tube.current.set(wrong)
    assert (tube.voltage_at(time.time()), tube.current_at(time.time())) == (60.0, 1000.0)


async def test_a_ring_tells_by_itself_that_it_decays() -> None:
    ring = SimulatedStorageRing(current=200.0, lifetime_h=2 / 3600, name="ring")
    told: list[tuple[float, float]] = []

    def note(reading: dict[str, Any]) -> None:
        told.append((reading["ring-current"]["timestamp"], reading["ring-current"]["value"]))

    ring.current.subscribe(note)
    deadline = time.monotonic() + 240
    while len(told) < 4 and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    ring.current.clear_sub(note)
    (first_s, first), *rest = told
    assert len(rest) >= 3
    for time_s, value in rest:  # It falls to 1/e in two seconds.
        assert value / first == pytest.approx(math.exp(-(time_s - first_s) / 2), rel=0.02)
