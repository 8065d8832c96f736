"""Sources over detectors that stream: the contract of cameras, what is decoded, and what is refused."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from concertino import CameraError
from concertino.devices import CameraSettings, DectrisStreamSource, FrameSource, HtypeStreamSource
from concertino.frames import FrameRequest, RecordingTrigger, Retrospective
from concertino.testing import FrameSourceContract
from tests.patience import patience

from .detector_process import picture
from .detectors import Process, detector

SETTINGS = CameraSettings(0.001, 0.0)


class TestDectrisStream(FrameSourceContract):
    @pytest.fixture
    def source(self) -> Iterator[FrameSource]:
        with detector(protocol="v2") as process:
            yield DectrisStreamSource(process.stream, control=process.control)


class TestStreamV1(FrameSourceContract):
    @pytest.fixture
    def source(self) -> Iterator[FrameSource]:
        with detector(protocol="v1", algorithm="lz4") as process:
            yield HtypeStreamSource(process.stream, control=process.control)


def take(
    source: FrameSource, count: int, request: FrameRequest | None = None
) -> tuple[np.ndarray[Any, Any], list[int], list[int]]:
    """Take frames as a camera does, and return them with their numbers and those lost."""
    source.prepare(request or FrameRequest(count), SETTINGS)
    source.start()
    out = np.zeros((count, *source.shape), source.dtype)
    numbers: list[int] = []
    lost: list[int] = []
    try:
        left = patience()
        while left() and len(numbers) + len(lost) < count:
            grab = source.grab(out[len(numbers) :])
            numbers += grab.numbers.tolist()
            lost += grab.dropped
    finally:
        source.stop()
    return out[: len(numbers)], numbers, lost


def open_source(process: Process, **settings: Any) -> DectrisStreamSource:
    return DectrisStreamSource(process.stream, control=process.control, within_s=30.0, **settings)


@pytest.mark.parametrize("protocol", ["v2", "v1"])
@pytest.mark.parametrize("algorithm", ["none", "lz4", "bslz4"])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((16, 24), "uint16"), ((13, 27), "uint16"), ((70, 101), "uint8"), ((61, 67), "uint32")],
)
def test_pixels_are_what_was_compressed(
    protocol: str, algorithm: str, shape: tuple[int, int], dtype: str
) -> None:
    kind = DectrisStreamSource if protocol == "v2" else HtypeStreamSource
    with detector(protocol=protocol, algorithm=algorithm, shape=shape, dtype=dtype) as process:
        source = kind(process.stream, control=process.control)
        frames, numbers, lost = take(source, 2)
    assert (source.shape, source.dtype, source.pixel_size_um) == (shape, np.dtype(dtype), 75.0)
    assert (numbers, lost) == ([0, 1], [])
    for number in numbers:
        assert np.array_equal(frames[number], picture(1, number, shape, dtype))


@pytest.mark.parametrize("protocol", ["maxiv", "psi"])
@pytest.mark.parametrize("algorithm", ["none", "bslz4"])
def test_what_nobody_controls_is_taken_as_it_comes(protocol: str, algorithm: str) -> None:
    if protocol == "psi" and algorithm != "none":
        algorithm = "none"
    with detector(
        protocol=protocol, algorithm=algorithm, controlled=False, counts=(3, 3)
    ) as process:
        source = HtypeStreamSource(process.stream, shape=(16, 24), dtype="uint16")
        for series in (1, 2):
            frames, numbers, _ = take(source, 3)
            assert numbers == [0, 1, 2]
            for number in numbers:
                assert np.array_equal(frames[number], picture(series, number, (16, 24), "uint16"))


def test_big_endian_pixels_are_turned() -> None:
    with detector(protocol="v2", algorithm="none", dtype="uint16-big") as process:
        frames, _, _ = take(open_source(process), 1)
    assert np.array_equal(frames[0], picture(1, 0, (16, 24), "uint16"))


def test_one_channel_of_several_is_chosen() -> None:
    channels = ("threshold_1", "threshold_2")
    with detector(protocol="v2", channels=channels) as process:
        with pytest.raises(
            CameraError, match=r"channels 'threshold_1', 'threshold_2'; one channel"
        ):
            take(open_source(process), 1)
        frames, _, _ = take(open_source(process, channel="threshold_2"), 1)
    assert frames.any()


@pytest.mark.parametrize(
    ("trigger", "edge", "mode", "counts"),
    [("internal", "exts", "ints", (4, 1)), ("software", "exts", "ints", (1, 4)), ("edge", "exts", "exts", (1, 4)), ("edge", "exte", "exte", (1, 4))],
)  # fmt: skip
def test_the_detector_is_told_what_is_wanted(
    trigger: Any, edge: Any, mode: str, counts: tuple[int, int]
) -> None:
    with detector(protocol="v2") as process:
        source = open_source(process, edge=edge)
        for _ in range(2):
            source.prepare(FrameRequest(4, trigger=trigger), CameraSettings(0.002, 50.0))
        said = process.end()
    settings = said["settings"]
    assert said["stream"] == {"mode": "enabled", "format": "cbor"}
    assert settings["trigger_mode"] == mode
    assert (settings["nimages"], settings["ntrigger"]) == counts
    assert settings["count_time"] == 0.002
    assert settings["frame_time"] == pytest.approx(
        0.02 if trigger == "internal" else 0.002, rel=1e-3
    )


def test_stopping_leaves_the_detector_idle() -> None:
    with detector(protocol="v2") as process:
        source = open_source(process)
        source.prepare(FrameRequest(1000), CameraSettings(0.001, 50.0))
        source.start()
        source.grab(np.zeros((1, 16, 24), np.uint16))
        source.stop()
        source.stop()
        frames, numbers, _ = take(source, 2)  # what was left over of the first is not in the second
        assert numbers == [0, 1]
        assert np.array_equal(frames[0], picture(2, 0, (16, 24), "uint16"))
        assert process.end()["state"] == "idle"


def test_a_detector_that_ends_its_series_at_disarm_only_tells_its_last_image() -> None:
    with detector(protocol="v2", ends_itself=False, lose={"series": 1, "image": -1}) as process:
        _, numbers, lost = take(open_source(process), 4)
    assert (numbers, lost) == ([0, 1, 2], [3])


def test_what_a_slow_receiver_loses_is_counted() -> None:
    # The sender gives nothing to a queue that is full, and says afterwards what it could not send.
    count = 400
    with detector(protocol="v2", algorithm="none", shape=(256, 256), waits=False, hwm=2) as process:
        source = open_source(process, queue_bytes=1)
        source.prepare(FrameRequest(count), CameraSettings(0.0001, 0.0))
        source.start()
        lost: list[int] = []
        numbers: list[int] = []
        out = np.zeros((1, 256, 256), np.uint16)
        time.sleep(0.5)
        try:
            left = patience()
            while left() and len(numbers) + len(lost) < count:
                grab = source.grab(out)
                numbers += grab.numbers.tolist()
                lost += grab.dropped
                time.sleep(0.002)
        finally:
            source.stop()
        truth = [number for _, number in process.end()["lost"]]
    assert truth
    assert lost == truth
    assert sorted(numbers + lost) == list(range(count))


def refusal(behaviour: dict[str, Any], request: FrameRequest, **settings: Any) -> str:
    """Return what is said when a detector is prepared."""
    with detector(protocol="v2", **behaviour) as process:
        source = DectrisStreamSource(process.stream, **{"control": process.control, **settings})
        with pytest.raises(CameraError) as caught:
            source.prepare(request, CameraSettings(0.001, 100.0))
        assert process.stream in str(caught.value) or process.control in str(caught.value)
        assert process.end()["state"] in ("idle", behaviour.get("busy"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("behaviour", "request_", "settings", "said"),
    [
        ({}, FrameRequest(4, retrospective=Retrospective(2, 2, RecordingTrigger())), {}, "from before a trigger"),
        ({}, FrameRequest(4, trigger="software"), {"control": None, "shape": (16, 24), "dtype": "uint16"}, "nothing controls it"),
        ({"busy": "acquire"}, FrameRequest(4), {}, "is in state 'acquire'"),
        ({"refuse": "trigger_mode"}, FrameRequest(4), {}, "refused with 400 (trigger_mode is not possible now)"),
        ({}, FrameRequest(2_000_000), {}, "at most 1000000 a series"),
        ({}, FrameRequest(4), {"control": "http://127.0.0.1:9"}, "did not answer"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_anything_moves(
    behaviour: dict[str, Any], request_: FrameRequest, settings: dict[str, Any], said: str
) -> None:
    if settings.get("control"):
        source = DectrisStreamSource("tcp://127.0.0.1:9", **settings)
        with pytest.raises(CameraError, match=said):
            source.prepare(request_, SETTINGS)
        return
    assert said in refusal(behaviour, request_, **settings)


def test_an_exposure_that_the_detector_does_not_have_is_refused() -> None:
    with detector(protocol="v2") as process:
        source = open_source(process)
        with pytest.raises(
            CameraError, match=r"count_time of 5000 s for projections; it takes 1e-06 s to 3600 s"
        ):
            source.prepare(FrameRequest(1), CameraSettings(5000.0, 0.0))


def test_an_exposure_that_nobody_can_set_is_named() -> None:
    with detector(protocol="v2", controlled=False, counts=(2,), period_s=0.004) as process:
        source = DectrisStreamSource(process.stream, shape=(16, 24), dtype="uint16")
        with pytest.raises(CameraError, match=r"for 0.001 s; its series has exposures of 0.004 s"):
            take(source, 2)
        with pytest.raises(CameraError, match=r"for 0.001 s; its series has exposures of 0.004 s"):
            source.prepare(FrameRequest(2), SETTINGS)


def test_a_source_that_cannot_know_its_images_wants_to_be_told() -> None:
    with pytest.raises(CameraError, match="nobody says what its images are"):
        HtypeStreamSource("tcp://127.0.0.1:9")


def test_nobody_at_the_address_is_said_before_anything_moves() -> None:
    source = HtypeStreamSource("tcp://127.0.0.1:9", shape=(4, 4), dtype="uint16")
    with pytest.raises(CameraError, match=r"The detector at tcp://127.0.0.1:9 cannot be reached"):
        source.prepare(FrameRequest(1), SETTINGS)


@pytest.mark.parametrize(
    ("say", "said"),
    [
        ({"hex": b"hello, this is no CBOR".hex()}, "is no CBOR"),
        ({"hex": "83010203"}, "is not one map of CBOR"),
        ({"hex": "a16474797065656f74686572"}, "lacks what Stream V2 demands"),
        ({"like": {"series_id": 0}}, "sent image 2 of series 0 while series 1 was under way"),
        ({"like": {"series_id": 9}}, "sent image 2 of series 9 while series 1 was under way"),
        ({"like": {"image_id": 0}}, "sent image 0 of series 1 after image 1"),
        ({"like": {"image_id": "two"}}, "lacks what Stream V2 demands"),
        ({"like": {"data": {}}}, "one channel was to be taken"),
        ({"like": {"data": {"threshold_1": 5}}}, "where an array of tag 40 is expected it has int"),
    ],
)
def test_what_is_not_due_or_no_message_is_said(say: dict[str, Any], said: str) -> None:
    with detector(protocol="v2", say={"series": 1, "image": 2, **say}) as process:
        with pytest.raises(CameraError) as caught:
            take(open_source(process), 5)
        assert said in str(caught.value)
        assert process.stream in str(caught.value)
        assert process.end()["state"] == "idle"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["no object"], "TypeError"),
        ([{"htype": "dheader-9.0"}], "its htype is 'dheader-9.0'"),
        ([{"htype": "image", "msg_number": 3, "frame": 2, "shape": [16, 24], "type": "uint16", "compression": "jpeg"}, "x"], "compressed as 'jpeg'"),
        ([{"htype": "image", "msg_number": 3, "frame": 2, "shape": [16, 24], "type": "uint16", "compression": "bslz4"}, "x" * 40], "cannot be read"),
        ([{"htype": "image", "msg_number": 3, "frame": 2, "shape": [16, 24], "type": "uint16", "compression": "none"}, "x"], "need 768"),
        ([{"htype": "image", "msg_number": 3, "frame": 2, "shape": [24, 16], "type": "uint16", "compression": "none"}, "x"], "was prepared for shape (16, 24)"),
        ([{"htype": "image", "msg_number": 3, "frame": 2, "shape": [16, 24], "type": "float32", "compression": "none"}, "x"], "type float32"),
        ([{"htype": "image", "msg_number": 3, "frame": 2, "shape": [16, 24], "type": "mono12p"}, "x"], "mono12p"),
        ([{"htype": "image", "msg_number": 3}], "KeyError"),
    ],
)  # fmt: skip
def test_messages_of_json_that_are_wrong_are_said(parts: list[Any], said: str) -> None:
    say = {"series": 1, "image": 2, "parts": parts}
    with detector(protocol="maxiv", controlled=False, counts=(5,), say=say) as process:
        source = HtypeStreamSource(process.stream, shape=(16, 24), dtype="uint16")
        with pytest.raises(CameraError) as caught:
            take(source, 5)
        assert said in str(caught.value)
        assert process.stream in str(caught.value)


def test_images_before_what_is_wrong_are_kept() -> None:
    with detector(protocol="v2", say={"series": 1, "image": 2, "hex": "00"}) as process:
        source = open_source(process)
        source.prepare(FrameRequest(5), SETTINGS)
        source.start()
        time.sleep(0.5)  # all are there, and would be taken together
        numbers: list[int] = []
        out = np.zeros((5, 16, 24), np.uint16)
        left = patience()
        while left() and len(numbers) < 2:
            numbers += source.grab(out).numbers.tolist()
        with pytest.raises(CameraError, match="is not one map of CBOR"):
            source.grab(out)
        source.stop()
    assert numbers == [0, 1]


def test_a_series_that_is_too_short_says_so() -> None:
    with detector(protocol="maxiv", controlled=False, counts=(3,)) as process:
        source = HtypeStreamSource(process.stream, shape=(16, 24), dtype="uint16")
        with pytest.raises(
            CameraError, match=r"ended series without a number after 3 images, of 5 frames"
        ):
            take(source, 5)


def test_an_older_series_is_not_taken_for_a_new_one() -> None:
    # Without a control nobody knows which series is due, but it is none that was before the last.
    with detector(protocol="v2", controlled=False, counts=(2,), first_series=7) as newer:
        source = DectrisStreamSource(newer.stream, shape=(16, 24), dtype="uint16")
        source.prepare(FrameRequest(2), CameraSettings(0.0, 0.0))
        source.start()
        out = np.zeros((2, 16, 24), np.uint16)
        assert source.grab(out[:1]).numbers.tolist() == [0]
        source.stop()
    with detector(protocol="v2", controlled=False, counts=(2,), first_series=6) as older:
        source._receiver._address = older.stream
        source.start()
        with pytest.raises(CameraError, match=r"sent series 6, which is from before: series 7"):
            source.grab(out)
        source.stop()


def test_a_trigger_that_is_refused_is_said() -> None:
    with detector(protocol="v2", refuse="trigger") as process:
        source = open_source(process)
        with pytest.raises(CameraError, match=r"refused with 400 \(trigger is not possible now\)"):
            take(source, 2)
