"""Cameras whose control is asynchronous: in the loop with a deadline, their frames past it."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from bluesky.utils import FailedStatus
from numpy.typing import NDArray

from concertino import CameraError
from concertino.devices import AsyncFrameSource, Camera, CameraSettings, Grab, TriggeredAsyncSource
from concertino.frames import FrameRequest

from .scanning import Reader, Scans, fly, read_all


class Counting:
    """Frames whose pixels are their number, as fast as somebody takes them."""

    shape = (4, 6)
    dtype: np.dtype[Any] = np.dtype(np.uint16)
    pixel_size_um = 0.0

    def __init__(self, fault: str = "") -> None:
        self.threads: dict[str, set[int]] = {}
        self.calls: list[str] = []
        self._fault, self._ready, self._done = fault, 0, 0

    def _note(self, what: str) -> None:
        self.calls.append(what)
        self.threads.setdefault(what, set()).add(threading.get_ident())

    async def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        self._note("prepare")

    async def start(self) -> None:
        self._note("start")
        self._ready = self._done = 0
        if self._fault == "start":
            await asyncio.Event().wait()

    async def wait(self) -> None:
        self._note("wait")
        await asyncio.sleep(0.001)
        if self._fault == "silent" and self._done >= 3:
            await asyncio.Event().wait()
        if self._fault == "wait" and self._done >= 3:
            raise CameraError("The counter is broken. Mend it.")
        self._ready += 2

    def grab(self, out: NDArray[Any]) -> Grab:
        self._note("grab")
        count = min(len(out), self._ready - self._done)
        numbers = np.arange(self._done, self._done + count)
        out[:count] = numbers[:, None, None]
        self._done += count
        return Grab(np.full(count, time.time_ns(), np.int64), numbers)

    async def stop(self) -> None:
        self._note("stop")


def test_control_is_in_the_loop_and_frames_are_not() -> None:
    scans, source = Scans(), Counting()
    assert isinstance(source, AsyncFrameSource)
    assert not isinstance(source, TriggeredAsyncSource)
    scans.RE.subscribe(Reader(read_all))
    scans.RE(fly(Camera(source, exposure=0.0), FrameRequest(10, kind="projections")))
    assert scans.find("stop")[0]["exit_status"] == "success"
    assert scans.described() == list(range(10))
    loops = [source.threads[what] for what in ("prepare", "start", "wait", "stop")]
    assert all(each == loops[0] for each in loops)
    assert not source.threads["grab"] & loops[0]
    assert source.calls.count("start") == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("start", "A camera was told to start and has not within 0.5 s"),
        ("wait", "The counter is broken"),
        ("silent", "gave no frame for"),
    ],
)
def test_what_goes_wrong_fails_in_time(fault: str, reason: str) -> None:
    scans, source = Scans(), Counting(fault)
    camera = Camera(source, exposure=0.0, frame_timeout_s=0.5)
    begun_s = time.monotonic()
    with pytest.raises((CameraError, FailedStatus)) as caught:
        scans.RE(fly(camera, FrameRequest(10, kind="projections")))
    told = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert reason in told
    assert time.monotonic() - begun_s < 60
    assert source.calls[-1] == "stop" or fault == "start"


def test_a_plan_that_steps_refuses_one_without_software_triggers() -> None:
    scans = Scans()
    with pytest.raises(FailedStatus) as caught:
        scans.RE(fly(Camera(Counting()), FrameRequest(2, kind="projections", trigger="software")))
    assert "takes none" in str(caught.value.__cause__)
