"""How far slices are is told while they are computed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.reconstruction.engines._progress import SliceProgress


def test_it_is_told_while_another_thread_computes_by_the_one_that_waits() -> None:
    told: list[tuple[float, int]] = []
    go_on = threading.Event()

    def tell(share: float) -> None:
        told.append((share, threading.get_ident()))
        go_on.set()

    progress = SliceProgress(tell)

    def compute() -> None:
        progress.add(0.25)
        assert go_on.wait(240), "nothing was told while this went on"
        progress.add(0.75)

    with ThreadPoolExecutor(1) as pool:
        progress.wait([pool.submit(compute)])
    progress.end()
    assert [share for share, _ in told][:: max(1, len(told) - 1)] == [0.25, 1.0]
    assert {thread for _, thread in told} == {threading.get_ident()}


def test_an_error_in_another_thread_is_raised_and_what_has_not_begun_is_left() -> None:
    busy, go_on = threading.Event(), threading.Event()
    begun: list[int] = []

    def hold(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("number 0")
        busy.set()
        assert go_on.wait(240)

    with ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(hold, number) for number in range(4)]
        assert busy.wait(240)
        with pytest.raises(ValueError, match="number 0"):
            SliceProgress().wait(futures)
        go_on.set()
    assert begun == [0, 1]


@pytest.mark.parametrize("slices", [1, 5, 20])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_end_of_a_scan_is_told_to_its_end(slices: int, threads: int) -> None:
    told: list[float] = []
    job = Reconstructor(
        ReconstructionSettings(center=31.5, threads=threads),
        num_projections=96,
        frame_shape=(slices, 64),
    )
    frames = np.random.default_rng(1).random((96, slices, 64), np.float32)
    job.add_projections(frames, 0)
    volume = job.finish(told.append).volume
    assert told == sorted(told)
    assert told[-1] == 1.0
    again = Reconstructor(
        ReconstructionSettings(center=31.5, threads=threads),
        num_projections=96,
        frame_shape=(slices, 64),
    )
    again.add_projections(frames, 0)
    np.testing.assert_array_equal(again.finish().volume, volume)
