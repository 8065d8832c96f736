"""The live page as Chromium shows it, fed by real frame streams and documents."""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from concertino.callbacks import LiveView, ProcessingRun
from concertino.frames import FrameStream

pytestmark = [
    pytest.mark.browser,
    pytest.mark.disturbed_by_load(
        "a browser draws what it is sent, while the next comes by the clock"
    ),
]

START = {
    "plan_name": "continuous_tomography",
    "scan_name": "scan_0003",
    "sample": "tooth <left>",
    "plan_args": {"num_darks": 10, "num_flats": 20, "num_projections": 500},
    "tomo": {
        "image_kinds": {"darks": "dark", "flats": "flat", "projections": "projection"},
        "num_projections": 500,
    },
}


class Scan:
    """Emits documents to a view and makes frame streams."""

    def __init__(self, view: LiveView, **more: Any) -> None:
        self.view = view
        self.uid = str(uuid4())
        view("start", {"uid": self.uid, "time": time.time(), **START, **more})

    def stream(self, name: str, shape: tuple[int, int], dtype: str = "uint16") -> FrameStream:
        stream = FrameStream(shape=shape, dtype=dtype, ring_bytes=2**24)
        self.descriptor = str(uuid4())
        key = {
            "source": "", "dtype": "array", "shape": [1, *shape], "external": "STREAM:",
            "dtype_numpy": stream.dtype.str, "object_name": "camera",
        }  # fmt: skip
        configuration = {"camera": {"data": {"camera-frames": stream.address}}}
        descriptor = {"uid": self.descriptor, "run_start": self.uid, "name": name}
        document = {**descriptor, "data_keys": {"camera": key}, "configuration": configuration}
        self.view("descriptor", document)
        return stream

    def acquired(self, count: int) -> None:
        indices = {"start": 0, "stop": count}
        self.view("stream_datum", {"descriptor": self.descriptor, "indices": indices})

    def stop(self, **how: Any) -> None:
        self.view("stop", {"run_start": self.uid, "time": time.time(), **how})


@pytest.fixture
def view() -> Iterator[LiveView]:
    with LiveView(limits="full") as opened:
        yield opened
        assert opened.error is None


def area(shot: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    left, top, width, height = (round(side) for side in box)
    return shot[top : top + height, left : left + width]


def extent(shown: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First row, first column, rows and columns of what is true."""
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    return rows[0], columns[0], int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_a_run_from_its_start_to_its_failure(view: LiveView, browser: Any) -> None:
    browser.open(view.url)
    browser.wait(lambda says: says["state"] == "waiting for a run")

    scan = Scan(view)
    browser.wait(lambda says: says["state"] == "running")
    says = browser.fields()
    assert says["run"] == "scan_0003"
    assert says["progress-darks"] == "0 of 10"

    with scan.stream("projections", (256, 256)) as stream:
        for number in range(30):
            stream.publish(np.full((256, 256), number, np.uint16))
        scan.acquired(30)
        browser.wait(lambda says: says["number"] == "29")
        assert browser.fields()["stream"] == "projections"
        browser.wait(lambda says: says["progress-projections"] == "30 of 500")
        assert browser.driver.title == "scan_0003: 5 %"

        stream.publish(np.full((256, 256), 7, np.uint16))
        browser.wait(lambda says: says["number"] == "30")
        stream.end()

    scan.stop(exit_status="fail", reason="CameraError: <camera> gone after 31 frames")
    browser.wait(lambda says: says["state"] == "failed")
    assert browser.fields()["reason"] == "CameraError: <camera> gone after 31 frames"
    assert browser.errors() == []


def test_alarms_of_the_run_that_goes_on(view: LiveView, browser: Any) -> None:
    browser.open(view.url)
    scan = Scan(view)
    browser.wait(lambda says: says["state"] == "running")
    uid, stream = str(uuid4()), str(uuid4())
    view(
        "start",
        {"uid": uid, "time": time.time(), "plan_name": "alarms", "derived_from": scan.uid},
    )
    view("descriptor", {"uid": stream, "run_start": uid, "name": "alarms", "data_keys": {}})
    data = {"level": "warn", "message": "12 % of the pixels of frame 3 of <flats> are saturated"}
    view("event", {"descriptor": stream, "seq_num": 1, "data": data})
    browser.wait(lambda says: says.get("alarm", "").endswith("<flats> are saturated"))
    assert browser.fields()["alarm"].startswith("warn")
    # They do not stand for a reconstruction, and are gone when the next run begins.
    assert "processing" not in browser.fields()
    Scan(view)
    browser.wait(lambda says: "alarm" not in says)
    assert browser.errors() == []


def near(figure: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.abs(figure.astype(int) - colour).max(axis=2) < 12
    return close


PURPLE, YELLOW = (68, 1, 84), (253, 231, 37)  # The first and the last colour of viridis.


def test_the_picture_is_upright_and_its_pixels_square(browser: Any) -> None:
    image = np.zeros((200, 400), np.uint16)
    image[:50, :30] = 60000  # Top left.
    with LiveView(limits="full", colour_map="viridis") as view:
        browser.open(view.url)
        with Scan(view).stream("flats", image.shape) as stream:
            stream.publish(image)
            browser.wait(lambda says: says["number"] == "0")
            browser.wait(lambda _: near(browser.screenshot(), YELLOW).sum() > 1000)
            figure = area(browser.screenshot(), browser.figures()[0])

    yellow = extent(near(figure, YELLOW))
    whole = extent(near(figure, YELLOW) | near(figure, PURPLE))
    scale = whole[3] / 400
    assert whole[2] / 200 == pytest.approx(scale, rel=0.02)
    assert yellow[:2] == pytest.approx(whole[:2], abs=1)
    assert yellow[2:] == pytest.approx((50 * scale, 30 * scale), abs=2)


def test_controls(view: LiveView, browser: Any) -> None:
    image = np.tile(np.arange(256, dtype=np.uint16) * 100, (256, 1))
    browser.open(view.url)

    def shown() -> NDArray[np.uint8]:
        return area(browser.screenshot(), browser.figures()[0])

    with Scan(view).stream("flats", image.shape) as stream:
        stream.publish(image)
        browser.wait(lambda says: says["number"] == "0")
        time.sleep(0.5)
        gray = shown()
        assert near(gray, YELLOW).sum() == 0

        select = browser.find("select")
        select.find_element("xpath", "option[text()='viridis']").click()
        browser.wait(lambda _: near(shown(), YELLOW).sum() > 100)
        few = near(shown(), YELLOW).sum()

        browser.find(".bk-btn", "fixed").click()
        time.sleep(0.5)
        high = browser.driver.execute_script(INPUTS)["to"]
        high.clear()
        high.send_keys("12800\n")
        # Half of the columns are now beyond the brightest colour.
        browser.wait(lambda _: near(shown(), YELLOW).sum() > 10 * few)

        stream.publish(image[:, ::-1].copy())
        browser.wait(lambda says: says["number"] == "1")
        browser.find(".bk-btn", "Freeze pictures").click()
        browser.wait(lambda says: says["frozen"] == "pictures frozen")
        stream.publish(image)
        time.sleep(1)
        assert browser.fields()["number"] == "1"
        browser.find(".bk-btn", "Show new pictures").click()
        browser.wait(lambda says: says["number"] == "2")
    assert browser.errors() == []


INPUTS = """
const found = {};
const walk = (node) => { for (const each of node.querySelectorAll('*')) {
  if (each.matches('input[type=text], input[type=number]') && each.checkVisibility())
    found[each.closest('.bk-input-group').querySelector('label').innerText.trim()] = each;
  if (each.shadowRoot) walk(each.shadowRoot); } };
walk(document); return found;
"""


def test_slices_of_a_processing_run(view: LiveView, browser: Any) -> None:
    browser.open(view.url)
    scan = Scan(view)
    volume = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
    raw = {"uid": scan.uid, "time": time.time()}
    run = ProcessingRun(raw, "mine", {}, directory=None, callbacks=[view])
    run.publish(volume[:1], stream="slices", data_key="slices", configuration={"rows": [2.0]})
    browser.wait(lambda says: says["slice"] == "slice 2")
    assert len(browser.figures()) == 2
    run.publish(volume[1:2], stream="thresholds", data_key="over_3", configuration={})
    run.stop()
    browser.wait(lambda says: says["processing"] == "finished")
    assert browser.fields()["run"] == "scan_0003"
    assert view.state.summary()["labels"]["slices"] == ["slice 2", "over 3"]
    assert view.state.summary()["labels"]["frames"] == []
    assert browser.errors() == []


def test_the_axis_is_shown_with_its_confidence_and_set_by_a_click(
    view: LiveView, browser: Any
) -> None:
    browser.open(view.url)
    scan = Scan(view)
    asked: list[dict[str, Any]] = []

    class Reconstruction:
        def update(self, changes: Mapping[str, Any]) -> None:
            asked.append(dict(changes))
            if changes["center"] == 999:
                raise ValueError("center: 999 px lies outside of the frame")

    view.control(Reconstruction())
    preview = {
        "uid": str(uuid4()),
        "time": time.time(),
        "derived_from": scan.uid,
        "transient": True,
    }
    view("start", preview | {"plan_name": "reconstruction_preview"})
    told = {"uid": str(uuid4()), "run_start": preview["uid"], "name": "axis", "data_keys": {}}
    view("descriptor", told)
    found = {
        "center": 127.25, "center_confidence": 0.93, "center_method": "mirror symmetry",
        "projections": 40, "projections_planned": 500, "preview_s": 0.21, "preview_asked_s": 0.2,
    }  # fmt: skip
    view("event", {"descriptor": told["uid"], "seq_num": 1, "data": found})
    browser.wait(lambda says: says["center"] == "127.25")
    assert browser.fields()["confidence"] == "0.93"
    assert browser.fields()["processing"] == "running"
    assert "previews" not in browser.fields()  # they come as asked
    time.sleep(1)
    assert not asked  # nothing is set by itself
    browser.find("button", "Find it").click()
    browser.wait(lambda _: asked == [{"center": None}])
    column = browser.find("input[type=text]", "")
    column.click()
    column.send_keys("999\t")
    browser.find("button", "Set it").click()
    browser.wait(lambda says: says["answer"] == "center: 999 px lies outside of the frame")
    assert asked[-1] == {"center": 999.0}
    found |= {"center": 126.0, "preview_s": 0.488}
    view("event", {"descriptor": told["uid"], "seq_num": 2, "data": found})
    browser.wait(lambda says: says["center"] == "126.00")
    assert browser.fields()["previews"] == "previews every 0.49 s, asked every 0.2 s"
    assert len(asked) == 2
    assert browser.errors() == []


def test_two_tabs_and_a_closed_one(view: LiveView, browser: Any) -> None:
    browser.open(view.url)
    with Scan(view).stream("flats", (64, 64)) as stream:
        stream.publish(np.zeros((64, 64), np.uint16))
        browser.wait(lambda says: says["number"] == "0")
        browser.driver.switch_to.new_window("tab")
        browser.open(view.url)
        browser.wait(lambda says: says["number"] == "0")
        browser.driver.close()
        browser.driver.switch_to.window(browser.driver.window_handles[0])
        stream.publish(np.zeros((64, 64), np.uint16))
        browser.wait(lambda says: says["number"] == "1")


def publish_for(stream: FrameStream, frames: NDArray[np.uint16], seconds: float) -> int:
    before, until_s = stream.published, time.monotonic() + seconds
    while time.monotonic() < until_s:
        stream.publish(frames[stream.published % len(frames)])
        time.sleep(0.001)
    return stream.published - before


def test_a_stalled_browser_costs_nothing(view: LiveView, browser: Any) -> None:
    frames = np.random.default_rng(0).integers(0, 4000, (4, 1024, 1024), dtype=np.uint16)
    page, scan = psutil.Process(view._page.pid), psutil.Process()
    browser.open(view.url)
    with Scan(view).stream("projections", (1024, 1024)) as stream:
        publish_for(stream, frames, 3)
        browser.wait(lambda says: int(says["number"] or 0) > 100)
        watched = publish_for(stream, frames, 2)
        before = page.memory_info().rss, scan.memory_info().rss
        browser.freeze()
        publish_for(stream, frames, 2)
        stalled = publish_for(stream, frames, 6)
        after = page.memory_info().rss, scan.memory_info().rss
        browser.thaw()
        # Six seconds of pictures would be 60 of 1 MiB.
        assert after[0] - before[0] < 20 * 2**20
        assert after[1] - before[1] < 20 * 2**20
        assert stalled / 6 > 0.4 * watched / 2
        # Awake again it shows what is new, not what it missed.
        publish_for(stream, frames, 0.5)
        newest = str(stream.published - 1)
        browser.wait(lambda says: says["number"] == newest)
    assert browser.errors() == []


def test_the_page_dies_and_the_scan_goes_on(browser: Any, caplog: Any) -> None:
    with LiveView() as view:
        browser.open(view.url)
        scan = Scan(view)
        with scan.stream("flats", (64, 64)) as stream:
            psutil.Process(view._page.pid).kill()
            done = threading.Event()
            deadline_s = time.monotonic() + 240
            while view.error is None and time.monotonic() < deadline_s:
                stream.publish(np.zeros((64, 64), np.uint16))
                done.wait(0.01)
            stream.end().check()
        scan.stop(exit_status="success")
        assert "is no longer served" in str(view.error)
    assert "is no longer served" in caplog.text


def test_each_camera_has_a_picture_of_its_own(view: LiveView, browser: Any) -> None:
    browser.open(view.url)
    browser.wait(lambda says: says["state"] == "waiting for a run")
    view.state.show_frame(np.arange(64, dtype=np.uint16).reshape(8, 8), camera="wide", stream="a")
    browser.wait(lambda says: len(browser.figures()) == 2)  # The picture and its histogram.
    view.state.show_frame(np.ones((4, 16), np.uint16), camera="detail", stream="a-detail")
    browser.wait(lambda says: len(browser.figures()) == 4)
    for stream in ("a", "a-detail"):
        assert browser.find("[data-field=stream]", stream) is not None
    lefts = sorted(box[0] for box in browser.figures())
    assert lefts[-1] - lefts[0] > 400  # Side by side.
    assert browser.errors() == []
