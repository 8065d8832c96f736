"""Frames wait for no slices: who adds projections is not held up by what is computed of them."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from concertino import ReconstructionError
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.reconstruction._beside import Beside

COUNT, ROWS, COLUMNS, AT_ONCE = 1024, 48, 256, 64
PATIENCE_S = 240


def a_scan() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(500, 4000, (COUNT, ROWS, COLUMNS), dtype=np.uint16)


def added(frames: np.ndarray, *, beside: bool) -> tuple[float, float, np.ndarray]:
    """Give all frames and finish; return what each took in seconds, and the slices."""
    made = Reconstructor(
        ReconstructionSettings(center=127.5), num_projections=COUNT, frame_shape=(ROWS, COLUMNS)
    )
    if beside:
        made.compute_beside()
    made.add_flats(np.full((1, ROWS, COLUMNS), 4095, np.uint16))
    began_s = time.monotonic()
    for start in range(0, COUNT, AT_ONCE):
        made.add_projections(frames[start : start + AT_ONCE], start)
    added_s = time.monotonic() - began_s
    volume = made.finish().volume
    return added_s, time.monotonic() - began_s, volume


def test_frames_do_not_wait_for_what_is_made_of_them() -> None:
    frames = a_scan()
    added(frames, beside=False)  # its code is loaded now
    here_s, _, expected = added(frames, beside=False)
    beside_s, all_s, volume = added(frames, beside=True)
    # A copy of 25 MB beside the gridding of 48 slices: a twentieth of the time on a quiet machine.
    assert beside_s < 0.5 * all_s
    assert beside_s < here_s
    np.testing.assert_array_equal(volume, expected)


def test_calls_that_come_meanwhile_make_one_more() -> None:
    beside, calls = Beside("test"), []
    running, go_on = threading.Event(), threading.Event()

    def work() -> None:
        calls.append(threading.current_thread())
        running.set()
        assert go_on.wait(PATIENCE_S)

    beside.call(lambda _: work())
    assert running.wait(PATIENCE_S)
    for _ in range(20):
        beside.call(lambda _: work())
    go_on.set()
    until_s = time.monotonic() + PATIENCE_S
    while len(calls) < 2 and time.monotonic() < until_s:
        time.sleep(0.01)
    beside.end()
    calls[0].join(PATIENCE_S)
    assert len(calls) == 2
    assert threading.current_thread() not in calls


def test_what_fails_beside_is_told_to_the_next_who_calls() -> None:
    beside, failed = Beside("test"), threading.Event()

    def fail() -> None:
        failed.set()
        raise ReconstructionError("no room for the grids")

    beside.call(lambda _: fail())
    assert failed.wait(PATIENCE_S)

    def call_on() -> None:
        for _ in range(1000):
            beside.call(lambda _: None)
            time.sleep(0.01)

    with pytest.raises(ReconstructionError, match="no room for the grids"):
        call_on()
    beside.end()
    beside.call(lambda _: failed.clear())  # and may be used again
    beside.end()


@pytest.mark.disturbed_by_load("it compares times of work that others' work may hold up")
def test_who_has_flats_waits_for_a_block_and_not_for_all_that_is_there() -> None:
    frames = a_scan()
    here_s, _, _ = added(frames, beside=False)
    made = Reconstructor(
        ReconstructionSettings(center=127.5), num_projections=COUNT, frame_shape=(ROWS, COLUMNS)
    )
    made.compute_beside()
    made.add_flats(np.full((1, ROWS, COLUMNS), 4095, np.uint16))
    made.add_projections(frames, 0)
    until_s = time.monotonic() + PATIENCE_S
    while "gridding" not in made.timings:
        assert time.monotonic() < until_s
        time.sleep(0.001)
    began_s = time.monotonic()
    made.add_flats(np.full((1, ROWS, COLUMNS), 4095, np.uint16))
    assert time.monotonic() - began_s < 0.25 * here_s
    made.compute_no_more()


def test_what_is_under_way_is_told_that_nobody_wants_the_rest() -> None:
    beside, steps = Beside("test"), list[bool]()
    running, ended = threading.Event(), threading.Event()

    def work(go_on: Callable[[], bool]) -> None:
        steps.append(go_on())
        running.set()
        assert ended.wait(PATIENCE_S)
        steps.append(go_on())
        running.clear()

    beside.call(work)
    assert running.wait(PATIENCE_S)
    beside.end()
    ended.set()
    until_s = time.monotonic() + PATIENCE_S
    while running.is_set():
        assert time.monotonic() < until_s
        time.sleep(0.01)
    assert steps == [True, False]
