"""The areaDetector to try things with: found while it runs, and its frames are those that it says."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
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


_CLIENT = """
import sys
from concertino.devices import AreaDetectorCamera
camera = AreaDetectorCamera("SIMULATED:", control="pva")
print("there", flush=True)
sys.stdin.read()
"""


def test_one_that_is_gone_fills_no_terminal_with_lines(tmp_path: Path) -> None:
    """Its library tries to connect every ten seconds, and says so each time to those who want to hear it."""
    said = {"quiet": tmp_path / "quiet", "told to": tmp_path / "told"}
    with ExitStack() as stack:
        with SimulatedAreaDetector():
            for how, file in said.items():
                log = {} if how == "quiet" else {"PVXS_LOG": "pvxs.tcp.io=ERR"}
                client = stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-c", _CLIENT], env={**os.environ, **log}, text=True,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        stderr=stack.enter_context(file.open("w")),
                    )
                )  # fmt: skip
                stack.callback(client.kill)
                assert client.stdout is not None
                assert client.stdout.readline() == "there\n"
        left = patience()
        # Its two connections, and one of them again: so long the other client has tried, too.
        while left() and said["told to"].read_text().count("Connection refused") < 3:
            time.sleep(0.2)
    assert said["quiet"].read_text() == ""
