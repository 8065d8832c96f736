"""Large arrays of a part take over the memory of the part before, and the system has it back in the end."""

import mmap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from concertino.batch import reconstruct_run
from concertino.batch._parts import reconstruct_part
from concertino.batch._shared_slices import SharedSlices
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.processing._scan_frames import ScanFrames
from concertino.reconstruction import ReconstructionSettings
from concertino.runtime._kept_memory import kept_bytes, kept_memory, large_array
from concertino.session import open_session
from concertino.storage import Run, open_run

SHAPE = (8, 1024, 1024)
BYTES = 4 * 8 * 1024 * 1024


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A scan of 24 rows whose slices and grids are large."""
    directory = tmp_path_factory.mktemp("kept")
    beamline = SimulatedBeamline(shape=(24, 512), exposure=0.002, frame_rate=200.0)
    with open_session(directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.RE(
            continuous_tomography(
                beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
                radio_position=0, flat_position=20, num_darks=2, num_flats=2, num_projections=32,
                angular_range="180 deg",
            )
        )  # fmt: skip
    return open_run("scan_0001", directory)


@pytest.fixture(autouse=True)
def nothing_is_kept_afterwards() -> Iterator[None]:
    yield
    assert kept_bytes() == 0


def wait_until_nothing_is_kept() -> None:
    deadline_s = time.monotonic() + 60
    while kept_bytes():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def place(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def test_the_memory_of_an_array_without_views_is_taken_over() -> None:
    with kept_memory():
        first = large_array(SHAPE)
        first[:] = 7.0
        view, where = first[3, 5:], place(first)
        del first
        second = large_array(SHAPE)
        assert place(second) != where  # there is a view yet
        np.testing.assert_array_equal(view, 7.0)
        del view
        third = large_array((7, *SHAPE[1:]), np.float32, zeros=True)
        assert place(third) == where
        np.testing.assert_array_equal(third, 0.0)
        # as numbers of another type, it is the same memory
        del third
        assert place(large_array((16, *SHAPE[1:]), np.uint16)) == where


def test_what_does_not_fit_makes_room() -> None:
    with kept_memory():
        both = [large_array(SHAPE), large_array(SHAPE)]
        both.clear()
        assert kept_bytes() == 2 * BYTES
        longer = large_array((12, *SHAPE[1:]))
        assert kept_bytes() + longer.nbytes <= 2 * BYTES
        small = large_array((1, *SHAPE[1:]))  # none is taken that is several times as large
        assert kept_bytes() + longer.nbytes + small.nbytes <= 2 * BYTES
        del longer, small


def test_the_system_has_it_back() -> None:
    process = psutil.Process()
    with kept_memory():
        large_array((64, *SHAPE[1:]))[:] = 1.0
        held = process.memory_info().rss
        later = large_array(SHAPE)
        with kept_memory():
            large_array((64, *SHAPE[1:]))[:] = 1.0
        assert kept_bytes() >= 8 * BYTES - later.nbytes  # the outer one lasts
    assert process.memory_info().rss < held - 6 * BYTES
    del later  # it was made then, and ends now
    assert kept_bytes() == 0
    large_array(SHAPE)
    assert kept_bytes() == 0


def test_it_rests_for_the_next_one() -> None:
    with kept_memory(rest_s=2):
        where = place(large_array(SHAPE))
    assert kept_bytes() == BYTES
    with kept_memory(rest_s=2):
        time.sleep(3)  # the rest of the first one ended with it
        assert place(large_array(SHAPE)) == where
    wait_until_nothing_is_kept()


def test_threads_never_share_an_array() -> None:
    faults = []

    def work(number: int) -> None:
        for turn in range(60):
            array = large_array((1, 1024, 1024), zeros=True)
            if array.any():
                faults.append((number, turn, "not empty"))
            array[:] = number
            if not (array == number).all():
                faults.append((number, turn, "shared"))

    with kept_memory():
        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert kept_bytes() <= 2 * 4 * 4 * 2**20  # each has another before the last one ends
    assert not faults


def memory_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what is filled with the bytes of each piece of memory that the system gives from now on."""
    made: list[int] = []
    system = mmap.mmap

    def counted(file: int, size: int, **how: Any) -> mmap.mmap:
        made.append(size)
        return system(file, size, **how)

    monkeypatch.setattr(mmap, "mmap", counted)
    return made


def test_a_worker_s_next_part_takes_no_new_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = memory_made(monkeypatch)
    shared = SharedSlices([(8, 512, 512)] * 3)
    camera = ScanFrames(run).tomo.camera
    new = []
    for number in range(3):
        settings = ReconstructionSettings(
            center=255.5, threads=1, slices=tuple(range(8 * number, 8 * number + 8))
        )
        made.clear()
        _, is_there = reconstruct_part(
            str(run.directory), settings.model_dump_json(), camera, None, (number, 1),
            shared.place(number), lambda count: None,
        )  # fmt: skip
        assert is_there
        time.sleep(0.1)  # the threads that computed end
        new.append(len(made))
    assert new[0] > 0
    assert new[1:] == [0, 0]
    wait_until_nothing_is_kept()


def test_parts_of_one_process_hand_it_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, kept = memory_made(monkeypatch), list[int]()
    done = reconstruct_run(
        run,
        ReconstructionSettings(center=255.5, threads=1, memory_gib=0.09),
        directory=tmp_path,
        progress=lambda count, total: kept.append(kept_bytes()),
    )
    assert done.parts > 1
    assert max(kept) > 0
    # Each part has a grid and its slices at least: made anew, these would be two a part.
    assert 0 < len(made) < 2 * done.parts
