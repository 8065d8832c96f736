"""Settings of a camera take numbers with units, as the parameters of plans do."""

import asyncio
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus

from concertino import CameraError
from concertino.devices import Camera, IntegerSetting, NumberSetting, SimulatedBeamline
from concertino.units import q

from .test_settings import PulsedSource

STRANGE = NumberSetting(name="Bias", value=1.0, unit="DN", lowest=0.0, highest=99.0)


def make() -> Camera:
    described = (*PulsedSource().described, STRANGE, IntegerSetting(name="bit_depth", value=16, unit="bit", choices=(8, 16)))  # fmt: skip
    return Camera(PulsedSource(*described), exposure=0.01, name="pulsed")


def after_set(name: str, value: Any) -> Any:
    """Set it as a user does at the prompt; return what it is then."""
    camera, engine = make(), RunEngine({})
    engine(bps.mv(camera.settings[name], value))
    return asyncio.run_coroutine_threadsafe(camera.settings[name].get_value(), engine.loop).result()


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("exposure", "4 ms", 0.004),
        ("exposure", " 250us ", 0.00025),
        ("exposure", "1e-3 s", 0.001),
        ("exposure", 4 * q.ms, 0.004),
        ("exposure", {"value": 4, "unit": "ms"}, 0.004),
        ("exposure", 0.004, 0.004),
        ("exposure", 0, 0.0),
        ("frame_rate", "2 kHz", 2000.0),
        ("frame_rate", "50 1/s", 50.0),
        ("gain", "7 dB", 7.0),
        ("gain", {"value": 7, "unit": "dB"}, 7.0),
        ("Bias", "30 DN", 30.0),
        ("bit_depth", "8 bit", 8),
        ("bit_depth", "1 byte", 8),
    ],
)
def test_a_number_with_a_unit(name: str, value: Any, found: float) -> None:
    assert after_set(name, value) == pytest.approx(found)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "exposure", "4 mm",
            "Camera pulsed cannot be set to that: exposure: a time in s is wanted, but '4 mm' is a length. Give a plain number "
            "in s or a quantity such as '10 s'.",
        ),
        ("exposure", "4", "Camera pulsed cannot be set to that: exposure: '4' has no unit. Give it one, such as '4 s'."),
        (
            "exposure", "long",
            "Camera pulsed cannot be set to that: exposure: 'long' is no quantity. Give a number with a unit, such as '10 mm'.",
        ),
        (
            "exposure", None,
            "Camera pulsed was asked for exposure None, which is no number. Give one in s, or with its unit, such as '10 s'.",
        ),
        (
            "frame_rate", True,
            "Camera pulsed was asked for frame_rate True, which is no number. Give one in Hz, or with its unit, such as "
            "'10 Hz'.",
        ),
        (
            "frame_rate", [1, 2],
            "Camera pulsed was asked for frame_rate [1, 2], which is no number. Give one in Hz, or with its unit, such as "
            "'10 Hz'.",
        ),
        ("gain", "25 dB", "Camera pulsed was asked for gain '25 dB'; it takes numbers of 0 to 24 in dB. Set gain to one of these."),
        ("Bias", "4 ms", "Camera pulsed was asked for Bias '4 ms'; it takes numbers of 0 to 99 in DN. Set Bias to one of these."),
        ("binning", "2", "Camera pulsed was asked for binning '2'; it takes 1 or 2. Set binning to one of these."),
    ],
)  # fmt: skip
def test_what_is_refused_and_how_it_is_said(name: str, value: Any, said: str) -> None:
    camera, engine = make(), RunEngine({})
    before = asyncio.run(camera.settings[name].get_value())
    with pytest.raises((FailedStatus, CameraError)) as caught:
        engine(bps.mv(camera.settings[name], value))
    cause = caught.value.__cause__ if isinstance(caught.value, FailedStatus) else caught.value
    assert str(cause) == said
    assert asyncio.run(camera.settings[name].get_value()) == before
    with pytest.raises(CameraError) as asked:
        asyncio.run(camera.settings[name].check_value(value))  # type: ignore[attr-defined]
    assert str(asked.value) == said


def test_a_camera_is_made_with_units_and_its_frames_take_as_long() -> None:
    beamline = SimulatedBeamline(shape=(8, 8), exposure="3 ms", frame_rate="0.1 kHz")  # type: ignore[arg-type]
    camera = beamline.camera
    assert asyncio.run(camera.exposure.get_value()) == pytest.approx(0.003)
    assert asyncio.run(camera.frame_rate.get_value()) == pytest.approx(100)
    with pytest.raises(
        CameraError, match="Camera odd cannot be set to that: exposure: 'x' is no quant"
    ):
        Camera(PulsedSource(), exposure="x", name="odd")  # type: ignore[arg-type]
