"""A camera of Micro-Manager: its own DemoCamera in a real core."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import CameraError
from concertino.devices import (
    CameraSettings,
    FrameSource,
    MicroManagerSource,
    Region,
    SettableFrameSource,
    SettingValue,
    TriggeredFrameSource,
)
from concertino.frames import FrameRequest
from concertino.testing import FrameSourceContract
from tests.patience import patience

from .demo_camera import LABEL, demo_core
from .needed import need

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

FREE = CameraSettings(0.001, 0.0)
_PATIENCE_S = 240.0


@pytest.fixture
def core() -> Iterator["CMMCorePlus"]:
    need("micromanager")
    with demo_core(megabytes=1) as loaded:
        yield loaded


class TestMicroManagerSource(FrameSourceContract):
    @pytest.fixture
    def source(self, core: "CMMCorePlus") -> FrameSource:
        return MicroManagerSource(core)


def test_it_is_what_plans_and_others_ask_for(core: "CMMCorePlus") -> None:
    source = MicroManagerSource(core)
    assert isinstance(source, TriggeredFrameSource)
    assert isinstance(source, SettableFrameSource)
    assert source.first_number == 0


def test_settings_are_described_and_taken_over(core: "CMMCorePlus") -> None:
    core.definePixelSizeConfig("objective")
    core.setPixelSizeUm("objective", 1.5)
    core.setPixelSizeConfig("objective")
    source = MicroManagerSource(core, properties=("Mode", "TestProperty1", "Offset"))
    described = {setting.name: setting for setting in source.settings()}
    assert {name: setting.kind for name, setting in described.items()} == {
        "region": "region", "binning": "integer", "gain": "integer", "bit_depth": "integer", "exposure": "number",
        "trigger_mode": "choice", "Mode": "choice", "TestProperty1": "number", "Offset": "integer",
    }  # fmt: skip
    values: dict[str, SettingValue] = {
        "region": Region(64, 32, 40, 64), "binning": 2, "gain": 3, "bit_depth": 12, "Mode": "Noise",
        "TestProperty1": 0.05, "Offset": 7,
    }  # fmt: skip
    source.prepare(FrameRequest(1), CameraSettings(0.002, 0.0, values))
    assert (source.shape, source.dtype.str, source.pixel_size_um) == ((20, 32), "<u2", 3.0)
    now = {setting.name: setting.value for setting in source.settings()}
    assert {name: now[name] for name in values} == values
    # What the core says itself:
    assert (core.getROI(), core.getExposure()) == ([16, 32, 32, 20], 2.0)
    assert core.getProperty(LABEL, "Mode") == "Noise"
    assert core.getImageBitDepth() == 12


def test_the_sensor_is_seen_whole_and_the_region_is_left(core: "CMMCorePlus") -> None:
    region = MicroManagerSource(core).settings()[0]
    assert region.kind == "region"
    assert (region.value, region.sensor) == (Region(0, 0, 32, 48), (512, 512))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (CameraSettings(100.0, 0.0), "exposure time of 100 s; it takes 0 to 10 s"),
        (CameraSettings(0.001, 0.0, {"bit_depth": 8, "PixelType": "32bitRGB"}), "gives 4 values"),
    ],
)
def test_what_it_cannot_do_is_refused(
    core: "CMMCorePlus", settings: CameraSettings, said: str
) -> None:
    source = MicroManagerSource(core, properties=("PixelType",))
    with pytest.raises(CameraError, match=said):
        source.prepare(FrameRequest(1), settings)


def test_a_camera_or_property_that_is_not_there_is_told(core: "CMMCorePlus") -> None:
    with pytest.raises(CameraError, match="asked for camera 'Andor', and has"):
        MicroManagerSource(core, "Andor")
    with pytest.raises(CameraError, match="its property 'Speed', which"):
        MicroManagerSource(core, properties=("Speed",))
    with pytest.raises(CameraError, match="Give its properties for that"):
        MicroManagerSource(core).prepare(FrameRequest(1, trigger="edge"), FREE)


def test_pulses_are_waited_for_as_it_was_told_and_then_no_more(core: "CMMCorePlus") -> None:
    # The demonstration camera has no input; a property of it stands for that which others have.
    source = MicroManagerSource(core, edge={"ScanMode": "2"})
    source.prepare(FrameRequest(1, trigger="edge"), FREE)
    assert core.getProperty(LABEL, "ScanMode") == "2"
    source.prepare(FrameRequest(1), FREE)
    assert core.getProperty(LABEL, "ScanMode") == "1"


def test_a_configuration_file_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    need("micromanager")
    import mm_test_adapters
    from pymmcore_plus import CMMCorePlus

    path = tmp_path_factory.mktemp("configuration") / "demo.cfg"
    path.write_text(
        "Device,Cam,DemoCamera,DCam\nProperty,Core,Initialize,1\nProperty,Core,Camera,Cam\n"
    )
    with pytest.raises(CameraError, match="Check the file, and that its device adapters"):
        MicroManagerSource(path.with_name("none.cfg"))
    core = CMMCorePlus()
    core.setDeviceAdapterSearchPaths([str(mm_test_adapters.device_adapter_path())])
    core.loadSystemConfiguration(str(path))
    assert MicroManagerSource(core).shape == (512, 512)
    core.unloadAllDevices()


def overflowing(core: "CMMCorePlus", on_lost: str, count: int) -> MicroManagerSource:
    """Start a sequence that is larger than the core's buffer of 1 MB, and wait until it has overflowed."""
    source = MicroManagerSource(core)
    source.prepare(FrameRequest(count, on_lost=on_lost), FREE)  # type: ignore[arg-type]
    source.start()
    until = time.monotonic() + _PATIENCE_S
    # As nobody takes an image, the sequence ends by itself: at the overflow, or at its last image.
    while core.isSequenceRunning():
        assert time.monotonic() < until
        time.sleep(0.01)
    return source


def test_an_overflow_ends_it_after_what_was_received(core: "CMMCorePlus") -> None:
    core.setROI(0, 0, 256, 128)  # 64 kB a frame
    source = overflowing(core, "fail", 100)
    numbers: list[int] = []
    out = np.empty((4, *source.shape), source.dtype)
    with pytest.raises(CameraError) as caught:
        grab_on(source, out, numbers)
    assert 0 < len(numbers) < 100
    assert numbers == list(range(len(numbers)))
    assert f"overflowed after {len(numbers)} of 100 frames" in str(caught.value)
    source.stop()


def test_an_overflow_that_may_be_loses_frames_that_are_told_by_number(core: "CMMCorePlus") -> None:
    core.setROI(0, 0, 256, 128)
    source = overflowing(core, "flag", 100)
    numbers: list[int] = []
    dropped: list[int] = []
    out = np.empty((4, *source.shape), source.dtype)
    left = patience()
    while left() and len(numbers) + len(dropped) < 100:
        grab = source.grab(out)
        numbers += grab.numbers.tolist()
        dropped += grab.dropped
    source.stop()
    assert sorted(numbers + dropped) == list(range(100))
    assert len(dropped) > 50
    assert numbers[-1] == 99


def grab_on(source: MicroManagerSource, out: NDArray[Any], numbers: list[int]) -> None:
    """Grab until the source fails."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        numbers += source.grab(out).numbers.tolist()


def test_a_sequence_that_somebody_else_stops_is_told(core: "CMMCorePlus") -> None:
    source = MicroManagerSource(core)
    source.prepare(FrameRequest(1000), CameraSettings(0.02, 0.0))
    source.start()
    numbers: list[int] = []
    out = np.empty((4, *source.shape), source.dtype)
    numbers += source.grab(out).numbers.tolist()
    core.stopSequenceAcquisition(LABEL)
    with pytest.raises(CameraError, match="ended its sequence after"):
        grab_on(source, out, numbers)
    source.stop()


def test_a_camera_that_is_unloaded_is_told(core: "CMMCorePlus") -> None:
    source = MicroManagerSource(core)
    source.prepare(FrameRequest(10, trigger="software"), FREE)
    source.start()
    out = np.empty((4, *source.shape), source.dtype)
    source.trigger()
    assert source.grab(out).numbers.tolist() == [0]
    core.unloadDevice(LABEL)
    source.trigger()
    with pytest.raises(CameraError, match="was to take a frame, and failed: Camera not loaded"):
        source.grab(out)
    source.stop()
    with pytest.raises(CameraError, match="Check that the device is on and loaded"):
        source.prepare(FrameRequest(1), FREE)


def second_camera(core: "CMMCorePlus") -> None:
    """Load another camera into the core, whose frames have another size."""
    core.loadDevice("Other", "DemoCamera", "DCam")
    core.initializeDevice("Other")
    core.setCameraDevice("Other")
    core.setProperty("Other", "PixelType", "16bit")
    core.setROI(0, 0, 24, 20)
    core.setExposure("Other", 1.0)
    core.setCameraDevice(LABEL)


def test_a_second_sequence_of_one_core_is_refused(core: "CMMCorePlus") -> None:
    second_camera(core)
    first, second = MicroManagerSource(core), MicroManagerSource(core, "Other")
    for source in (first, second):
        source.prepare(FrameRequest(None), CameraSettings(0.001, 0.0))
    first.start()
    refusals: tuple[Callable[[], object], ...] = (
        second.settings, lambda: second.prepare(FrameRequest(10), FREE), second.start,
    )  # fmt: skip
    for refused in refusals:
        with pytest.raises(CameraError, match=f"camera {LABEL} of the same core runs a sequence"):
            refused()
    assert len(first.grab(np.empty((4, *first.shape), first.dtype)).numbers) > 0
    first.stop()
    second.prepare(FrameRequest(10), FREE)
    second.start()
    assert second.grab(np.empty((4, *second.shape), second.dtype)).numbers[0] == 0
    second.stop()


def test_cameras_of_one_core_take_single_frames_in_turn(core: "CMMCorePlus") -> None:
    second_camera(core)
    sources = [MicroManagerSource(core), MicroManagerSource(core, "Other")]
    shapes = [(32, 48), (20, 24)]
    for source, shape in zip(sources, shapes, strict=True):
        (region,) = [one.value for one in source.settings() if one.name == "region"]
        assert isinstance(region, Region)
        assert (region.height, region.width) == source.shape == shape
    for source in sources:
        source.prepare(FrameRequest(3, trigger="software"), FREE)
        source.start()
    for number in range(3):
        for source in sources:  # the frame of the other camera would have its shape
            source.trigger()
            grab = source.grab(np.empty((1, *source.shape), source.dtype))
            assert grab.numbers.tolist() == [number]
    for source in sources:
        source.stop()
