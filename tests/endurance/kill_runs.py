"""Sessions that are killed (kill -9) in the middle of a scan, with each way to write, and what is on the disk then.

``python tests/endurance/kill_runs.py --runs 100`` prints for each sink how many frames the records state. After each kill the record reads
whole up to its last line, every frame that it states is there and shows what the camera showed, pixel for pixel, and
the next session takes a scan in the same directory. An error tells the run's seed.
"""

import argparse
import collections
import contextlib
import importlib
import json
import multiprocessing as mp
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from concertino import StorageError
from concertino.callbacks import ChildProcess, ImageWriter
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import open_run

if __package__:
    from .bench import Beamline, check_frames
else:
    from bench import Beamline, check_frames  # type: ignore[no-redef,import-not-found]

#: What `ImageWriter` is given, and whether it is a process of its own.
SINKS: dict[str, tuple[dict[str, Any], bool]] = {
    "tiff": ({}, False),
    "tiff, many in a file": ({"bytes_per_file": 2**16}, False),
    "tiff, synced": ({"durability": "synced"}, False),
    "tiff, in a process": ({}, True),
    "hdf5": ({"format": "hdf5"}, False),
    "hdf5, synced": ({"format": "hdf5", "durability": "synced"}, False),
    "hdf5, in a process": ({"format": "hdf5"}, True),
    "zarr": ({"format": "zarr"}, False),
}
RATE_HZ = 300.0
WAIT_S = 240.0
COUNTS: dict[str, Any] = {"num_darks": 5, "num_flats": 5, "num_projections": 100_000}


def scan(root: Path, sink: str, counts: dict[str, Any], shown: Any) -> None:
    """Take a scan; what the camera exposes is noted where it outlives this process."""
    given, in_process = SINKS[sink]
    b = Beamline(RATE_HZ)

    def note(kind: str, index: int) -> None:
        shown[("darks", "flats", "projections").index(kind)] = index + 1

    b.source.watch = note
    with open_session(root, progress=False, catalog=False) as session:
        writer: Any = ImageWriter(**given)
        session.subscribe(ChildProcess(writer) if in_process else writer)
        session.RE(
            radiography(
                b.camera, b.shutter, b.stage, radio_position="0 mm", flat_position="1 mm", **counts
            )
        )


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def until(true: Any, what: str) -> None:
    """Wait for something."""
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.005)


class Killed:
    """A session that takes a scan until it is killed.

    Parameters
    ----------
    seed : int
        Decides on the sink, and on the moment.
    """

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.seed, self.sink = seed, list(SINKS)[seed % len(SINKS)]
        self.root = Path(tempfile.mkdtemp(prefix="kill_runs_"))
        self._record = self.root / "scan_0001" / "documents.jsonl"
        self._after = "projections" if chance.random() < 0.8 else "darks"
        self._lasting_s = chance.uniform(0.0, 0.9)
        self._deadline_s = time.monotonic() + WAIT_S
        self._due_s: float | None = None
        self._shown = np.memmap(self.root / "shown.bin", np.int64, "w+", shape=(3,))
        self.goes_on = chance.random() < 0.25
        self._process = self._fork(COUNTS)
        self._left: list[int] = []

    def _fork(self, counts: dict[str, Any]) -> Any:
        given = (self.root, self.sink, counts, self._shown)
        process = mp.get_context("fork").Process(target=scan, args=given)
        process.start()
        return process

    def killed(self) -> bool:
        """Kill it when its moment has come, some time after darks or projections were described; tell whether."""
        assert self._process.is_alive(), "it ended by itself"
        said = self._record.read_bytes() if self._record.exists() else b""
        if self._due_s is None and f'"name":"{self._after}"'.encode() in said:
            self._due_s = time.monotonic() + self._lasting_s
        assert self._due_s or time.monotonic() < self._deadline_s, f"no {self._after} described"
        if self._due_s is None or time.monotonic() < self._due_s:
            return False
        self._left = children_of(self._process.pid)
        os.kill(self._process.pid, signal.SIGKILL)
        return True

    def check(self) -> int:
        """Check what is there; return how many frames are stated."""
        self._process.join(WAIT_S)
        assert self._process.exitcode == -signal.SIGKILL
        until(lambda: not any(_lives(pid) for pid in self._left), f"{self._left} are left over")
        run = open_run(self.root / "scan_0001")
        assert run.stop is None
        assert run.exit_status == "incomplete"
        _check_lines(self._record)
        stated = check_frames(run)
        for place, kind in enumerate(("darks", "flats", "projections")):
            assert stated.get(kind, 0) <= self._shown[place], f"{kind}: more than were exposed"
            # What was to be taken before has been.
            if kind != "projections" and self._shown[place + 1]:
                assert stated.get(kind) == 5, stated
        return sum(stated.values())

    def give_up(self) -> None:
        """Leave nothing running."""
        self._process.kill()
        self._process.join()

    def go_on(self) -> None:
        """Take a whole scan where this one was killed."""
        process = self._fork({"num_darks": 5, "num_flats": 5, "num_projections": 20})
        process.join(WAIT_S)
        assert process.exitcode == 0
        run = open_run(self.root / "scan_0002")
        assert run.exit_status == "success"
        assert check_frames(run) == {"darks": 5, "flats": 5, "projections": 20}


def _check_lines(record: Path) -> None:
    *whole, last = record.read_bytes().split(b"\n")
    for line in whole:
        json.loads(line)
    if last:  # It was being written.
        with contextlib.suppress(ValueError):
            json.loads(last)
            raise AssertionError("a whole line without its end")


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def left_over() -> set[str]:
    """Return what killed sessions could leave in shared memory."""
    return {entry.name for entry in os.scandir("/dev/shm") if entry.is_file()}


def main() -> None:
    """Play the runs and print what was stated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--together", type=int, default=4, help="sessions at a time")
    given = parser.parse_args()
    sys.modules["ophyd"] = None  # type: ignore[assignment]  # Its forks do not end.
    for name in ("awkward", "sparse", "networkx", "pyarrow", "numba", "lark", "h5py", "zarr"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)  # Once, not in each fork.
    frames, runs = collections.Counter[str](), collections.Counter[str]()
    before, coming = left_over(), list(range(given.seed, given.seed + given.runs))
    going: list[Killed] = []
    while coming or going:
        while coming and len(going) < given.together:
            going.append(Killed(coming.pop(0)))
        for one in list(going):
            try:
                if not one.killed():
                    continue
                frames[one.sink] += one.check()
                if one.goes_on:
                    one.go_on()
            except (AssertionError, StorageError) as error:
                for other in going:
                    other.give_up()
                sys.exit(
                    f"seed {one.seed}, {one.sink}: {type(error).__name__}: {error}; see {one.root}"
                )
            runs[one.sink] += 1
            going.remove(one)
            shutil.rmtree(one.root)
        time.sleep(0.005)
    assert left_over() <= before, f"left over: {left_over() - before}"
    for sink, number in runs.items():
        print(f"{sink:22}{number:4} kills, {frames[sink]:6} frames stated")
    if given.runs >= 10 * len(SINKS):
        assert all(frames[sink] for sink in SINKS), "a sink never stated a frame: nothing was tried"
    print(f"{given.runs} kills: every record reads, every frame that it states is what was shown")


if __name__ == "__main__":
    main()
