"""The newest of everything, and no more."""

import threading
import time

import numpy as np
import orjson
import pytest

from concertino import ParameterError
from concertino.frames import FrameStream
from concertino.viewers import FrameFollower, LiveState, Picture
from concertino.viewers._wire import PREFIX, pack, unpack


def pictures(state: LiveState) -> list[Picture]:
    found: list[Picture] = []
    for panel in ("frames", "slices"):
        version = 0
        while (picture := state.newer(panel, version)) is not None:
            found.append(picture)
            version = picture.version
    return found


def test_only_the_newest_frame_of_each_camera_is_kept() -> None:
    state = LiveState()
    for number in range(100):
        for camera in ("left", "right"):
            frame = np.full((4, 6), number, np.uint16)
            state.show_frame(frame, camera=camera, stream="flats", number=number)

    found = pictures(state)

    assert [(p.label, p.number, int(p.pixels.max())) for p in found] == [
        ("left", 99, 99),
        ("right", 99, 99),
    ]
    assert state.newer("frames", found[-1].version) is None


def test_slices() -> None:
    state = LiveState()
    for label, value in (("slice 0", 0), ("slice 1", 1), ("plane xy", 2), ("slice 0", 7)):
        state.show_slice(np.full((4, 4), value), label=label)

    newest = {p.label: float(p.pixels[0, 0]) for p in pictures(state)}
    assert newest == {"slice 1": 1, "plane xy": 2, "slice 0": 7}


def test_of_many_slices_the_newest_sixteen_are_kept() -> None:
    state = LiveState()
    for number in range(100):
        state.show_slice(np.zeros((4, 4), np.float32), label=f"slice {number}")

    assert [p.label for p in pictures(state)] == [f"slice {number}" for number in range(84, 100)]


def test_a_new_run_has_no_slices_yet_but_its_reconstruction_keeps_them() -> None:
    state = LiveState()
    state.show_slice(np.zeros((4, 4)), label="slice 0")
    state.document("start", {"uid": "a", "derived_from": "raw"})
    assert state.processes("a")
    assert len(pictures(state)) == 1

    state.document("start", {"uid": "b"})
    assert not state.processes("b")
    assert pictures(state) == []


def test_slices_that_are_no_images() -> None:
    with pytest.raises(ParameterError, match=r"an array of shape \(4,\) and type float64"):
        LiveState().show_slice(np.zeros(4), label="a")


def test_the_rate_is_told_from_the_frames_that_were_taken_not_from_those_seen() -> None:
    state = LiveState()
    began_s = time.monotonic()
    state.show_frame(np.zeros((2, 2)), camera="camera", stream="flats", number=0)
    time.sleep(0.2)
    state.show_frame(np.zeros((2, 2)), camera="camera", stream="flats", number=100)
    longest_s = time.monotonic() - began_s

    rate_hz = state.summary()["received_hz"]["camera"]

    assert 100 / longest_s * 0.99 <= rate_hz <= 100 / 0.2


def test_another_stream_begins_a_new_rate() -> None:
    state = LiveState()
    state.show_frame(np.zeros((2, 2)), camera="camera", stream="flats", number=900)
    state.show_frame(np.zeros((2, 2)), camera="camera", stream="projections", number=0)

    assert state.summary()["received_hz"] == {"camera": 0.0}


def test_who_fills_the_state_can_wait_until_somebody_asks() -> None:
    state = LiveState()
    assert not state.asked.is_set()
    state.summary()
    assert state.asked.is_set()


@pytest.mark.disturbed_by_load("it counts what came within a second")
def test_nothing_is_taken_faster_than_it_is_asked_for() -> None:
    state = LiveState()
    follower = FrameFollower(state, refresh_hz=50)
    with FrameStream(shape=(4, 4), dtype=np.uint16) as stream:
        follower.follow(stream.address, camera="camera", stream="flats")
        versions: set[int] = set()
        began_s = time.monotonic()
        while time.monotonic() - began_s < 1:
            stream.publish(np.zeros((4, 4), np.uint16))
            versions.update(p.version for p in state._pictures["frames"].values())
            time.sleep(0.002)
    follower.close()
    assert 1 <= len(versions) <= 4


def test_the_wire_brings_everything_unchanged() -> None:
    state = LiveState()
    state.document("start", {"uid": "a", "scan_name": "scan_0001"})
    state.show_frame(np.arange(12, dtype=np.uint16).reshape(3, 4), camera="c", number=5)
    state.show_slice(np.full((2, 5), np.nan), label="µ")
    sent = pictures(state)

    prefix, header, *buffers = pack(state.summary(), sent)
    payload = b"".join(buffers)
    assert PREFIX.unpack(prefix) == (len(header), len(payload))
    summary, arrived = unpack(bytes(header), payload)

    assert orjson.loads(orjson.dumps(summary))["run"]["name"] == "scan_0001"
    for before, after in zip(sent, arrived, strict=True):
        np.testing.assert_array_equal(before.pixels, after.pixels)
        assert before.pixels.dtype == after.pixels.dtype
        for name in ("panel", "label", "shape", "stream", "number", "version"):
            assert getattr(before, name) == getattr(after, name)


def wait_for(state: LiveState, number: int) -> Picture:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        picture = state.newer("frames", 0)
        if picture is not None and picture.number == number:
            return picture
        time.sleep(0.01)
    raise AssertionError(f"frame {number} was not shown")


def test_a_follower_shows_the_last_frame_even_of_a_stream_that_is_over() -> None:
    state = LiveState()
    follower = FrameFollower(state)
    for stream_name, count in (("darks", 3), ("flats", 7)):
        with FrameStream(shape=(4, 4), dtype=np.uint16) as stream:
            follower.follow(stream.address, camera="camera", stream=stream_name)
            stream.publish(np.arange(count * 16, dtype=np.uint16).reshape(count, 4, 4))
            stream.end().check()
        picture = wait_for(state, count - 1)
        assert picture.stream == stream_name
        assert picture.pixels[0, 0] == (count - 1) * 16
    follower.close()


def test_a_follower_does_not_pace_a_stream() -> None:
    """A follower that is not running at all: ten rings of frames pass."""
    state = LiveState()
    follower = FrameFollower(state)
    follower.close()
    with FrameStream(shape=(64, 64), dtype=np.uint16, ring_bytes=2**16) as stream:
        follower.follow(stream.address, camera="camera", stream="flats")
        frames = np.zeros((80, 64, 64), np.uint16)
        publisher = threading.Thread(target=stream.publish, args=(frames,), daemon=True)
        publisher.start()
        publisher.join(240)

        assert stream.published == 80


def test_streams_that_are_gone_or_fail_are_no_error() -> None:
    state = LiveState()
    follower = FrameFollower(state)
    follower.follow("tcp://127.0.0.1:9/nobody", camera="camera", stream="flats")
    follower.follow("strange://nobody", camera="camera", stream="flats")
    with FrameStream(shape=(4, 4), dtype=np.uint16) as stream:
        follower.follow(stream.address, camera="camera", stream="flats")
        stream.publish(np.zeros((4, 4), np.uint16))
        stream.fail(RuntimeError("the camera burns"))
    wait_for(state, 0)
    follower.close()
