"""Runs of every kind and with every end, in one process and one session, and what they leave behind.

``python tests/endurance/mixed_runs.py --runs 300`` takes runs that go well, that are aborted, stopped, halted or paused and resumed, whose
camera, stage or callback fails, and whose parameters are wrong, in a random order. After each the beam is off, the
RunEngine idle, and the record says how the run ended; what it stored is what the camera showed. At the end there are as many
threads, open files, sockets and shared memory as after the first runs, and no more memory than is stated. ``--kinds good`` takes
only runs that go well. An error tells the run's seed.
"""

import argparse
import collections
import contextlib
import ctypes
import gc
import logging
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import concertino  # noqa: F401

# isort: split
# Bluesky after Concertino, or it takes five seconds more where there is Jupyter.
import psutil
from bluesky.utils import FailedStatus, RunEngineInterrupted

from concertino import ConcertinoError, ParameterError
from concertino.callbacks import FrameConsumer, ImageWriter
from concertino.documents import StreamSegment
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.session import Session, open_session
from concertino.storage import open_run

if __package__:
    from .bench import Beamline, check_frames
else:
    from bench import Beamline, check_frames  # type: ignore[no-redef,import-not-found]

KINDS = (
    "good", "good", "good", "camera fails", "stage fails", "callback fails", "abort", "stop", "halt",
    "pause", "two pauses", "bad parameters",
)  # fmt: skip
#: How each run ends, as its stop document says.
STATUS = {"abort": "abort", "stop": "success", "halt": "abort"} | dict.fromkeys(
    ("camera fails", "stage fails", "callback fails"), "fail"
)
FORMATS = ("tiff", "hdf5", "zarr")
PROJECTIONS = {"radiography": 90, "continuous_tomography": 90, "step_tomography": 12}
SETTLED = 10  # Runs after which what a process needs is there.
WAIT_S = 240.0
#: What a process may gain in memory, and for each run, in bytes: the record's index of runs, Python's own.
GAIN_BYTES, GAIN_RUN_BYTES = 24 * 2**20, 40 * 2**10


def in_use() -> dict[str, list[str]]:
    """Return what this process uses of the machine."""
    process = psutil.Process()
    names = Path("/proc/net/unix").read_text().split()
    return {
        # The pool of asyncio grows to its size by and by, and is one for the whole process.
        "threads": sorted(
            thread.name.rstrip("0123456789")
            for thread in threading.enumerate()
            if not thread.name.startswith("asyncio_")
        ),
        "files": sorted(_links()),
        "memory": sorted(entry.name for entry in os.scandir("/dev/shm") if _ours(entry)),
        "sockets": sorted(name for name in names if name.startswith(f"@concertino/{process.pid}-")),
        "children": sorted(child.name() for child in process.children(recursive=True)),
    }


def _links() -> Iterator[str]:
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield os.readlink(entry.path).partition(":[")[0]


def _ours(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return entry.is_file() and str(os.getpid()) in entry.name
    return False


def memory_bytes() -> int:
    """Return the memory that this process uses when what it can give back is given back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_full_info().uss)


class Runs:
    """One session, in which run follows run."""

    def __init__(self, root: Path, kinds: tuple[str, ...], catalog: bool) -> None:
        self.kinds = kinds
        self.beamline = Beamline()
        self.session: Session = open_session(root, progress=False, catalog=catalog)
        self.writers = {name: ImageWriter(format=name) for name in FORMATS}
        self.failing = False
        self.session.subscribe(FrameConsumer(self._look, necessary=True))
        self.uid = ""
        self.session.RE.subscribe(self._note, "start")
        self.said = ""

    def _look(self, frame: Any, stream: str, index: int) -> None:
        if self.failing and stream == "projections" and index == 3:
            raise ValueError("the callback was told to fail")

    def _note(self, name: str, document: dict[str, Any]) -> None:
        self.uid = document["uid"]

    def play(self, seed: int) -> str:
        """Take one run, and check how it ended; return of what kind it was."""
        chance = random.Random(seed)
        kind, name = chance.choice(self.kinds), chance.choice(list(PROJECTIONS))
        self.said = f"{kind}, {name}"
        b, token = self.beamline, self.session.subscribe(self.writers[chance.choice(FORMATS)])
        b.source.dies_at = 5 if kind == "camera fails" else -1
        self.failing, self.uid = kind == "callback fails", ""
        b.stage.moves_left = 1 if kind == "stage fails" else -1
        person = threading.Thread(
            target=self._person, args=(kind, name, chance.random()), name="person"
        )
        person.start()
        error: BaseException | None = None
        try:
            self.session.RE(self._plan(name, bad=kind == "bad parameters"))
        except (ConcertinoError, FailedStatus, RunEngineInterrupted, ValueError) as caught:
            error = caught
        finally:
            self.failing, b.source.dies_at, b.stage.moves_left = False, -1, -1
        person.join(WAIT_S)
        assert not person.is_alive(), "who wanted to end the run still waits"
        self.session.unsubscribe(token)
        self._check(kind, name, error)
        return kind

    def _plan(self, name: str, bad: bool) -> Any:
        b = self.beamline
        given: dict[str, Any] = {
            "num_darks": 3, "num_flats": 3, "num_projections": PROJECTIONS[name],
            "radio_position": "0 mm", "flat_position": "1 s" if bad else "1 mm",
        }  # fmt: skip
        if name == "radiography":
            return radiography(b.camera, b.shutter, b.stage, **given)
        plan = step_tomography if name == "step_tomography" else continuous_tomography
        return plan(b.camera, b.rotation, b.shutter, b.stage, angular_range="30 deg", **given)

    def _person(self, kind: str, name: str, moment: float) -> None:
        """Do to the run what a person would, at some moment of it."""
        if kind not in ("abort", "stop", "halt", "pause", "two pauses"):
            return
        self._until(lambda: bool(self.uid))
        if kind in ("pause", "two pauses"):
            self._until(lambda: self.session.hold.unheard is None)
        time.sleep(0.4 * moment)
        for _ in range(2 if kind == "two pauses" else 1):
            with contextlib.suppress(ConcertinoError):  # The run may be over.
                self.session.pause("lunch") if "pause" in kind else getattr(self.session.RE, kind)()
            if "pause" in kind:
                over = self._until(
                    lambda: self.session.hold.waiting or not self.session.hold.requested
                )
                if over and self.session.hold.waiting:
                    assert not self.beamline.shutter.is_open, "it pauses with beam"
                self.session.resume()

    def _until(self, true: Any) -> bool:
        deadline_s = time.monotonic() + WAIT_S
        while not true():
            assert time.monotonic() < deadline_s, "what was waited for did not come"
            time.sleep(0.002)
        return True

    def _check(self, kind: str, name: str, error: BaseException | None) -> None:
        assert self.session.RE.state == "idle", self.session.RE.state
        assert not self.beamline.shutter.is_open, "the beam is on"
        assert not self.session.hold.requests
        if kind == "bad parameters":
            assert isinstance(error, ParameterError), repr(error)
            assert not self.uid, "a run was begun"
            return
        run = open_run(int(self.session.RE.md["scan_id"]), self.session.directory)
        assert run.uid == self.uid
        statuses = {STATUS.get(kind, "success")}
        if kind in ("abort", "stop", "halt"):
            statuses.add("success")  # It may have ended before.
        assert run.exit_status in statuses, (run.exit_status, run.reason, repr(error))
        if kind in ("good", "pause", "two pauses"):
            assert error is None, repr(error)
        stated = check_frames(run)
        if kind in ("good", "pause", "two pauses"):
            number = {
                segment.base: segment.first + frames  # of its last segment
                for segment, frames in ((StreamSegment.of(s), n) for s, n in stated.items())
            }
            assert number == {"darks": 3, "flats": 3, "projections": PROJECTIONS[name]}, stated


def check_gain(before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
    """Compare what was in use."""
    for what, names in after.items():
        more = collections.Counter(names) - collections.Counter(before[what])
        if more:
            raise AssertionError(f"left over of {what}: {dict(more)}")


def play_all(runs: int, seed: int, kinds: tuple[str, ...], catalog: bool) -> None:
    """Take the runs in a session in a directory of its own."""
    logging.disable(logging.CRITICAL)  # What fails is meant to.
    root = Path(tempfile.mkdtemp(prefix="mixed_runs_"))
    played, taken_s = Runs(root, kinds, catalog), collections.defaultdict[str, list[float]](list)
    before: dict[str, list[str]] = {}
    memory = 0
    for number in range(1, runs + 1):
        begun_s = time.monotonic()
        try:
            kind = played.play(seed + number - 1)
        except BaseException as error:
            sys.exit(f"seed {seed + number - 1}, {played.said}: {type(error).__name__}: {error}")
        taken_s[kind].append(time.monotonic() - begun_s)
        for directory in root.glob("scan_*"):
            shutil.rmtree(directory)
        if number % 25 == 0:
            print(f"after {number} runs: {(memory_bytes() - memory) / 2**20:+.1f} MiB", flush=True)
        if number == min(SETTLED, runs // 2):
            before, memory = in_use(), memory_bytes()
    gained = memory_bytes() - memory
    check_gain(before, in_use())
    played.session.close()
    shutil.rmtree(root)
    for kind in dict.fromkeys(kinds):
        times = taken_s[kind]
        if times:
            print(f"{kind:16}{len(times):4} runs, the longest {max(times):.1f} s")
    allowed = GAIN_BYTES + GAIN_RUN_BYTES * runs
    print(
        f"{runs} runs: beam off and idle after each; threads, files, sockets, shared memory and processes as "
        f"after {min(SETTLED, runs // 2)}; {gained / 2**20:+.1f} MiB"
    )
    if gained > allowed:
        sys.exit(f"{gained / 2**20:.1f} MiB gained, more than {allowed / 2**20:.1f} MiB")


def main() -> None:
    """Take the runs and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--kinds", default="", help="some of them, parted by commas")
    parser.add_argument("--catalog", action="store_true", help="with the session's catalogue")
    given = parser.parse_args()
    play_all(
        given.runs, given.seed, tuple(filter(None, given.kinds.split(","))) or KINDS, given.catalog
    )


if __name__ == "__main__":
    main()
