"""What becomes of a GenICam camera's frames when packets are lost, and when it dies: by real losses and deaths."""

import ctypes
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import CameraError
from concertino.devices import CameraSettings, GenicamSource
from concertino.frames import FrameRequest
from tests.patience import patience

from .fake_gige import ADDRESS, SMALL, fake_gige, opened
from .needed import need

pytestmark = pytest.mark.disturbed_by_load(
    "the fake camera draws its frames and answers in one thread, and is lost when that gets no processor"
)

FREE = CameraSettings(0.001, 0.0)
_PATIENCE_S = 240.0
#: GigE Vision's register of the port to which the frames are sent.
_STREAM_PORT = 0x0D00


def take(source: GenicamSource, count: int, settings: CameraSettings = FREE) -> int:
    """Take frames; return how many were whole."""
    source.prepare(FrameRequest(count), settings)
    source.start()
    whole = exposed = 0
    out = np.empty((4, *source.shape), source.dtype)
    left = patience()
    while left() and exposed < count:
        grab = source.grab(out)
        whole += len(grab.numbers)
        exposed += len(grab.numbers) + len(grab.dropped)
    source.stop()
    return whole


def grab_on(source: GenicamSource, out: NDArray[np.uint16]) -> None:
    """Grab until the source fails."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        source.grab(out)


def test_lost_packets_make_lost_frames_that_are_told_by_number() -> None:
    need("genicam")
    # Two of a hundred packets are not sent; a frame takes four. It cannot send one again.
    with fake_gige("-r", "20") as _, opened() as source:
        source.prepare(
            FrameRequest(400), CameraSettings(0.01, 200.0, {"bit_depth": 8, "gain": 0.0})
        )
        source.start()
        numbers: list[int] = []
        dropped: list[int] = []
        frames = np.empty((400, *source.shape), source.dtype)
        starts: set[int] = set()
        left = patience()
        while left() and len(numbers) + len(dropped) < 400:
            grab = source.grab(frames[:8])
            numbers += grab.numbers.tolist()
            dropped += grab.dropped
            for number, frame in zip(grab.numbers, frames, strict=False):
                # The ramp goes on by one a frame, lost or not: by this the numbers are right.
                starts.add((int(frame[0, 0]) - int(number)) % 255)
        source.stop()
        assert sorted(numbers + dropped) == list(range(400))
        assert 0 < len(dropped) < 200
        assert len(starts) == 1


def test_a_lost_camera_is_told_and_opened_again_by_the_next_prepare() -> None:
    need("genicam")
    with fake_gige() as camera, opened() as source:
        source.prepare(FrameRequest(None), CameraSettings(0.001, 20.0))
        source.start()
        out = np.empty((4, *source.shape), source.dtype)
        source.grab(out)
        camera.kill()
        with pytest.raises(CameraError, match="was lost: it does not answer any more"):
            grab_on(source, out)
        begun = time.monotonic()
        source.stop()
        assert time.monotonic() - begun < 5
        with pytest.raises(CameraError, match="Check that the camera is on"):
            source.prepare(FrameRequest(1), FREE)
        camera.start()
        settings = CameraSettings(0.001, 0.0, {"region": SMALL, "bit_depth": 16})
        assert take(source, 5, settings) == 5


def test_a_stop_is_bounded_when_the_camera_has_just_died() -> None:
    need("genicam")
    with fake_gige() as camera, opened() as source:
        source.prepare(FrameRequest(None), CameraSettings(0.001, 20.0))
        source.start()
        camera.kill()
        begun = time.monotonic()
        source.stop()
        assert time.monotonic() - begun < 10
        camera.start()
        assert take(source, 1) == 1


def test_a_camera_that_is_closed_as_it_is_found_lost_ends_no_process() -> None:
    need("genicam")
    with fake_gige() as camera:
        done = subprocess.run(
            [sys.executable, "-m", "tests.devices.vendors.closed_as_lost", str(camera.process.pid)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True, text=True, timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr


def test_packets_that_are_of_no_frame_are_no_lost_frames() -> None:
    need("genicam")
    with fake_gige(), opened() as source:
        source.prepare(FrameRequest(1, trigger="edge"), FREE)  # so that nothing else comes
        source.start()
        library, port = ctypes.CDLL(source._device.aravis.path), ctypes.c_uint32()
        device, where = ctypes.c_void_p(source._device.handle), ctypes.c_uint64(_STREAM_PORT)
        assert library.arv_device_read_register(device, where, ctypes.byref(port), None)
        with socket.socket(type=socket.SOCK_DGRAM) as stranger:
            for _ in range(3):
                stranger.sendto(bytes(1000), (ADDRESS, port.value & 0xFFFF))
        until = time.monotonic() + 2
        while time.monotonic() < until:
            with source._using:
                assert source._stream is not None
                with source._stream.next(wait=True) as came:
                    assert came is None
        source.stop()
