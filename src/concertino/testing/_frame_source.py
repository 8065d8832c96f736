"""What every camera must do: the contract suite to inherit for a `FrameSource`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from concertino import CameraError
from concertino.devices import (
    BufferedFrameSource,
    CameraSetting,
    CameraSettings,
    FrameSource,
    Grab,
    Region,
    RegionSetting,
    SettableFrameSource,
    SettingValue,
    TellsClock,
    TriggeredFrameSource,
)
from concertino.frames import FrameRequest

#: What every camera has, be it described or not.
TIMING = ("exposure", "frame_rate")


class FrameSourceContract:
    """Tests of a camera's frame source, to be inherited for a kind of camera.

    A subclass overrides the fixture `source`, and `kind` where its frames are of another kind.

    Attributes
    ----------
    kind : str
        Name of a stream that the source has frames for, at least 12 of them.
    slow_hz : float
        A frame rate at which no second frame comes while a test waits for it, in Hz.

    Examples
    --------
    >>> import pytest
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.testing import FrameSourceContract
    >>> class TestMyCamera(FrameSourceContract):
    ...     @pytest.fixture
    ...     def source(self):
    ...         return SimulatedBeamline(shape=(16, 16)).camera.source
    """

    kind = "projections"
    slow_hz = 0.05

    @pytest.fixture
    def source(self) -> FrameSource:
        """Give a source that has not been prepared."""
        raise NotImplementedError("override the fixture source")

    @pytest.fixture(autouse=True)
    def _is_stopped(self, source: FrameSource) -> Iterator[None]:
        yield
        source.stop()

    def request(self, count: int | None = None, trigger: str = "internal") -> FrameRequest:
        """Return a request for frames."""
        return FrameRequest(count, kind=self.kind, trigger=trigger)  # type: ignore[arg-type]

    def grab(self, source: FrameSource, count: int) -> list[Grab]:
        """Grab so many frames."""
        grabs: list[Grab] = []
        while (missing := count - sum(len(grab.numbers) for grab in grabs)) > 0:
            out = np.empty((min(missing, 4), *source.shape), source.dtype)
            grabs.append(source.grab(out))
            assert len(grabs[-1].numbers) + len(grabs[-1].dropped) > 0, "it stopped by itself"
        return grabs

    def test_it_says_what_its_frames_are(self, source: FrameSource) -> None:
        source.prepare(self.request(4), self.set_to(source))
        height, width = source.shape
        assert height > 0
        assert width > 0
        assert source.dtype == np.dtype(source.dtype)
        assert source.dtype.kind in "uif"
        assert source.pixel_size_um >= 0

    def test_it_fills_the_slots_it_is_given(self, source: FrameSource) -> None:
        source.prepare(self.request(12), self.set_to(source))
        source.start()
        for grab in self.grab(source, 12):
            assert 1 <= len(grab.numbers) <= 4
            assert grab.timestamps.shape == grab.numbers.shape
            assert (grab.timestamps.dtype.str, grab.numbers.dtype.str) == ("<i8", "<i8")

    def test_frames_are_really_written(self, source: FrameSource) -> None:
        source.prepare(self.request(1), self.set_to(source))
        untouched = 0
        for fill in (0, 1):
            source.start()
            out = np.full((1, *source.shape), fill, source.dtype)
            while not len(source.grab(out).numbers):
                pass  # Only lost ones came.
            source.stop()
            untouched += bool(np.all(out == fill))
        assert untouched < 2, "the frame is what was in the slot before"

    def test_numbers_go_on_from_nought_without_gaps(self, source: FrameSource) -> None:
        source.prepare(self.request(12), self.set_to(source))
        for _ in range(2):
            source.start()
            grabs = self.grab(source, 10)
            numbers = [n for grab in grabs for n in (*grab.dropped, *grab.numbers)]
            assert sorted(numbers) == list(range(len(numbers)))
            source.stop()

    def test_preparing_again_is_harmless_and_exposes_nothing(self, source: FrameSource) -> None:
        for _ in range(2):
            source.prepare(self.request(4), self.set_to(source))
            source.prepare(self.request(6), self.set_to(source))
            time.sleep(0.2)
            before = _shown_ns(source)
            source.start()
            grabs = self.grab(source, 6)
            numbers = [n for grab in grabs for n in (*grab.dropped, *grab.numbers)]
            assert sorted(numbers) == list(range(len(numbers))), "frames were taken before start"
            stamps = np.concatenate([grab.timestamps for grab in grabs])
            assert stamps[0] > before - 10**8, "it was exposed before start"
            source.stop()

    def test_what_it_can_be_set_to_is_what_it_is(self, source: FrameSource) -> None:
        described = {setting.name: setting for setting in _settings(source)}
        again = {setting.name: setting for setting in _settings(source)}
        assert list(described) == list(again)
        for setting in again.values():
            assert setting.checked("camera", setting.value) == setting.value
        source.prepare(self.request(4), self.set_to(source))
        self.grab_once(source)

    def set_to(
        self, source: FrameSource, frame_rate_hz: float = 0.0, **values: SettingValue
    ) -> CameraSettings:
        """Return settings for `prepare`: as the source has them, but for some."""
        own = {one.name: one.value for one in _settings(source) if one.name not in TIMING}
        return CameraSettings(0.001, frame_rate_hz, {**own, **values})

    def test_its_frames_have_the_shape_of_the_region(self, source: FrameSource) -> None:
        setting = next((one for one in _settings(source) if isinstance(one, RegionSetting)), None)
        if setting is None:
            pytest.skip("it has no region of interest")
        rows, columns = setting.step
        height = max(setting.smallest[0], setting.sensor[0] // 2 // rows * rows)
        width = max(setting.smallest[1], setting.sensor[1] // 2 // columns * columns)
        region = Region(rows, columns, height, width)
        source.prepare(self.request(4), self.set_to(source, region=region))
        assert source.shape == (height, width)
        self.grab_once(source)
        source.prepare(self.request(4), self.set_to(source, region=setting.value))
        assert source.shape == (setting.value.height, setting.value.width)

    def test_its_pixels_grow_with_the_binning(self, source: FrameSource) -> None:
        binnings = [one for one in _settings(source) if one.name == "binning"]
        if not binnings:
            pytest.skip("it does not bin")
        before = self.set_to(source)
        source.prepare(self.request(4), self.set_to(source, binning=1))
        (height, width), pixel_um = source.shape, source.pixel_size_um
        source.prepare(self.request(4), self.set_to(source, binning=2))
        assert source.shape == (height // 2, width // 2)
        assert source.pixel_size_um == pytest.approx(2 * pixel_um)
        self.grab_once(source)
        source.prepare(
            self.request(4), before
        )  # A camera that others use keeps what it was set to.

    def test_times_are_those_of_the_exposures(self, source: FrameSource) -> None:
        source.prepare(self.request(8), self.set_to(source))
        before = _shown_ns(source)
        source.start()
        stamps = np.concatenate([grab.timestamps for grab in self.grab(source, 8)])
        assert np.all(np.diff(stamps) >= 0)
        assert before - 10**9 < stamps[0]
        assert stamps[-1] < _shown_ns(source) + 10**9

    def test_it_keeps_its_frame_rate(self, source: FrameSource) -> None:
        source.prepare(self.request(8), self.set_to(source, 40.0))
        self.grab_once(source)
        source.start()
        begin = time.monotonic()
        self.grab(source, 8)
        assert time.monotonic() - begin > 7 / 40 * 0.9

    def grab_once(self, source: FrameSource) -> None:
        """Grab one frame, so that whatever is made ready at the first one is."""
        source.start()
        self.grab(source, 1)
        source.stop()

    def test_stopping_lets_a_waiting_grab_return(self, source: FrameSource) -> None:
        source.prepare(self.request(None), self.set_to(source, self.slow_hz))
        source.start()
        grabs: list[Grab] = []

        def wait() -> None:
            out = np.empty((1, *source.shape), source.dtype)
            # A camera may give its first frame at once.
            grabs.extend(source.grab(out) for _ in range(2))

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        source.stop()
        thread.join(5)
        assert not thread.is_alive()
        assert len(grabs[-1].numbers) == 0

    def test_stopping_what_does_not_run_is_harmless(self, source: FrameSource) -> None:
        source.stop()
        source.prepare(self.request(4), self.set_to(source))
        source.stop()
        source.start()
        source.stop()
        source.stop()
        source.start()
        self.grab(source, 2)

    def test_each_software_trigger_makes_one_frame(self, source: FrameSource) -> None:
        if not isinstance(source, TriggeredFrameSource):
            pytest.skip("it takes no software triggers")
        source.prepare(self.request(6, "software"), self.set_to(source))
        source.start()
        seen: list[int] = []

        def run() -> None:
            while len(seen) < 6:
                out = np.empty((4, *source.shape), source.dtype)
                numbers = source.grab(out).numbers
                if not len(numbers):
                    return
                seen.extend(numbers.tolist())

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.05)
        assert not seen
        for index in range(6):
            source.trigger()
            _eventually(lambda index=index: len(seen) == index + 1)  # type: ignore[misc]
        thread.join(5)
        assert seen == list(range(6))

    def test_stopping_ends_the_wait_for_a_trigger(self, source: FrameSource) -> None:
        if not isinstance(source, TriggeredFrameSource):
            pytest.skip("it takes no software triggers")
        source.prepare(self.request(None, "software"), self.set_to(source))
        source.start()
        grabs: list[Grab] = []
        thread = threading.Thread(
            target=lambda: grabs.append(source.grab(np.empty((1, *source.shape), source.dtype)))
        )
        thread.start()
        time.sleep(0.02)
        source.stop()
        thread.join(5)
        assert not thread.is_alive()
        assert len(grabs[0].numbers) == 0

    def test_a_trigger_that_it_does_not_have_is_refused(self, source: FrameSource) -> None:
        try:
            source.prepare(self.request(4, "edge"), self.set_to(source))
        except CameraError as error:
            assert "trigger" in str(error)  # noqa: PT017


class BufferedFrameSourceContract(FrameSourceContract):
    """Tests of a camera with a memory of its own, besides those of every camera.

    A subclass overrides the fixture `source`; the memory must hold 12 frames.
    """

    @pytest.fixture
    def source(self) -> BufferedFrameSource:
        """Give a source that has not been prepared."""
        raise NotImplementedError("override the fixture source")

    def later(self, count: int | None = None, trigger: str = "internal") -> FrameRequest:
        """Return a request for frames that are read out later."""
        return replace(self.request(count, trigger), readout="later")

    def record(self, source: BufferedFrameSource, count: int) -> None:
        """Record so many frames."""
        recorded = 0
        while recorded < count:
            before, recorded = recorded, source.record()
            assert recorded > before, "it stopped by itself"

    def test_it_has_a_memory(self, source: BufferedFrameSource) -> None:
        assert isinstance(source, BufferedFrameSource)
        source.prepare(self.later(12), self.set_to(source))
        height, width = source.shape
        assert source.memory_bytes >= 12 * height * width * source.dtype.itemsize

    def test_what_is_recorded_is_read_out_in_order(self, source: BufferedFrameSource) -> None:
        source.prepare(self.later(10), self.set_to(source))
        for _ in range(2):
            source.start()
            self.record(source, 10)
            grabs = self.grab(source, 10)
            numbers = [n for grab in grabs for n in (*grab.dropped, *grab.numbers)]
            assert sorted(numbers) == list(range(10))
            source.stop()

    def test_times_of_recorded_frames_are_those_of_the_exposures(
        self, source: BufferedFrameSource
    ) -> None:
        source.prepare(self.later(8), self.set_to(source))
        before = _shown_ns(source)
        source.start()
        self.record(source, 8)
        recorded = _shown_ns(source)
        time.sleep(0.1)
        stamps = np.concatenate([grab.timestamps for grab in self.grab(source, 8)])
        assert np.all(np.diff(stamps) >= 0)
        assert before - 10**7 < stamps[0]
        assert stamps[-1] < recorded + 10**7

    def test_recording_keeps_the_frame_rate(self, source: BufferedFrameSource) -> None:
        source.prepare(self.later(8), self.set_to(source, 40.0))
        source.start()
        begin = time.monotonic()
        self.record(source, 8)
        assert time.monotonic() - begin > 7 / 40 * 0.9

    def test_stopping_ends_the_recording(self, source: BufferedFrameSource) -> None:
        source.prepare(self.later(12), self.set_to(source, self.slow_hz))
        source.start()
        counts: list[int] = []
        # A camera may have its first frame at once.
        thread = threading.Thread(target=lambda: counts.extend(source.record() for _ in range(2)))
        thread.start()
        time.sleep(0.05)
        source.stop()
        thread.join(5)
        assert not thread.is_alive()
        assert counts[-1] < 2

    def test_stopping_ends_the_read_out(self, source: BufferedFrameSource) -> None:
        source.prepare(self.later(4), self.set_to(source))
        source.start()
        self.record(source, 4)
        source.stop()
        assert not len(source.grab(np.empty((4, *source.shape), source.dtype)).numbers)

    def test_each_software_trigger_records_one_frame(self, source: BufferedFrameSource) -> None:
        if not isinstance(source, TriggeredFrameSource):
            pytest.skip("it takes no software triggers")
        source.prepare(self.later(3, "software"), self.set_to(source))
        source.start()
        for index in range(3):
            source.trigger()
            assert source.record() == index + 1
        assert sum(len(grab.numbers) + len(grab.dropped) for grab in self.grab(source, 3)) == 3


def _eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 5 s"
        time.sleep(0.001)


def _settings(source: FrameSource) -> tuple[CameraSetting, ...]:
    """What can be set of a source; nothing of one that does not say."""
    return tuple(source.settings()) if isinstance(source, SettableFrameSource) else ()


def _shown_ns(source: FrameSource) -> int:
    """What the clock of a source's time stamps shows now, in ns."""
    shown = source.clock() if isinstance(source, TellsClock) else time.time()
    return round(shown * 1e9)
