"""What every frame source must do, done by an areaDetector of a real IOC, and what goes wrong with one."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from p4p.client.thread import Context

from concertino import CameraError
from concertino.devices import (
    AreaDetectorCamera,
    AreaDetectorOptions,
    CameraSettings,
    FrameSource,
    Grab,
    Region,
    SettingValue,
)
from concertino.frames import FrameRequest
from concertino.testing import FrameSourceContract
from tests.patience import patience

from .detectors import PREFIX, SHAPE, Ioc, counted, put

FAST = CameraSettings(0.001, 100.0)


class TestContract(FrameSourceContract):
    @pytest.fixture
    def source(self, camera: AreaDetectorCamera) -> FrameSource:
        return camera.source


def grab_all(camera: AreaDetectorCamera, count: int) -> tuple[list[int], list[int], list[int]]:
    """Return the numbers of the frames that came and of those that were lost, and the pixels' values."""
    source = camera.source
    numbers: list[int] = []
    dropped: list[int] = []
    values: list[int] = []
    too_late = threading.Timer(60, source.stop)
    too_late.start()
    try:
        left = patience()
        while left() and len(numbers) + len(dropped) < count:
            out = np.empty((4, *source.shape), source.dtype)
            grab: Grab = source.grab(out)
            assert len(grab.numbers) + len(grab.dropped), f"it stopped after {numbers}, {dropped}"
            numbers += grab.numbers.tolist()
            dropped += grab.dropped
            values += [int(frame[-1, -1]) for frame in out[: len(grab.numbers)]]
    finally:
        too_late.cancel()
    return numbers, dropped, values


def taken(
    camera: AreaDetectorCamera,
    count: int,
    settings: CameraSettings = FAST,
    trigger: str = "internal",
) -> tuple[list[int], list[int], list[int]]:
    """Take frames."""
    camera.source.prepare(FrameRequest(count, trigger=trigger), settings)  # type: ignore[arg-type]
    camera.source.start()
    try:
        return grab_all(camera, count)
    finally:
        camera.source.stop()


def test_frames_carry_the_pixels_of_their_images(camera: AreaDetectorCamera) -> None:
    before = counted(camera)
    numbers, dropped, values = taken(camera, 12)
    assert (numbers, dropped) == (list(range(12)), [])
    assert values == [1000 + before + 1 + number for number in range(12)]
    assert camera.source.shape == SHAPE


@pytest.mark.parametrize(("first", "last"), [(1, 1), (5, 7), (10, 10), (9, 10)])
def test_lost_frames_are_told_wherever_they_were(
    camera: AreaDetectorCamera, first: int, last: int
) -> None:
    before = counted(camera)
    put(camera, "Lose", before + first)
    put(camera, "LoseTo", before + last)
    numbers, dropped, _ = taken(camera, 10)
    lost = list(range(first - 1, last))
    assert dropped == lost
    assert numbers == [number for number in range(10) if number not in lost]


def test_a_lost_step_is_told(camera: AreaDetectorCamera) -> None:
    source = camera.source
    put(camera, "Lose", counted(camera) + 2)
    source.prepare(FrameRequest(3, trigger="software"), FAST)
    source.start()
    found = []
    for _ in range(3):
        source.trigger()
        found.append(grab_all(camera, 1)[:2])
    source.stop()
    assert found == [([0], []), ([], [1]), ([2], [])]


def test_pulses_at_the_input_make_frames(camera: AreaDetectorCamera) -> None:
    source = camera.source
    source.prepare(FrameRequest(4, trigger="edge"), FAST)
    source.start()
    assert source.settings()  # may be asked at any time
    assert camera.source._driver.get("TriggerMode_RBV") == [1]
    for number in range(4):
        put(camera, "Pulse", 1)
        assert grab_all(camera, 1)[0] == [number]


def test_a_pulse_is_as_long_as_the_exposure_where_the_driver_can(
    camera: AreaDetectorCamera,
) -> None:
    source = camera.source
    (modes,) = [one for one in source.settings() if one.name == "trigger_mode"]
    assert "level" in modes.choices  # type: ignore[union-attr]
    source.prepare(FrameRequest(3, trigger="level"), FAST)
    source.start()
    assert camera.source._driver.get("TriggerMode_RBV") == [2]
    for number in range(3):
        put(camera, "Pulse", 1)
        put(camera, "Pulse", 0)
        assert grab_all(camera, 1)[0] == [number]


NOTE = "a note that is longer than the forty characters of a string of EPICS"
OWN: dict[str, SettingValue] = {
    "FanSpeed": "high", "BlackLevel": 20, "Cooling": -20.5, "Label": "mine", "Note": NOTE,
}  # fmt: skip


@pytest.mark.parametrize("control", ["ca", "pva"])
def test_the_drivers_own_records_are_settings(ioc: Ioc, control: Any) -> None:
    source = AreaDetectorCamera(PREFIX, control=control, records=list(OWN)).source
    described = {setting.name: setting for setting in source.settings()}
    for name, value, takes in (
        ("FanSpeed", "fast", "'off' or 'low' or 'high'"),
        ("BlackLevel", 256, "whole numbers of 0 to 255"),
        ("Cooling", -50.0, "numbers of -40 to 20"),
        ("gain", 20.0, "numbers of 0 to 10"),
    ):
        with pytest.raises(CameraError, match=f"was asked for {name} .*; it takes {takes}"):
            described[name].checked("camera", value)
    source.prepare(FrameRequest(1), CameraSettings(0.001, 0.0, OWN))
    assert {one.name: one.value for one in source.settings() if one.name in OWN} == OWN
    with Context("pva") as other:
        found = [other.get(f"{PREFIX}cam1:{name}") for name in ("FanSpeed_RBV", "BlackLevel_RBV")]
        assert [int(value) for value in found] == [2, 20]
        assert other.get(f"{PREFIX}cam1:Label") == "mine"
    source.stop()


def test_a_record_that_the_driver_does_not_have_is_told(ioc: Ioc) -> None:
    options = AreaDetectorOptions(timeout_s=1.0)
    with pytest.raises(
        CameraError,
        match=r"asked for the settings Fan, and there are no such records at TEST:cam1:",
    ):
        AreaDetectorCamera(PREFIX, control="pva", records=["FanSpeed", "Fan"], options=options)
    with pytest.raises(CameraError, match="to have AcquireTime of TEST:cam1: as settings"):
        AreaDetectorCamera(PREFIX, control="pva", records=["AcquireTime"])


def test_a_region_and_binning_are_taken_over(camera: AreaDetectorCamera) -> None:
    values: dict[str, SettingValue] = {"region": Region(4, 8, 16, 12), "binning": 2, "gain": 2.5}
    camera.source._size_um = 5.0
    try:
        taken(camera, 3, CameraSettings(0.001, 100.0, values))
        assert camera.source.shape == (8, 6)
        assert camera.source.pixel_size_um == 10.0
        now = {setting.name: setting.value for setting in camera.source.settings()}
        assert now["region"] == Region(4, 8, 16, 12)
        assert (now["binning"], now["gain"]) == (2, 2.5)
    finally:
        whole: dict[str, SettingValue] = {"region": Region(0, 0, *SHAPE), "binning": 1, "gain": 1.0}
        camera.source.prepare(FrameRequest(1), CameraSettings(0.001, 100.0, whole))
    assert camera.source.shape == SHAPE


def test_what_a_driver_does_not_take_is_refused(camera: AreaDetectorCamera) -> None:
    with pytest.raises(
        CameraError, match=r"cam1:Gain was set to 20\.0, and the driver made it 10\.0"
    ):
        camera.source.prepare(FrameRequest(1), CameraSettings(0.001, 0.0, {"gain": 20.0}))
    with pytest.raises(CameraError, match=r"cam1:AcquireTime was set to 100\.0"):
        camera.source.prepare(FrameRequest(1), CameraSettings(100.0, 0.0))


def test_another_word_for_a_trigger_is_looked_for(pva_camera: AreaDetectorCamera) -> None:
    options = AreaDetectorOptions(trigger_modes={"edge": "On"})
    other = AreaDetectorCamera(PREFIX, control="pva", options=options)
    with pytest.raises(CameraError, match="was to be 'On'; it can be Internal, External"):
        other.source.prepare(FrameRequest(1, trigger="edge"), FAST)


def test_a_driver_in_trouble_is_named_with_its_message(camera: AreaDetectorCamera) -> None:
    put(camera, "FailAt", counted(camera) + 3)
    with pytest.raises(CameraError) as caught:
        taken(camera, 10)
    assert "the state Error (the sensor is too warm): TEST:cam1:DetectorState_RBV" in str(
        caught.value
    )
    with pytest.raises(CameraError, match="to prepare projections, and its driver tells"):
        camera.source.prepare(FrameRequest(1), FAST)


def test_a_driver_that_ends_by_itself_is_told(camera: AreaDetectorCamera) -> None:
    put(camera, "StopAt", counted(camera) + 4)
    numbers, dropped, _ = taken(camera, 4)
    assert (numbers, dropped) == ([0, 1, 2], [3])
    put(camera, "StopAt", counted(camera) + 4)
    with pytest.raises(
        CameraError, match="to take 10 frames of projections, and its driver ended after 4"
    ):
        taken(camera, 10)


def test_numbers_that_follow_another_rule_are_told(pva_camera: AreaDetectorCamera) -> None:
    for first_id in (0, 5000):
        put(pva_camera, "FirstId", first_id)
        with pytest.raises(CameraError, match=r"first frame with the uniqueId .*first_id=0"):
            taken(pva_camera, 3)
    options = AreaDetectorOptions(first_id=None)
    other = AreaDetectorCamera(PREFIX, control="pva", options=options)
    assert taken(other, 5)[:2] == ([0, 1, 2, 3, 4], [])


def test_a_clock_that_is_wrong_is_told(pva_camera: AreaDetectorCamera) -> None:
    put(pva_camera, "Ahead", 30)
    with pytest.raises(CameraError, match=r"stamped \+\d+\.\d+ s from now by the clock of its IOC"):
        taken(pva_camera, 3)
    options = AreaDetectorOptions(stamps="arrival")
    other = AreaDetectorCamera(PREFIX, control="pva", options=options)
    assert taken(other, 3)[0] == [0, 1, 2]


def test_a_short_queue_loses_frames_and_each_is_told(pva_camera: AreaDetectorCamera) -> None:
    options = AreaDetectorOptions(queue_size=2)
    camera = AreaDetectorCamera(PREFIX, control="pva", options=options)
    source, before = camera.source, counted(camera)
    source.prepare(FrameRequest(40), CameraSettings(0.001, 500.0))
    source.start()
    deadline_s = time.monotonic() + 30
    while counted(camera) < before + 40:  # Nobody takes the frames meanwhile.
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    numbers, dropped, values = grab_all(camera, 40)
    source.stop()
    assert sorted([*numbers, *dropped]) == list(range(40))
    assert len(dropped) >= 30
    assert values == [1000 + before + 1 + number for number in numbers]


def test_a_camera_that_is_not_there_is_told_with_its_address(epics: None) -> None:
    options = AreaDetectorOptions(timeout_s=0.5)
    for control, protocol in (("ca", "Channel Access"), ("pva", "PV Access")):
        with pytest.raises(CameraError) as caught:
            AreaDetectorCamera("NOWHERE:", control=control, options=options)  # type: ignore[arg-type]
        said = str(caught.value)
        assert f"NOWHERE:cam1:ArrayCounter_RBV was asked for by {protocol}" in said
        assert "127.0.0.1" in said
