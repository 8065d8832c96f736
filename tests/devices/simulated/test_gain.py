"""The gain of the simulated camera: counts per electron, with the noise that photons have."""

from dataclasses import replace

import numpy as np
import pytest

from concertino import ParameterError
from concertino.devices import CameraSettings, NumberSetting, SimulatedSource
from concertino.frames import FrameRequest
from concertino.simulation import Beam, BeamlineState, Detector, Phantom, Twin

FRAMES, EXPOSURE_S, FLUX_HZ = 120, 0.001, 1e6
#: A beam and a detector without any unevenness: all that is left is the counting of photons.
EVEN = Beam(flux=FLUX_HZ, vertical_width=1e6, horizontal_width=1e6, stripes=0, drift=0, wander_px=0)
DETECTOR = replace(Detector((48, 64), 0.02).even(), gain=0.5, read_noise=6.0)


def source() -> SimulatedSource:
    return SimulatedSource(
        Twin(Phantom(()), EVEN, DETECTOR, seed=4), lambda _begin_s, _end_s: BeamlineState()
    )


@pytest.mark.parametrize("gain", [None, 0.125, 2.0, 8.0])
def test_mean_and_variance_are_those_of_photon_transfer(gain: float | None) -> None:
    camera = source()
    values = {} if gain is None else {"gain": gain}
    camera.prepare(FrameRequest(FRAMES), CameraSettings(EXPOSURE_S, 0.0, values))
    camera.start()
    frames = np.empty((FRAMES, *camera.shape), camera.dtype)
    for index in range(FRAMES):
        camera.grab(frames[index : index + 1])
    camera.stop()
    counts = DETECTOR.gain if gain is None else gain
    electrons = (FLUX_HZ + DETECTOR.dark_current) * EXPOSURE_S
    variance = counts**2 * (electrons + DETECTOR.read_noise**2) + 1 / 12  # and the rounding
    assert frames.mean() == pytest.approx(DETECTOR.offset + counts * electrons, rel=1e-3)
    assert frames.var(axis=0, ddof=1).mean() == pytest.approx(variance, rel=0.02)


def test_it_is_a_setting_with_limits() -> None:
    (gain,) = [each for each in source().settings() if each.name == "gain"]
    assert isinstance(gain, NumberSetting)
    assert (gain.value, gain.lowest, gain.highest) == (0.5, 0.03125, 8.0)
    assert gain.refusal(0.0)


def test_a_twin_has_no_gain_of_nothing() -> None:
    twin, out = source().twin, np.empty(DETECTOR.shape, np.uint16)
    with pytest.raises(ParameterError, match="gain: 0 was given; give more than 0"):
        twin.expose(BeamlineState(), EXPOSURE_S, out, 0, gain=0)
