"""A camera that waits for who takes its frames, while the rotation does not."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.utils import FailedStatus
from numpy.typing import NDArray

from concertino import CameraError, FramesLostError
from concertino.callbacks import FrameConsumer
from concertino.devices import Camera, CameraSettings, Grab, SimulatedBeamline, SimulatedEncoder
from concertino.frames import FrameRequest
from concertino.plans import continuous_tomography
from concertino.plans._asked_angles import AskedAngles
from concertino.session import open_session

pytestmark = pytest.mark.disturbed_by_load(
    "a consumer takes frames at a rate of its own, which a busy machine does not keep"
)

COUNT, RATE_HZ, SLOW_S = 60, 60.0, 0.05


class Waits:
    """A source at a pace of its own, which exposes the next frame when there is room for it."""

    pixel_size_um = 1.0
    shape = (64, 64)
    dtype = np.dtype(np.uint16)

    def __init__(self, drops: bool = False) -> None:
        self._drops = drops

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        self._kind, self._sent = request.kind, 0

    def start(self) -> None:
        self._next_s = time.monotonic()

    def grab(self, out: NDArray[Any]) -> Grab:
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        lost: tuple[int, ...] = ()
        if self._drops and self._kind == "projections":
            behind = int((time.monotonic() - self._next_s) * RATE_HZ)
            lost = tuple(range(self._sent, self._sent + min(behind, COUNT - 1 - self._sent)))
        self._sent += len(lost)
        self._next_s = time.monotonic() + 1 / RATE_HZ
        out[0] = {"darks": 100, "flats": 4000}.get(self._kind, 3000)
        self._sent += 1
        return Grab(np.array([time.time_ns()]), np.array([self._sent - 1]), lost)

    def trigger(self) -> None: ...

    def stop(self) -> None: ...


def scan(directory: Path, source: Waits, encoder: bool = True, **how: Any) -> None:
    beamline = SimulatedBeamline(shape=(16, 16), encoder=SimulatedEncoder() if encoder else None)
    camera = Camera(
        source, exposure=0.005, frame_rate=RATE_HZ, ring_bytes=4 * 64 * 64 * 2, name="camera"
    )

    def slow(frame: Any, stream: str, index: int) -> None:
        if stream == "projections":
            time.sleep(SLOW_S)

    with open_session(directory, progress=False, catalog=False) as session:
        session.require_storage = False
        session.subscribe(FrameConsumer(slow, name="slow writer", necessary=True))
        session.RE(
            continuous_tomography(
                camera, beamline.rotation, beamline.beam, beamline.sample_stage, radio_position=0,
                flat_position=20, num_darks=2, num_flats=2, num_projections=COUNT,
                angular_range="180 deg", **how,
            )
        )  # fmt: skip


@pytest.mark.parametrize("encoder", [True, False])
def test_projections_that_are_not_where_they_were_asked_for_fail(
    tmp_path: Path, encoder: bool
) -> None:
    with pytest.raises((CameraError, FailedStatus)) as caught:
        scan(tmp_path, Waits(), encoder)
    told = str(caught.value)
    assert "was asked for 60 projections every 3 deg" in told
    assert "more than half a step from where they were asked for" in told
    assert "slow writer held up the camera for" in told


def test_who_flags_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scan(tmp_path, Waits(), on_lost="flag")
    assert any("slow writer held up the camera" in record.message for record in caplog.records)


def test_lost_frames_name_who_held_up_the_camera(tmp_path: Path) -> None:
    with pytest.raises((FramesLostError, FailedStatus)) as caught:
        scan(tmp_path, Waits(drops=True))
    assert "the camera dropped" in str(caught.value)
    assert "slow writer held up the camera for" in str(caught.value)


def astray(angles: NDArray[np.float64], spread: float = 0.0) -> float:
    """Share of the projections of a sweep of 100 at 1 deg/s in steps of 1 deg that are astray."""
    asked = AskedAngles(1.0, 100, 1.0)
    for part in np.array_split(np.arange(100), 3):
        asked.got(part, angles[part], np.full(len(part), spread))
    return asked.astray


def test_what_is_astray_is_counted() -> None:
    asked = np.arange(100.0)
    assert astray(asked) == 0
    assert astray(asked + 37.3) == 0  # all of them turned
    assert astray(np.minimum(5 * asked, 120.0)) > 0.9
    assert astray(np.where(asked < 60, asked, asked + 20)) == pytest.approx(0.4)  # it paused once
    assert astray(np.minimum(asked, 59.0)) == pytest.approx(0.4, abs=0.01)
    shaken = asked + np.random.default_rng(1).uniform(-0.55, 0.55, 100)
    assert astray(shaken) < 0.1  # half a step, and a tenth of a second
    assert astray(asked + np.random.default_rng(1).normal(0, 1, 100)) > 0.4
    assert astray(asked + np.random.default_rng(1).normal(0, 1, 100), spread=1.0) < 0.02
