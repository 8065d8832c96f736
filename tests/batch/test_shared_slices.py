"""Memory in which worker processes of this computer leave slices, and how workers use theirs."""

import dataclasses
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino.batch._shared_slices import SharedSlices

SHAPES = [(2, 300, 301), (1, 300, 301), (3, 300, 301)]


def volume(number: int) -> Any:
    return np.random.default_rng(number).random(SHAPES[number], np.float32)


def held(shared: SharedSlices) -> int:
    """Bytes that the system says the memory has."""
    place = shared.place(0)
    assert place is not None
    return os.stat(place.path).st_blocks * 512


def test_parts_have_memory_from_when_they_come_until_they_are_forgotten() -> None:
    shared = SharedSlices(SHAPES)
    page = held(shared)
    assert page <= 2**16
    for number in (2, 0, 1):
        place = shared.place(number)
        assert place is not None
        assert place.put(volume(number))
    sizes = [volume(number).nbytes for number in range(3)]
    assert sum(sizes) <= held(shared) <= sum(sizes) + 4 * 2**16
    for number in range(3):
        np.testing.assert_array_equal(shared.slices(number), volume(number))
    shared.forget(0)
    shared.forget(2)
    assert held(shared) <= sizes[1] + 2 * 2**16
    np.testing.assert_array_equal(shared.slices(1), volume(1))


def test_another_process_of_this_computer_writes_there() -> None:
    shared = SharedSlices(SHAPES)
    place = shared.place(1)
    assert place is not None
    subprocess.run(
        [sys.executable, "-c", WRITER, json.dumps(dataclasses.asdict(place), default=bytes.hex)],
        check=True, timeout=240,
    )  # fmt: skip
    np.testing.assert_array_equal(shared.slices(1), volume(1))


WRITER = """
import json, sys
import numpy as np
from concertino.batch._shared_slices import SlicesPlace
told = json.loads(sys.argv[1])
told |= {"token": bytes.fromhex(told["token"]), "shape": tuple(told["shape"])}
assert SlicesPlace(**told).put(np.random.default_rng(1).random(told["shape"], np.float32))
"""


def test_what_is_not_that_memory_is_not_written_to(tmp_path: Path) -> None:
    shared = SharedSlices(SHAPES)
    place = shared.place(0)
    assert place is not None
    other = tmp_path / "of somebody else"
    other.write_bytes(bytes(place.size))
    os.mkfifo(tmp_path / "pipe")
    for wrong in (
        {"path": str(other)},
        {"path": str(tmp_path / "pipe")},
        {"path": str(tmp_path / "missing")},
        {"token": bytes(16)},
        {"size": place.size + 1},
        {"shape": (1, 300, 301)},
    ):
        assert not dataclasses.replace(place, **wrong).put(volume(0)), wrong
    assert not any(other.read_bytes())
    assert not shared.slices(0).any()


def test_where_the_system_gives_no_such_memory_slices_come_another_way() -> None:
    shared = SharedSlices(SHAPES)
    place = shared.place(0)
    assert place is not None
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # it is for memory files, too
    try:
        offered, written = SharedSlices(SHAPES).place(0), place.put(volume(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert offered is None
    assert not written
    assert place.put(volume(0))


def test_late_writing_changes_nothing_that_was_taken() -> None:
    shared = SharedSlices(SHAPES)
    places = [shared.place(number) for number in range(3)]
    for number, place in enumerate(places):
        assert place is not None
        assert place.put(volume(number))
    shared.forget(0)
    assert places[0] is not None
    assert places[0].put(np.full_like(volume(0), 7))  # by a worker that had been given up
    for number in (1, 2):
        np.testing.assert_array_equal(shared.slices(number), volume(number))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the GNU C library")
def test_workers_do_not_give_each_array_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True, timeout=240,
        env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"},  # as dask starts workers
    )  # fmt: skip
    before, after = json.loads(done.stdout)
    assert before > 20 * 2000  # 8 MB are 2,048 pages
    assert after < before / 10


FAULTS = """
import json, resource
import numpy as np
from concertino.batch._memory import use_memory_again
def faults():
    # 8 MB in pieces of which none would be a huge page
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(24):
        pieces = [np.ones(2**15) for _ in range(32)]
        del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun
before = faults()
use_memory_again()
faults()
print(json.dumps([before, faults()]))
"""
