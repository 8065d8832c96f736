"""The areaDetector to try things with: found while it runs, and its frames are those that it says."""

import os
from typing import Literal

import numpy as np
import pytest

from concertino.devices import AreaDetectorCamera, CameraSettings, SimulatedAreaDetector
from concertino.frames import FrameRequest
from tests.patience import patience

SHAPE = (24, 40)


@pytest.mark.parametrize("codec", ["", "bslz4"])
def test_its_frames_are_noise_and_their_numbers(codec: Literal["", "bslz4"]) -> None:
    before = dict(os.environ)
    frames = np.random.default_rng(1).integers(900, 1100, (16, *SHAPE), np.uint16)
    with SimulatedAreaDetector(SHAPE, codec=codec, prefix=f"TRY{codec}:") as detector:
        camera = AreaDetectorCamera(detector.prefix, control="pva", exposure=0.001)
        source = camera.source
        source.prepare(FrameRequest(5), CameraSettings(0.001, 100.0))
        source.start()
        numbers: list[int] = []
        left = patience()
        while left() and len(numbers) < 5:
            out = np.empty((5, *SHAPE), np.uint16)
            grab = source.grab(out)
            assert not grab.dropped
            for number, pixels in zip(grab.numbers, out, strict=False):
                assert codec or pixels[-1, -1] == number + 1
                np.testing.assert_array_equal(pixels[:, :-1], frames[number + 1][:, :-1])
            numbers += grab.numbers.tolist()
        source.stop()
        assert detector.pid
    assert numbers == [0, 1, 2, 3, 4]
    assert os.environ == before
    assert not detector.pid
    detector.stop()
