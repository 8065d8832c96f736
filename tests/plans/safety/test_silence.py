"""A shutter, a camera, a motor, a callback or a disk that never answers: what a user finds then."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.utils import FailedStatus
from ophyd_async.core import AsyncStatus

from concertino import CameraError, DeviceError, ParameterError
from concertino.callbacks import FrameConsumer, ImageWriter
from concertino.devices import Camera, Grab, SimulatedMotor, SimulatedShutter
from concertino.plans import (
    Deadlines,
    ImageMeasure,
    ascan,
    continuous_tomography,
    radiography,
    step_tomography,
)
from concertino.session import open_session
from concertino.simulation import Faults
from concertino.storage import open_run
from tests.plans.laboratory import COUNTS, POSITIONS, Laboratory, patience

pytestmark = pytest.mark.disturbed_by_load(
    "deadlines of 0.3 to 1 s hold for devices that do answer, too"
)

LIT = "THE BEAM MAY BE ON"


class StuckShutter(SimulatedShutter):
    """A shutter that opens, and whose closing never completes from when it is stuck."""

    stuck = False

    @AsyncStatus.wrap
    async def set(self, value: bool | str) -> None:
        if self.stuck and not value:
            await asyncio.sleep(3600)
        self._turned(bool(value))


def when(condition: Callable[[], bool], act: Callable[[], Any]) -> threading.Thread:
    """Do something in another thread as soon as something is so."""

    def wait() -> None:
        deadline_s = time.monotonic() + 240
        while not condition() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("how", ["abort", "stop", "none"])
def test_a_shutter_that_never_closes(laboratory: Laboratory, how: str) -> None:
    shutter, b = StuckShutter(name="shutter"), laboratory.beamline
    stops: list[str] = []

    def hook(message: Any) -> None:
        if message.command == "stop":
            stops.append(message.obj.name)
        if message.command == "kickoff":
            shutter.stuck = True

    def interrupt() -> None:
        if how == "abort":
            laboratory.RE.abort("lunch")
        else:
            laboratory.RE.stop()

    laboratory.RE.msg_hook = hook  # type: ignore[assignment]
    number = 3 if how == "none" else 2000
    if how != "none":
        when(lambda: shutter.stuck and b.rotation.velocity_at(time.time()) > 10, interrupt)
    began_s = time.monotonic()
    with patience(off_s=0.5), pytest.raises(DeviceError) as caught:
        laboratory.run(
            "continuous_tomography", beam=shutter, order=("projections",), num_projections=number,
            angular_range="300 deg" if number > 3 else "3 deg",
        )  # fmt: skip
    laboratory.RE.msg_hook = None
    assert time.monotonic() - began_s < 30
    assert shutter.is_open
    assert set(stops) >= {"rotation", "sample_stage"}
    assert not laboratory.moving()
    said = " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert f"shutter could not be switched off: {LIT}." in said
    assert "shutter was to switch off and has not said within 0.5 s that it is" in said
    stop = laboratory.documents[-1][1]
    assert LIT in stop["reason"]
    assert stop["exit_status"] == ("abort" if how == "abort" else "fail")
    assert laboratory.RE.state == "idle"
    shutter.stuck = False
    laboratory.RE(bps.mv(shutter, False))
    laboratory.run("radiography", beam=shutter)


def test_an_abort_of_a_session_says_both_why_and_that_the_beam_may_be_on(tmp_path: Path) -> None:
    laboratory, shutter = Laboratory(tmp_path / "lab"), StuckShutter(name="shutter")
    b, documents = laboratory.beamline, []
    with (
        open_session(tmp_path / "data", progress=False, catalog=False) as session,
        patience(off_s=0.5),
    ):
        session.subscribe(ImageWriter())
        session.RE.subscribe(lambda name, document: documents.append((name, document)))

        def stick() -> None:
            shutter.stuck = True
            session.RE.abort("the sample burns")

        when(lambda: shutter.is_open and b.camera.num_exposed > 0, stick)
        with pytest.raises(DeviceError, match=LIT):
            session.RE(
                radiography(
                    b.camera, shutter, b.sample_stage, order=["projections"], num_projections=2000,
                    **POSITIONS,
                )
            )  # fmt: skip
        (stop,) = [document for name, document in documents if name == "stop"]
        assert stop["exit_status"] == "abort"
        assert LIT in stop["reason"]
        assert "the sample burns" in stop["reason"]
        shutter.stuck = False
    laboratory.close()


class SilentSource:
    """A detector that gives some frames of projections and then none, and may hang in other ways."""

    pixel_size_um = 5.0

    def __init__(self, frames: int, hangs_in: str = "") -> None:
        self.shape, self.dtype = (8, 16), np.dtype(np.uint16)
        self.frames, self.hangs_in, self.released = frames, hangs_in, threading.Event()
        self.stopped = threading.Event()
        self.triggers = threading.Semaphore(0)

    def _hang(self, where: str) -> None:
        if where == self.hangs_in and self.kind == "projections":
            self.released.wait(240)

    def prepare(self, request: Any, settings: Any) -> None:
        self.kind, self.software = request.kind, request.trigger == "software"
        self.limit = self.frames if self.kind == "projections" else 10**9
        self.stopped.clear()
        self.number = 0
        self._hang("prepare")

    def start(self) -> None:
        self._hang("start")

    def grab(self, out: Any) -> Grab:
        none = Grab(np.empty(0, np.int64), np.empty(0, np.int64))
        if self.number >= self.limit:
            self._hang("grab")
            self.stopped.wait(0.05)
            return none
        if self.software:
            self.triggers.acquire(timeout=0.05)
        if self.stopped.wait(0.005):
            return none
        out[0] = self.number
        self.number += 1
        return Grab(np.array([time.time_ns()]), np.array([self.number - 1]))

    def trigger(self) -> None:
        self.triggers.release()

    def stop(self) -> None:
        self.stopped.set()
        self._hang("stop")


def scan_with(lab: Laboratory, camera: Camera, name: str) -> Any:
    b, given = lab.beamline, {**POSITIONS, **COUNTS, "num_projections": 10}
    given["md"] = lab.directories.new().metadata()
    if name == "radiography":
        return radiography(camera, b.beam, b.sample_stage, **given)
    plan = step_tomography if name == "step_tomography" else continuous_tomography
    return plan(camera, b.rotation, b.beam, b.sample_stage, angular_range="10 deg", **given)


def camera_error(error: BaseException) -> CameraError:
    found = error.__cause__ if isinstance(error, FailedStatus) else error
    assert isinstance(found, CameraError)
    return found


@pytest.mark.parametrize("name", ["radiography", "step_tomography", "continuous_tomography"])
def test_a_camera_that_falls_silent_ends_the_scan(laboratory: Laboratory, name: str) -> None:
    camera = Camera(
        SilentSource(2), exposure=0.001, frame_rate=100, frame_timeout_s=0.5, name="camera"
    )
    began_s = time.monotonic()
    laboratory.documents.clear()
    with pytest.raises((FailedStatus, CameraError)) as caught:
        laboratory.RE(scan_with(laboratory, camera, name))
    assert time.monotonic() - began_s < 30
    assert not laboratory.beam_is_on()
    assert not laboratory.moving()
    asked = "was triggered" if name == "step_tomography" else "was to go on at its own pace"
    message = str(camera_error(caught.value))
    assert message.startswith(f"Camera camera {asked} and gave no frame for 0.")
    assert "after 2 of 10 frames of projections; one was due after 0.0" in message
    assert "the network for lost packets, and that the detector is alive" in message
    assert message in laboratory.documents[-1][1]["reason"]


def test_the_twins_camera_that_falls_silent_ends_the_scan(laboratory: Laboratory) -> None:
    camera = laboratory.beamline.camera
    source: Any = camera.source
    camera._frame_timeout_s = 0.5
    source.faults = Faults(slow_s=3600.0, slow_from=4)
    began_s = time.monotonic()
    with pytest.raises((FailedStatus, CameraError)) as caught:
        laboratory.run("continuous_tomography", order=("projections",), num_projections=10)
    assert time.monotonic() - began_s < 30
    message = str(camera_error(caught.value))
    assert message.startswith("Camera camera was to go on at its own pace and gave no frame for ")
    assert "after 4 of 10 frames of projections" in message
    assert message in laboratory.documents[-1][1]["reason"]
    assert not laboratory.beam_is_on()
    assert not laboratory.moving()
    source.faults = Faults()
    laboratory.run("continuous_tomography")


@pytest.mark.parametrize("hangs_in", ["grab", "stop", "start", "prepare"])
def test_a_source_that_hangs_is_given_up(laboratory: Laboratory, hangs_in: str) -> None:
    source = SilentSource(2, hangs_in)
    camera = Camera(source, exposure=0.001, frame_rate=100, frame_timeout_s=0.4, name="camera")
    source.kind = ""
    if hangs_in == "prepare":  # When the plan asks whether it can; nothing has moved then.
        with pytest.raises(
            CameraError, match=r"prepare projections and has not done so within 3.2 s"
        ):
            laboratory.RE(scan_with(laboratory, camera, "radiography"))
        source.released.set()
        return
    with patience(ready_s=1.0), pytest.raises((FailedStatus, CameraError)) as caught:
        laboratory.RE(scan_with(laboratory, camera, "radiography"))
    camera_error(caught.value)
    assert not laboratory.beam_is_on()
    assert laboratory.RE.state == "idle"
    # A later scan says plainly why it cannot be; others work.
    with pytest.raises(CameraError, match=r"Camera camera: its source still hangs in projections"):
        laboratory.RE(scan_with(laboratory, camera, "radiography"))
    laboratory.run("radiography")
    source.released.set()
    source.hangs_in, source.frames = "", 100
    deadline_s = time.monotonic() + 240
    while camera._hung is not None and camera._hung.hangs and time.monotonic() < deadline_s:
        time.sleep(0.02)
    laboratory.RE(scan_with(laboratory, camera, "radiography"))


def test_a_camera_that_a_slow_subscriber_holds_up_is_not_silent(tmp_path: Path) -> None:
    # 24 frames of 1/50 s, each stored in 0.15 s, through a ring of 4: most of the time nothing is exposed.
    laboratory = Laboratory(tmp_path, frame_rate=50.0, ring_bytes=4 * 512)
    laboratory.RE.subscribe(FrameConsumer(lambda *_: time.sleep(0.15), name="slow", necessary=True))
    laboratory.beamline.camera._frame_timeout_s = 0.3
    with patience(frame_s=0.3):
        documents = laboratory.run("radiography", order=("projections",), num_projections=24)
    assert documents[-1][1]["exit_status"] == "success"
    assert laboratory.beamline.camera.num_exposed == 24
    laboratory.close()


def lit_times(laboratory: Laboratory) -> list[tuple[float, bool]]:
    return laboratory.beamline.shutter.history._changes[1:]


@pytest.mark.parametrize("name", ["radiography", "continuous_tomography", "step_tomography"])
def test_the_beam_is_on_from_the_first_to_the_last_exposure(tmp_path: Path, name: str) -> None:
    laboratory = Laboratory(tmp_path, frame_rate=50.0, ring_bytes=2**20)
    slow = FrameConsumer(lambda *_: time.sleep(0.1), name="slow", necessary=True)
    laboratory.RE.subscribe(slow)
    described: list[float] = []

    def linger(kind: str, document: Any) -> None:
        # In the RunEngine's loop: nothing else goes on there.
        if kind == "descriptor":
            assert not laboratory.beam_is_on(), document["name"]
            time.sleep(0.3)
            if document["name"] != "angles_compared":  # that is told when all is over
                described.append(time.time())

    laboratory.RE.subscribe(linger)
    turn = {} if name == "radiography" else {"angular_range": "30 deg"}
    documents = laboratory.run(name, order=("projections",), num_projections=30, **turn)
    run = open_run(documents[0][1]["run_directory"])
    exposed_s = run.frames("projections").index["timestamp_ns"] * 1e-9
    (on_s,) = [when_s for when_s, on in lit_times(laboratory) if on]
    off_s = min(when_s for when_s, on in lit_times(laboratory) if not on and when_s > on_s)
    assert on_s > described[-1]
    assert on_s < exposed_s[0]
    assert off_s > exposed_s[-1]
    if name != "step_tomography":  # There the next frame waits until the last one is stored.
        stored_s = documents[-1][1]["time"]
        # 30 frames are stored in 3 s and more, and taken in 0.6 s.
        assert off_s - exposed_s[-1] < 0.5 * (stored_s - exposed_s[-1])
    run.close()
    laboratory.close()


def test_the_beam_is_off_when_the_last_point_is_exposed(laboratory: Laboratory) -> None:
    lit: list[bool] = []

    def slow(frames: Any) -> float:
        time.sleep(0.05)
        lit.append(laboratory.beam_is_on())
        return float(np.mean(frames))

    b = laboratory.beamline
    measure = ImageMeasure(b.camera, slow)
    md = laboratory.directories.new().metadata()
    laboratory.RE(ascan([measure], b.sample_stage, 0, 0.1, num=3, beam=b.beam, md=md))
    assert lit == [True, True, False]


class StallingMotor(SimulatedMotor):
    """A motor that stops at its middle, and never says so."""

    async def _stalled(self, target: float) -> None:
        await asyncio.sleep(3600)

    def set(self, value: float) -> Any:
        if value > 0.1:
            self._trajectory_to(0.1)
            return AsyncStatus(self._stalled(value))
        return super().set(value)

    def _trajectory_to(self, value: float) -> None:
        self._move_status = super().set(value)


def test_a_motor_that_stalls_is_named_with_its_target_and_where_it_is(
    laboratory: Laboratory,
) -> None:
    stage = StallingMotor("mm", velocity=1.0, max_velocity=10.0, name="stage")
    with (
        patience(still_s=1.0),
        pytest.raises(
            DeviceError, match=r"stage was to move to 1 mm .* nor come nearer .*at 0.1 mm"
        ),
    ):
        laboratory.run("radiography", sample_stage=stage)
    assert not laboratory.beam_is_on()


def test_a_long_move_is_waited_for(laboratory: Laboratory) -> None:
    # 6 s of way, where the plan gives up what stands still for 1.5 s.
    stage = SimulatedMotor("mm", velocity=0.05, max_velocity=10.0, name="stage")
    with patience(still_s=1.5, other_s=1.0):
        documents = laboratory.run(
            "radiography", sample_stage=stage, order=("flats",), flat_position="0.3 mm"
        )
    assert documents[-1][1]["exit_status"] == "success"


def test_a_document_callback_that_blocks_does_so_without_beam(laboratory: Laboratory) -> None:
    # The RunEngine's loop waits for its callbacks, and nothing in it can end that.
    began, release, states = threading.Event(), threading.Event(), []

    def block(kind: str, document: Any) -> None:
        if kind == "descriptor" and document["name"] == "projections":
            began.set()
            states.append(laboratory.beam_is_on())
            release.wait(240)
            states.append(laboratory.beam_is_on())

    laboratory.RE.subscribe(block)

    def interrupt() -> None:
        threading.Timer(0.5, release.set).start()
        laboratory.RE.abort("it takes too long")

    when(began.is_set, interrupt)
    with pytest.raises(Exception, match=r"RunEngine"):
        laboratory.run("continuous_tomography", order=("projections",))
    assert states == [False, False]
    assert not laboratory.beam_is_on()
    assert laboratory.documents[-1][1]["exit_status"] == "abort"


class StuckDisk:
    """Stores frames on a disk that does not answer."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def __call__(self, *_: Any) -> None:
        self.answers.wait(240)


def test_a_disk_that_hangs_costs_the_run_but_not_the_beam(tmp_path: Path) -> None:
    laboratory, disk = Laboratory(tmp_path, ring_bytes=4 * 512), StuckDisk()
    laboratory.beamline.camera._subscriber_timeout_s = 1.0
    laboratory.RE.subscribe(FrameConsumer(disk, name="disk", necessary=True))
    began_s = time.monotonic()
    with pytest.raises((FailedStatus, DeviceError)) as caught:
        laboratory.run("radiography", order=("flats",), num_flats=20)
    assert time.monotonic() - began_s < 30
    assert "disk" in str(caught.value.__cause__ or caught.value)
    assert not laboratory.beam_is_on()
    disk.answers.set()
    laboratory.close()


def test_a_disk_that_is_slow_but_goes_on_is_waited_for(laboratory: Laboratory) -> None:
    # All frames together take far longer than one may, and each far less.
    def store(*_: Any) -> None:
        time.sleep(1.0)

    laboratory.RE.subscribe(FrameConsumer(store, name="slow disk", necessary=True))
    with patience(safe_s=4.0):
        documents = laboratory.run("radiography", order=("flats",), num_flats=7)
    assert documents[-1][1]["exit_status"] == "success"
    assert not laboratory.beam_is_on()


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan")])
def test_a_deadline_is_a_time(wrong: float) -> None:
    with pytest.raises(ParameterError, match=r"still_s: .* more than 0 and finite"):
        Deadlines(still_s=wrong)
