"""Sources that do what no source should: what is said of them, that it is said in time, and that nothing is lost in silence."""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.utils import FailedStatus, MsgGenerator
from numpy.typing import NDArray

from concertino import CameraError, FramesLostError
from concertino.devices import Camera, CameraSettings, Grab, NumberSetting, TextSetting
from concertino.devices.camera._source_watch import SourceWatch
from concertino.frames import FrameRequest, RecordingTrigger, Retrospective

from .scanning import Reader, Scans, fly, read_all

#: Frames of a stream.
COUNT = 5


class Plain:
    """A detector whose frames show their number."""

    shape: Any = (4, 6)
    dtype: Any = np.dtype(np.uint16)
    pixel_size_um: Any = 2.0

    def __init__(self, told: Callable[[int], Grab] | None = None) -> None:
        self._told = told or _as_it_is
        self._go: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._number = 0

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        self._triggered = request.trigger == "software"

    def start(self) -> None:
        self._go, self._number = queue.SimpleQueue(), 0

    def grab(self, out: NDArray[Any]) -> Grab:
        goes = True
        with contextlib.suppress(queue.Empty):
            goes = self._go.get(timeout=None if self._triggered else 0.001)
        if not goes:
            self._go.put(False)
            return Grab(np.empty(0, np.int64), np.empty(0, np.int64))
        out[0], self._number = self._number, self._number + 1
        return self._told(self._number - 1)

    def trigger(self) -> None:
        self._go.put(True)

    def stop(self) -> None:
        self._go.put(False)


def _as_it_is(number: int) -> Grab:
    return Grab(np.array([time.time_ns()]), np.array([number]))


def camera_of(source: Any, within_s: float = 60.0) -> Camera:
    return Camera(source, exposure=0.0, frame_timeout_s=within_s, name="strange")


def step(camera: Camera) -> MsgGenerator[None]:
    yield from bps.prepare(camera, FrameRequest(2, "frames", trigger="software"), wait=True)
    try:
        yield from bps.trigger(camera, wait=True)
    finally:
        yield from bps.unstage(camera, wait=True)


def failure(plan: MsgGenerator[Any]) -> BaseException:
    with pytest.raises((FailedStatus, CameraError)) as caught:
        Scans().RE(plan)
    return caught.value.__cause__ or caught.value


def now() -> NDArray[np.int64]:
    return np.array([time.time_ns()])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (lambda n: Grab(now(), np.array([0])), r"gave the frames \[0\] after frame 0\. Have it give each frame a number of its own"),
        (lambda n: Grab(now(), np.array([9 - n])), r"gave the frames \[8\] after frame 9"),
        (lambda n: Grab(now(), np.array([n * 10**12])), r"gave the frames \[1000000000000\] after frame 0"),
        (lambda n: Grab(now(), np.array([float(n)])), r"the numbers \[0\.\]\. Have it return an array of int64 for each"),
        (lambda n: Grab(now(), np.array([n, n + 1])), "as long as there are frames"),
        (lambda n: Grab(now(), np.int64(n)), "Have it return an array of int64 for each"),  # type: ignore[arg-type]
        (lambda n: Grab(np.arange(n, n + 99), np.arange(n, n + 99)), r"returned 99 frames, and `out` has \d places"),
        (lambda n: None, r"returned NoneType\. Have it return a Grab\(timestamps, numbers\)"),
        (lambda n: Grab(now() // 10**9, np.array([n])), r"from now\. Have it give the middle of each exposure in ns since 1970"),
        (lambda n: Grab(now() + 3600 * 10**9, np.array([n])), r"\+3\.6e\+03 s from now\. .* or the source a method clock\(\)"),
    ],
)  # fmt: skip
def test_what_is_no_account_of_frames_ends_the_stream(
    told: Callable[[int], Grab], said: str
) -> None:
    source = Plain(told)
    error = failure(fly(camera_of(source), FrameRequest(COUNT, "frames")))
    assert isinstance(error, CameraError), error
    with pytest.raises(CameraError, match=rf"Plain was asked for frames, and its grab .*{said}"):
        raise error


@pytest.mark.parametrize("first", [None, 0])
def test_numbers_that_are_skipped_are_those_of_lost_frames(first: int | None) -> None:
    begin = 0 if first is None else 1
    source = Plain(lambda n: Grab(now(), np.array([begin + n + 2 * (n > 1)])))
    source.first_number = first  # type: ignore[attr-defined]
    error = failure(fly(camera_of(source), FrameRequest(6, "frames")))
    lost = [begin + 2, begin + 3] if first is None else [0, begin + 2, begin + 3]
    assert isinstance(error, FramesLostError)
    assert f"the camera dropped {len(lost)} frames (numbers {', '.join(map(str, lost))})" in str(
        error
    ) or f"numbers {lost[0]}" in str(error)


def test_frames_that_are_told_to_be_lost_are_counted_once() -> None:
    scans = Scans()
    late = {3: (2,), 5: (4, 6)}  # one of them is told when it had been noticed, and one ahead

    def told(number: int) -> Grab:
        given = [0, 1, 3, 5, 7][number]
        return Grab(now(), np.array([given]), np.array(late.get(given, ())))  # type: ignore[arg-type]

    camera = camera_of(Plain(told))
    scans.RE.subscribe(Reader(read_all))
    scans.RE(fly(camera, FrameRequest(8, "frames", on_lost="flag")))
    assert scans.described() == [0, 1, 2, 3, 4]
    assert camera.num_exposed == 8


class Blocks(Plain):
    """A source of which one method does not return until the test is over."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.over = threading.Event()
        setattr(self, method, lambda *_: self.over.wait(240))

    def clock(self) -> float:
        return time.time()


@pytest.fixture
def blocks() -> Iterator[Callable[[str], Blocks]]:
    made: list[Blocks] = []

    def make(method: str) -> Blocks:
        made.append(Blocks(method))
        return made[-1]

    yield make
    for source in made:
        source.over.set()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("start", r"it was told to start and has not within 2\.4 s"),
        ("stop", r"it was told to stop and has not within 0\.6 s"),
        ("trigger", r"asked to take a frame by a software trigger and has not done so within 0\.3 s"),
        ("prepare", r"asked to prepare frames and has not done so within 2\.4 s"),
        ("clock", r"it was told to start and has not within 2\.4 s"),
    ],
)  # fmt: skip
def test_a_call_that_does_not_return_ends_the_plan(
    blocks: Callable[[str], Blocks], method: str, said: str
) -> None:
    camera = camera_of(blocks(method), 0.3)
    plan = step(camera) if method == "trigger" else fly(camera, FrameRequest(COUNT, "frames"))
    error = failure(plan)
    with pytest.raises(CameraError, match=said):
        raise error


@pytest.mark.parametrize("method", ["prepare", "start", "grab", "trigger", "stop"])
@pytest.mark.parametrize(
    "raised", [ValueError("error 17"), TimeoutError("no answer"), StopIteration(), SystemExit(3)]
)
def test_what_a_vendors_library_raises_is_told_with_the_cameras_name(
    method: str, raised: BaseException
) -> None:
    source = Plain()

    def fail(*_: object) -> None:
        raise raised

    setattr(source, method, fail)
    camera = camera_of(source)
    plan = step(camera) if method == "trigger" else fly(camera, FrameRequest(COUNT, "frames"))
    error = failure(plan)
    assert isinstance(error, CameraError), error
    assert "Camera strange" in str(error)
    assert f"{type(raised).__name__}: {raised}" in str(error)


def test_what_stop_raises_in_another_thread_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    source = Plain()
    raised = SystemExit("the cable is gone")

    def fail() -> None:
        raise raised

    watch = SourceWatch(source, FrameRequest(COUNT, "frames"), 1.0)
    source.stop = fail  # type: ignore[method-assign]
    watch.stop()
    (line,) = caplog.messages
    assert line.startswith(
        "Plain was told to stop from another thread and raised SystemExit: the cable is gone."
    )


@pytest.mark.parametrize(
    ("what", "value", "said"),
    [
        ("shape", (4, 6, 3), r"shape \(4, 6, 3\)\. Give it shape = \(height, width\), in pixels"),
        ("shape", None, "shape None"),
        ("dtype", "uint16", "pixels are 'uint16'. Give it a dtype of grey values, such as numpy.dtype"),
        ("dtype", np.dtype(complex), "Give it a dtype of grey values"),
        ("pixel_size_um", None, "pixel_size_um is None. Give it a number in um, or 0 if it is unknown"),
        ("pixel_size_um", float("nan"), "pixel_size_um is nan"),
    ],
)  # fmt: skip
def test_what_a_source_says_of_its_frames_is_looked_at(what: str, value: Any, said: str) -> None:
    source = Plain()
    setattr(source, what, value)
    with pytest.raises(CameraError, match=f"Plain says that its .*{said}"):
        camera_of(source)

    class Later(Plain):
        def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
            setattr(self, what, value)

    error = failure(fly(camera_of(Later()), FrameRequest(COUNT, "frames")))
    assert "Later says that its" in str(error)


@pytest.mark.parametrize("given", [Plain, 5, None, "13SIM1:"])
def test_what_is_no_source_is_refused(given: Any) -> None:
    with pytest.raises(
        CameraError, match=r"Give an object with shape, dtype, .* such as YourSource"
    ):
        camera_of(given)


@pytest.mark.parametrize("described", [None, NumberSetting(name="a", value=1), [{"name": "a"}]])
def test_descriptions_that_are_none(described: Any) -> None:
    source = Plain()
    source.settings = lambda: described  # type: ignore[attr-defined]
    with pytest.raises(CameraError, match=r"Have its settings\(\) return a list of NumberSetting"):
        camera_of(source)


def test_a_setting_that_vanishes_is_missed() -> None:
    source = Plain()
    described = [NumberSetting(name="gain", value=1.0)]
    source.settings = lambda: described  # type: ignore[attr-defined]
    camera = camera_of(source)
    described = []
    error = failure(fly(camera, FrameRequest(COUNT, "frames")))
    assert "describes the settings none, and described gain before" in str(error)


def test_a_vendors_name_with_signs_that_documents_do_not_take_is_recorded() -> None:
    source, scans = Plain(), Scans()
    source.settings = lambda: (TextSetting(name="Sensitivity/DynamicRange v1.2", value="16 bit"),)  # type: ignore[attr-defined]
    camera = camera_of(source)
    scans.RE(bps.mv(camera.vendor["Sensitivity/DynamicRange v1.2"], "12 bit"))
    scans.RE(fly(camera, FrameRequest(COUNT, "frames")))
    (descriptor,) = scans.find("descriptor")
    told = descriptor["configuration"]["strange"]["data"]
    assert told["strange-vendor-Sensitivity_DynamicRange v1_2"] == "12 bit"


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["exposure", "frame_rate"])
def test_times_that_are_none_are_refused(name: str, value: float) -> None:
    camera, scans = camera_of(Plain()), Scans()
    scans.RE(bps.mv(camera.settings[name], value))
    assert "set both to 0 or more" in str(failure(fly(camera, FrameRequest(COUNT, "frames"))))


class Unprepared(Plain):
    """A source that knows the size of its frames when it is prepared, or never."""

    shape = (0, 0)
    memory_bytes = 4096

    def __init__(self, known: tuple[int, int]) -> None:
        super().__init__()
        self._known = known

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        super().prepare(request, settings)
        self.shape = self._known

    def record(self) -> int:
        return 5


@pytest.mark.parametrize(
    "request_",
    [
        FrameRequest(5, readout="later"),
        FrameRequest(5, retrospective=Retrospective(3, 2, RecordingTrigger())),
    ],
)
def test_frames_of_unknown_size_are_not_kept_in_a_memory(request_: FrameRequest) -> None:
    asyncio.run(Camera(Unprepared((4, 6))).check_request(request_))  # it is known in time
    camera = Camera(Unprepared((0, 0)))
    with pytest.raises(CameraError, match=r"does not know how large its frames are\. Take a frame"):
        asyncio.run(camera.check_request(request_))
