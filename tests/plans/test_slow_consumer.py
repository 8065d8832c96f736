"""A camera that waits for who takes its frames, while the rotation does not."""

import time
from contextlib import nullcontext
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
from concertino.plans.stubs._asked_angles import AnglesCompared, AskedAngles
from concertino.session import open_session
from concertino.storage import open_run, run_angles

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


def scan(
    directory: Path,
    source: Waits,
    encoder: bool = True,
    consumer: FrameConsumer | None = None,
    **how: Any,
) -> None:
    beamline = SimulatedBeamline(shape=(16, 16), encoder=SimulatedEncoder() if encoder else None)
    camera = Camera(
        source, exposure=0.005, frame_rate=RATE_HZ, ring_bytes=4 * 64 * 64 * 2, name="camera"
    )

    def slow(frame: Any, stream: str, index: int) -> None:
        if stream == "projections":
            time.sleep(SLOW_S)

    with open_session(directory, progress=False, catalog=False) as session:
        session.require_storage = False
        session.subscribe(consumer or FrameConsumer(slow, name="slow writer", necessary=True))
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


def asked_of(angles: NDArray[np.float64], spread: float = 0.0, rate: float = 1.0) -> AskedAngles:
    """Return what a sweep in steps of 1 deg, at `rate` frames a second, was to give and gave."""
    asked = AskedAngles(1.0, len(angles), rate)
    for part in np.array_split(np.arange(len(angles)), 3):
        asked.got(part, angles[part], np.full(len(part), spread))
    return asked


def told_of(angles: NDArray[np.float64], caplog: pytest.LogCaptureFixture, **how: Any) -> str:
    """Return what becomes of it: nothing, a warning, or an error."""
    caplog.clear()
    try:
        asked_of(angles, **how).check("camera", "writer held up the camera for 20 s", fail=True)
    except CameraError:
        return "fails"
    return "told" if caplog.records else ""


def test_what_is_astray_is_counted() -> None:
    def shares(angles: NDArray[np.float64], spread: float = 0.0) -> tuple[float, ...]:
        comparison = AnglesCompared("angles")
        comparison.of = asked_of(angles, spread)
        reading = comparison.read()
        return tuple(round(reading[key]["value"], 2) for key in ("astray", "repeated", "missing"))

    asked = np.arange(101.0)
    assert shares(asked) == (0, 0, 0)
    assert shares(asked + 37.3) == (0, 0, 0)  # all of them turned
    assert shares(np.where(asked < 60, asked, asked + 20)) == (0.41, 0, 0.2)  # it paused once
    assert shares(np.minimum(asked, 60.0)) == (0.4, 0.4, 0.4)
    assert shares(np.where(asked <= 60, asked, 100.0)) == (0.39, 0.39, 0.39)
    assert shares(asked + np.random.default_rng(1).normal(0, 1, 101))[0] > 0.4
    assert shares(asked + np.random.default_rng(1).normal(0, 1, 101), spread=1.0)[0] < 0.02


@pytest.mark.parametrize("rate", [1.0, 10.0, 100.0])
def test_a_rotation_that_stood_is_another_scan(
    rate: float, caplog: pytest.LogCaptureFixture
) -> None:
    asked = np.arange(100.0)
    assert told_of(np.minimum(5 * asked, 120.0), caplog, rate=rate) == "fails"
    for stops in 20, 52, 75:  # the camera waits, and takes the others when the rotation has ended
        stood = np.where(asked < stops, asked, 99.0)
        assert told_of(stood, caplog, rate=rate) == "fails", stops
        assert told_of(-stood[::-1], caplog, rate=rate) == "fails", stops
    assert told_of(np.where(asked < 92, asked, 99.0), caplog, rate=rate) == "told"


def test_many_steps_are_no_shaking(caplog: pytest.LogCaptureFixture) -> None:
    asked = np.arange(1000.0)
    late = np.where(asked < 600, asked, np.minimum(asked + 300, 999.0))
    for rate in 100.0, 4000.0, 20000.0:  # a tenth of a second is 10, 400, 2000 steps
        assert told_of(late, caplog, rate=rate) == "fails"


@pytest.mark.parametrize("rate", [1.0, 10.0, 100.0])
def test_what_is_turned_or_shaken_is_the_same_scan(
    rate: float, caplog: pytest.LogCaptureFixture
) -> None:
    asked = np.arange(100.0)
    shaken = asked + np.random.default_rng(1).uniform(-0.45, 0.45, 100)
    for turned in 0.0, 37.3, -200.0:
        assert told_of(asked + turned, caplog, rate=rate) == ""
        assert told_of(shaken + turned, caplog, rate=rate) == ""
    together = asked // 8 * 8  # frames that a driver stamps at once
    assert told_of(together, caplog, rate=100.0) in ("", "told")


class Stuck(FrameConsumer):
    """Takes each frame at once, but for one that a disk hangs at."""

    def __init__(self) -> None:
        def take(frame: Any, stream: str, index: int) -> None:
            if stream == "projections" and index == 32:
                time.sleep(2.0)

        super().__init__(take, name="hanging writer", necessary=True)


@pytest.mark.parametrize("on_lost", ["fail", "flag"])
def test_a_writer_that_hangs_in_the_second_half(tmp_path: Path, on_lost: str) -> None:
    """Less than half of the projections are astray then, and still they lie at one angle."""
    fails = pytest.raises((CameraError, FailedStatus), match="hanging writer held up the camera")
    with fails if on_lost == "fail" else nullcontext():
        scan(tmp_path, Waits(), consumer=Stuck(), on_lost=on_lost)
    run = open_run("scan_0001", tmp_path)
    (compared,) = run["angles_compared"].events
    angles, _, _ = map(np.asarray, run_angles(run))
    assert len(angles) == COUNT
    stood = np.mean(np.abs(np.diff(angles)) < 0.01)
    gap = np.diff(np.sort(angles)).max() / 180
    assert 0.15 < stood == pytest.approx(compared["data"]["repeated"], abs=0.05)
    assert 0.15 < gap == pytest.approx(compared["data"]["missing"], abs=0.05)
    assert compared["data"]["astray"] > 0.15
