"""The camera as a device: what it documents, what it refuses, and how it fails."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import Msg
from bluesky.utils import FailedStatus, MsgGenerator
from numpy.typing import NDArray
from ophyd_async.core import DetectorTrigger, TriggerInfo

from concertino import (
    CameraError,
    FramesLostError,
    SubscriberFailedError,
    SubscriberSilentError,
)
from concertino.devices import Camera, CameraSettings, Grab
from concertino.documents import validate_run
from concertino.frames import FrameRequest, Subscription
from concertino.simulation import Faults

from .scanning import Reader, Scans, fly, in_run, make_camera, read_all


@pytest.fixture
def scans() -> Scans:
    return Scans()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while left := [t.name for t in threading.enumerate() if t.name.endswith(" frames")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def failure(scans: Scans, plan: MsgGenerator[Any]) -> BaseException:
    """Run a plan that fails and return the cause."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        scans.RE(plan)
    error = caught.value
    cause = error.__cause__ if isinstance(error, FailedStatus) else error
    assert cause is not None
    (stop,) = scans.find("stop") or [None]
    if stop is not None:
        assert stop["exit_status"] == "fail"
    return cause


def test_a_stream_of_frames(scans: Scans) -> None:
    camera = make_camera()
    scans.RE.subscribe(Reader(read_all))
    scans.RE(fly(camera, FrameRequest(7, "frames")))
    validate_run(scans.documents)
    (descriptor,) = scans.find("descriptor")
    key = descriptor["data_keys"]["camera"]
    assert (key["shape"], key["dtype_numpy"], key["external"]) == ([1, 16, 16], "<u2", "STREAM:")
    configuration = descriptor["configuration"]["camera"]["data"]
    assert configuration["camera-frames"].startswith("tcp://127.0.0.1:")
    assert configuration["camera-exposure"] == 0.0
    assert configuration["camera-frame_rate"] == 0.0
    assert configuration["camera-pixel_size"] > 0
    (resource,) = scans.find("stream_resource")
    assert resource["uri"] == "file://localhost/nowhere/"
    assert resource["parameters"]["durability"] == "written"
    assert scans.described() == list(range(7))
    assert scans.find("stop")[0]["num_events"] == {"frames": 7}


def test_nobody_stores_the_frames(scans: Scans) -> None:
    scans.RE(fly(make_camera(), FrameRequest(5, "frames")))
    assert scans.find("stop")[0]["exit_status"] == "success"
    assert scans.find("stream_resource") == scans.find("stream_datum") == []


def test_a_display_does_not_hold_frames_back(scans: Scans) -> None:
    from concertino.frames import subscribe

    camera, opened = make_camera(subscriber_timeout_s=0.2), []

    def watch(name: str, document: Any) -> None:
        if name == "descriptor":
            address = document["configuration"]["camera"]["data"]["camera-frames"]
            opened.append(subscribe(address, name="display", delivery="latest"))

    scans.RE.subscribe(watch)
    scans.RE(fly(camera, FrameRequest(500, "frames")))  # Four times the ring.
    assert scans.find("stop")[0]["exit_status"] == "success"
    for subscription in opened:
        subscription.close()


@pytest.mark.parametrize(
    ("settings", "request_", "message"),
    [
        (
            {},
            FrameRequest(0, "darks"),
            "Camera camera was asked for 0 frames of darks; ask for at least one.",
        ),
        (
            {},
            FrameRequest(-3, "flats"),
            "Camera camera was asked for -3 frames of flats; ask for at least one.",
        ),
        (
            {"exposure": -0.1},
            FrameRequest(1),
            "Camera camera has an exposure of -0.1 s and a frame rate of 0 Hz; set both to 0 or "
            "more.",
        ),
        (
            {"exposure": 0.1, "frame_rate": 20.0},
            FrameRequest(1),
            "Camera camera cannot take 20 frames/s with an exposure of 0.1 s; that exposure allows at "
            "most 10 frames/s. Lower the frame rate or the exposure.",
        ),
        (
            {},
            TriggerInfo(trigger=DetectorTrigger.EXTERNAL_LEVEL),
            "Camera camera was asked for projections by level triggers; it takes 'internal' or 'software' or "
            "'edge'. Ask for one of these.",
        ),
        (
            {},
            TriggerInfo(exposures_per_collection=4),
            "Camera camera was asked for 4 exposures per collection and 1 collections per event; it "
            "neither sums nor groups frames, so give 1 of each.",
        ),
    ],
)
def test_what_it_refuses(
    scans: Scans, settings: dict[str, Any], request_: FrameRequest, message: str
) -> None:
    cause = failure(scans, fly(make_camera(**settings), request_))
    assert isinstance(cause, CameraError)
    assert str(cause) == message


def test_without_a_trigger_input_it_refuses_to_wait_for_pulses(scans: Scans) -> None:
    camera = make_camera()
    camera.source.trigger_input = False  # type: ignore[attr-defined]
    cause = failure(scans, fly(camera, FrameRequest(1, trigger="edge")))
    assert isinstance(cause, CameraError)
    assert str(cause) == (
        "Camera camera was asked for projections by edge triggers; it takes 'internal' or 'software'. Ask for "
        "one of these."
    )


def test_a_request_of_ophyd_async(scans: Scans) -> None:
    camera = make_camera()
    scans.RE.subscribe(Reader(read_all))
    info = TriggerInfo(number_of_events=4, livetime=0.002, deadtime=0.003)
    scans.RE(fly(camera, info))  # type: ignore[arg-type]
    assert scans.described() == [0, 1, 2, 3]
    (descriptor,) = scans.find("descriptor")
    configuration = descriptor["configuration"]["camera"]["data"]
    assert configuration["camera-exposure"] == 0.002
    assert configuration["camera-frame_rate"] == pytest.approx(200)


@pytest.mark.parametrize("what", ["kickoff", "complete"])
def test_not_prepared(scans: Scans, what: str) -> None:
    def plan() -> MsgGenerator[None]:
        yield from getattr(bps, what)(make_camera(), wait=True)

    with pytest.raises(FailedStatus if what == "complete" else Exception) as caught:
        scans.RE(bpp.run_wrapper(plan()))
    cause = caught.value.__cause__ or caught.value
    assert isinstance(cause, CameraError)
    assert str(cause) == (
        f"Camera camera was asked to {what} before it was prepared; yield bps.prepare(camera, "
        "FrameRequest(…)) and bps.declare_stream(camera, name=…) first. A session does so for "
        "plans of bluesky itself; elsewhere set BLUESKY_PREDECLARE=1."
    )


def test_busy(scans: Scans) -> None:
    camera = make_camera(frame_rate=10.0)

    def plan() -> MsgGenerator[None]:
        yield from bps.prepare(camera, FrameRequest(1000, "darks"), wait=True)
        yield from bps.kickoff(camera, wait=True)
        try:
            yield from bps.prepare(camera, FrameRequest(1, "flats"), wait=True)
        finally:
            yield from bps.unstage(camera, wait=True)

    cause = failure(scans, bpp.run_wrapper(plan()))
    assert str(cause) == (
        "Camera camera was asked to prepare flats while it still takes darks; wait for it, or stop it."
    )


def test_triggered_but_prepared_for_its_own_pace(scans: Scans) -> None:
    camera = make_camera()

    def plan() -> MsgGenerator[None]:
        yield from bps.prepare(camera, FrameRequest(2), wait=True)
        yield from bps.trigger(camera, wait=True)

    cause = failure(scans, plan())
    assert str(cause) == (
        "Camera camera was triggered but prepared for internal triggers; prepare it with "
        "FrameRequest(…, trigger='software')."
    )


def test_triggered_more_often_than_prepared_for(scans: Scans) -> None:
    camera = make_camera()

    def plan() -> MsgGenerator[None]:
        yield from bps.prepare(camera, FrameRequest(2, "steps", trigger="software"), wait=True)
        for _ in range(3):
            yield from bps.trigger(camera, wait=True)
            yield from bps.sleep(0.05)

    cause = failure(scans, plan())
    assert str(cause) == (
        "Camera camera was triggered after it had taken the 2 frames of steps or was stopped; prepare "
        "it again for more."
    )


def fail_after_three(subscription: Subscription) -> None:
    while (batch := subscription.read(1)) is not None:
        if batch.stop > 3:
            raise OSError(28, "No space left on device")
        subscription.acknowledge(batch.stop)


def test_a_subscriber_that_fails(scans: Scans) -> None:
    scans.RE.subscribe(Reader(fail_after_three, name="writer"))
    cause = failure(scans, fly(make_camera(frame_rate=200.0), FrameRequest(1000, "frames")))
    assert isinstance(cause, SubscriberFailedError)
    message = str(cause)
    assert "Subscriber 'writer'" in message
    assert "camera/frames" in message
    assert "No space left on device" in message
    assert "it has 3 safe" in message
    assert scans.described() == [0, 1, 2]


@pytest.mark.disturbed_by_load(
    "who gives no sign of life for a short time-out counts as dead, and gets no processor in time"
)
def test_a_subscriber_that_is_silent(scans: Scans) -> None:
    release = threading.Event()

    def freeze(subscription: Subscription) -> None:
        for _ in range(3):
            batch = subscription.read(1)
            assert batch is not None
            subscription.acknowledge(batch.stop)
        release.wait(240)

    scans.RE.subscribe(Reader(freeze, name="writer"))
    camera = make_camera(frame_rate=200.0, subscriber_timeout_s=0.3)
    began = time.monotonic()
    cause = failure(scans, fly(camera, FrameRequest(1000, "frames")))
    assert time.monotonic() - began < 15
    release.set()
    assert isinstance(cause, SubscriberSilentError)
    message = str(cause)
    assert "Subscriber 'writer'" in message
    assert "is silent" in message
    assert "time-out is 0.3 s" in message
    assert "it has 3 safe" in message
    assert scans.described() == [0, 1, 2]


def test_a_camera_that_dies(scans: Scans) -> None:
    scans.RE.subscribe(Reader(read_all))
    cause = failure(scans, fly(make_camera(Faults(die_at=4)), FrameRequest(10, "flats")))
    assert isinstance(cause, CameraError)
    assert str(cause) == "Camera camera died: it stopped answering at frame 4 of flats."
    assert scans.described() == [0, 1, 2, 3]


def test_a_camera_that_dies_at_a_trigger(scans: Scans) -> None:
    camera = make_camera(Faults(die_at=2))

    def plan() -> MsgGenerator[None]:
        yield from bps.prepare(camera, FrameRequest(5, "steps", trigger="software"), wait=True)
        for _ in range(5):
            yield from bps.trigger(camera, wait=True)

    cause = failure(scans, plan())
    assert str(cause) == "Camera camera died: it stopped answering at frame 2 of steps."


def test_dropped_frames_fail_the_run(scans: Scans) -> None:
    scans.RE.subscribe(Reader(read_all))
    camera = make_camera(Faults(drop_frames=[2, 5]))
    cause = failure(scans, fly(camera, FrameRequest(8, "frames")))
    assert isinstance(cause, FramesLostError)
    assert "the camera dropped 2 frames (numbers 2, 5)" in str(cause)
    assert "Frames 0 to 6 (excluded) are safe" in str(cause)
    assert scans.described() == list(range(6))


def test_dropped_frames_that_are_only_flagged(scans: Scans) -> None:
    scans.RE.subscribe(Reader(read_all))
    camera = make_camera(Faults(drop_frames=[2, 5]))
    scans.RE(fly(camera, FrameRequest(8, "frames", on_lost="flag")))
    assert scans.find("stop")[0]["exit_status"] == "success"
    assert scans.described() == list(range(6))


def test_a_source_of_another_maker_that_breaks(scans: Scans) -> None:
    camera = make_camera()

    class Broken:
        shape, dtype, pixel_size_um = camera.source.shape, camera.source.dtype, 0.0

        def prepare(self, *_: Any) -> None: ...
        def start(self) -> None: ...
        def trigger(self) -> None: ...
        def stop(self) -> None: ...

        def grab(self, out: Any) -> Any:
            raise ConnectionResetError("the cable is out")

    cause = failure(scans, fly(Camera(Broken(), name="cam2"), FrameRequest(3, "flats")))
    assert isinstance(cause, CameraError)
    assert str(cause) == (
        "Camera cam2 failed after 0 frames of flats: ConnectionResetError: the cable is out"
    )
    assert isinstance(cause.__cause__, ConnectionResetError)


def test_a_plan_of_bluesky(scans: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUESKY_PREDECLARE", "1")
    camera = make_camera()
    scans.RE.subscribe(Reader(read_all))
    for _ in range(2):  # The camera is as new after each.
        scans.documents.clear()
        scans.RE(bp.count([camera], num=3))
        validate_run(scans.documents)
        assert scans.described() == [0, 1, 2]
        assert scans.find("stop")[0]["num_events"] == {"primary": 3}


def test_a_plan_of_bluesky_that_declares_too_late(scans: Scans) -> None:
    # The subscribers would hear of the stream only after its first frame.
    cause = failure(scans, bp.count([make_camera()]))
    assert "BLUESKY_PREDECLARE=1" in str(cause)


def test_two_cameras_in_one_run(scans: Scans) -> None:
    one, two = make_camera(), make_camera()
    two.set_name("second")
    scans.RE.subscribe(Reader(read_all))

    def plan() -> MsgGenerator[None]:
        for camera in (one, two):
            yield from bps.prepare(camera, FrameRequest(6, "frames"), wait=True)
            yield from bps.declare_stream(camera, name=camera.name)
        yield from bps.kickoff_all(one, two, wait=True)
        yield from bps.complete_all(one, two, wait=True)
        for camera in (one, two):
            yield from bps.unstage(camera, wait=True)
            yield from bps.collect(camera, name=camera.name)

    scans.RE(in_run(plan(), one, two))
    validate_run(scans.documents)
    assert scans.find("stop")[0]["num_events"] == {"camera": 6, "second": 6}
    keys = {document["data_key"] for document in scans.find("stream_resource")}
    assert keys == {"camera", "second"}


def test_two_cameras_in_one_stream(scans: Scans) -> None:
    one, two = make_camera(), make_camera(frame_rate=100.0)
    two.set_name("second")
    scans.RE.subscribe(Reader(read_all))

    def plan() -> MsgGenerator[None]:
        for camera in (one, two):
            yield from bps.prepare(camera, FrameRequest(6, "frames"), wait=True)
        yield from bps.declare_stream(one, two, name="frames")
        yield from bps.kickoff_all(one, two, wait=True)
        yield from bps.collect_while_completing(
            [one, two], [one, two], flush_period=0.02, stream_name="frames"
        )

    scans.RE(in_run(plan(), one, two))
    validate_run(scans.documents)
    assert scans.find("stop")[0]["num_events"] == {"frames": 6}


def test_the_ledger_of_a_camera_that_was_renamed(scans: Scans) -> None:
    camera = make_camera()
    camera.set_name("eye")
    assert camera.ledger.name == "eye-ledger"


def test_no_address_when_there_is_no_stream(scans: Scans) -> None:
    camera = make_camera()
    scans.RE(fly(camera, FrameRequest(2, "frames")))
    scans.RE(bps.stage(camera, wait=True))
    address = asyncio.run_coroutine_threadsafe(camera.frames.get_value(), scans.RE.loop)
    assert address.result() == ""


@pytest.mark.parametrize("trigger", ["internal", "software"])
def test_a_stream_that_ends_before_its_first_frame_is_a_whole_one_of_none(
    scans: Scans, trigger: Any
) -> None:
    camera = make_camera()
    scans.RE.subscribe(Reader(read_all))

    def plan() -> MsgGenerator[None]:
        yield from bps.prepare(camera, FrameRequest(7, "frames", trigger=trigger), wait=True)
        yield from bps.declare_stream(camera, name="frames", collect=True)
        yield Msg("stop", camera)
        yield from bps.complete(camera, wait=True)
        yield from bps.unstage(camera, wait=True)
        yield Msg("collect", camera, name="frames", return_payload=False)

    scans.RE(bpp.run_wrapper(bpp.stage_wrapper(plan(), [camera.ledger])))
    (stop,) = scans.find("stop")
    assert stop["exit_status"] == "success"
    assert scans.find("stream_datum") == []


class SlowToPrepare:
    """A camera whose driver takes its time before it is ready."""

    pixel_size_um = 1.0
    shape = (16, 16)
    dtype = np.dtype(np.uint16)

    def __init__(self) -> None:
        self.prepares, self.may_go = threading.Event(), threading.Event()

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        self.prepares.set()
        assert self.may_go.wait(240)
        self._next = 0

    def start(self) -> None: ...

    def grab(self, out: NDArray[Any]) -> Grab:
        time.sleep(0.001)
        out[0] = self._next
        self._next += 1
        return Grab(np.array([time.time_ns()]), np.array([self._next - 1]))

    def stop(self) -> None: ...


def test_one_that_is_unstaged_while_it_prepares_leaves_nothing(scans: Scans) -> None:
    before = set(threading.enumerate())
    source = SlowToPrepare()
    camera = Camera(source, name="camera")

    def leave() -> MsgGenerator[None]:
        yield from bps.stage(camera)
        yield from bps.prepare(camera, FrameRequest(5, "left"), group="left")
        yield Msg("wait_for", None, [lambda: asyncio.to_thread(source.prepares.wait, 60)])
        yield from bps.unstage(camera, wait=True)
        source.may_go.set()
        yield from bps.wait("left")

    scans.RE(leave())
    address = asyncio.run_coroutine_threadsafe(camera.frames.get_value(), scans.RE.loop).result(10)
    assert address == ""
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("frames camera"):
            thread.join(240)
            assert not thread.is_alive(), thread.name
    # And the next one does not find what was left.
    scans.RE.subscribe(Reader(read_all))
    scans.RE(fly(camera, FrameRequest(3, "frames")))
    assert scans.described() == [0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "how", "patience_s"),
    [
        ((0.5, 0.0), {"moving": True}, 0.25),  # half a frame's time
        ((0.5, 0.5), {"moving": True}, 1.0),
        ((0.001, 100.0), {"moving": True}, 0.1),
        ((0.5, 0.0), {"moving": True, "readout": "later"}, None),
        ((0.5, 0.0), {}, None),
    ],
)
def test_how_long_who_only_looks_may_hold_it_up(
    settings: tuple[float, float], how: dict[str, Any], patience_s: float | None
) -> None:
    assert CameraSettings(*settings).patience_s(FrameRequest(1, **how)) == patience_s
