"""A GenICam camera: Aravis' own fake GigE Vision camera, a process of its own on the loopback interface."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import CameraError
from concertino.devices import (
    CameraSettings,
    FrameSource,
    GenicamSource,
    IntegerSetting,
    Region,
    SettableFrameSource,
    SettingValue,
    TellsClock,
    TriggeredFrameSource,
)
from concertino.devices.vendors._aravis import Aravis, libraries
from concertino.frames import FrameRequest
from concertino.testing import FrameSourceContract
from tests.patience import patience

from .fake_gige import ADDRESS, SMALL, FakeGige, fake_gige, opened
from .needed import need

pytestmark = pytest.mark.disturbed_by_load(
    "the fake camera draws its frames and answers in one thread, and is lost when that gets no processor"
)

FREE = CameraSettings(0.001, 0.0)


@pytest.fixture(scope="module")
def camera() -> Iterator[FakeGige]:
    need("genicam")
    with fake_gige() as started:
        yield started


@pytest.fixture
def source(camera: FakeGige) -> Iterator[GenicamSource]:
    with opened(("TestBoolean", "AcquisitionMode", "GainRaw"), pixel_size_um=5.0) as made:
        yield made


class TestGenicamSource(FrameSourceContract):
    slow_hz = 0.1

    @pytest.fixture
    def source(self, camera: FakeGige) -> Iterator[FrameSource]:
        # One that was stopped waits out the period of its last frame, 10 s here, before it answers a trigger.
        camera.kill()
        camera.start()
        with opened() as made:
            yield made


def take(source: GenicamSource, count: int, settings: CameraSettings = FREE) -> NDArray[Any]:
    """Take frames; return them."""
    source.prepare(FrameRequest(count), settings)
    source.start()
    frames = np.empty((count, *source.shape), source.dtype)
    done = 0
    left = patience()
    while left() and done < count:
        grab = source.grab(frames[done:])
        assert not grab.dropped
        done += len(grab.numbers)
    source.stop()
    return frames


def test_it_is_what_plans_and_others_ask_for(source: GenicamSource) -> None:
    assert isinstance(source, TriggeredFrameSource)
    assert isinstance(source, SettableFrameSource)
    assert isinstance(source, TellsClock)


def test_each_library_that_is_here_has_what_is_called() -> None:
    need("genicam")
    loaded = []
    for library in libraries():
        with suppress(OSError):  # not installed
            loaded.append(Aravis(library))
    assert loaded


def test_frames_hold_the_cameras_own_pattern(source: GenicamSource) -> None:
    # The fake camera draws a ramp along both axes that goes on by one from frame to frame.
    first, second = take(source, 2, CameraSettings(0.01, 100.0, {"bit_depth": 8, "gain": 0.0}))
    assert first.dtype == np.uint8
    assert first.shape == (SMALL.height, SMALL.width)
    steps = np.diff(first[0].astype(int)) % 255
    assert set(steps.tolist()) == {1}
    assert np.array_equal(second[:, :-1], first[:, 1:])


def test_settings_are_described_and_taken_over(source: GenicamSource) -> None:
    described = {setting.name: setting for setting in source.settings()}
    assert {"region", "binning", "gain", "bit_depth", "exposure", "frame_rate"} < set(described)
    depth = described["bit_depth"]
    assert isinstance(depth, IntegerSetting)
    assert depth.choices == (8, 16)
    assert described["AcquisitionMode"].kind == "choice"
    assert described["GainRaw"].kind == "integer"
    assert described["TestBoolean"].kind == "switch"
    values: dict[str, SettingValue] = {
        "region": Region(8, 16, 40, 24), "binning": 2, "gain": 3.0, "bit_depth": 16, "TestBoolean": True,
    }  # fmt: skip
    source.prepare(FrameRequest(1), CameraSettings(0.002, 0.0, values))
    assert (source.shape, source.dtype) == ((20, 12), np.dtype(np.uint16))
    assert source.pixel_size_um == 10.0
    now = {setting.name: setting.value for setting in source.settings()}
    assert {name: now[name] for name in values} == values
    assert now["exposure"] == pytest.approx(0.002)
    assert take(source, 1).shape == (1, 20, 12)
    source.prepare(FrameRequest(1), CameraSettings(0.001, 0.0, {"binning": 1, "region": SMALL}))


def test_an_unknown_feature_is_refused(camera: FakeGige) -> None:
    with opened(("NoSuchFeature",)) as made, pytest.raises(CameraError, match="'NoSuchFeature'"):
        made.settings()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (CameraSettings(100.0, 0.0), "exposure time of 100 s; it takes 1e-05 to 10 s"),
        (CameraSettings(0.0, 0.0), "exposure time of 0 s"),
        (CameraSettings(0.001, 2000.0), "frame rate of 2000 Hz; it takes 0.1 to 1000 Hz"),
    ],
)
def test_what_is_outside_its_limits_is_refused(
    source: GenicamSource, settings: CameraSettings, said: str
) -> None:
    with pytest.raises(CameraError, match=said):
        source.prepare(FrameRequest(1), settings)


def test_pulses_go_to_its_line_and_nothing_comes_without_them(source: GenicamSource) -> None:
    source.prepare(FrameRequest(1, trigger="edge"), FREE)
    source.start()
    with source._using:
        assert source._stream is not None
        with source._stream.next(wait=True) as came:
            assert came is None
    source.stop()


def test_preparing_arms_nothing(source: GenicamSource) -> None:
    for _ in range(3):
        source.prepare(FrameRequest(5), FREE)
    assert len(take(source, 5)) == 5


def test_numbers_go_on_where_the_ids_begin_again(source: GenicamSource) -> None:
    # The fake camera begins at 65400, so that this passes the end of 16 bit in one of its first runs.
    source.prepare(FrameRequest(300), FREE)
    source.start()
    numbers: list[int] = []
    out = np.empty((8, *source.shape), source.dtype)
    left = patience()
    while left() and len(numbers) < 300:
        grab = source.grab(out)
        numbers += [*grab.dropped, *grab.numbers.tolist()]
    source.stop()
    assert sorted(numbers) == list(range(300))


def test_a_camera_that_is_not_there_is_told(camera: FakeGige) -> None:
    with pytest.raises(CameraError, match=r"'127\.0\.0\.9'.* It finds "):
        GenicamSource("127.0.0.9")


def test_one_who_has_it_has_it_alone(camera: FakeGige) -> None:
    with opened(), pytest.raises(CameraError, match="no other program"):
        GenicamSource(ADDRESS).prepare(FrameRequest(1), FREE)


def test_one_that_was_closed_is_opened_again(camera: FakeGige) -> None:
    with opened() as source:
        source.close()
        source.close()
        for begin in (source.start, source.trigger):
            with pytest.raises(
                CameraError, match=r"was closed and was to take frames\. Prepare it again"
            ):
                begin()
        assert source.clock() == pytest.approx(time.time(), abs=10.0)
        assert "region" in {setting.name for setting in source.settings()}
        assert len(take(source, 2)) == 2
