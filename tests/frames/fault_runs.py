"""Streams between processes, each with a fault at a random time, and what became of every frame.

``python tests/frames/fault_runs.py --runs 200`` prints a line for each kind of fault and how its runs ended; any frame that is not accounted
for, or was acknowledged and cannot be read back, any wait beyond the time-outs and anything left over ends it with
an error that tells the run's seed. The publisher and the writer are processes; the writer stores each frame in a file before it
acknowledges.
"""

import argparse
import collections
import contextlib
import errno
import json
import multiprocessing as mp
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from concertino import ConcertinoError
from concertino.frames import FrameStream, Ring, subscribe

if __package__:
    from .line import Line
else:
    from line import Line  # type: ignore[no-redef,import-not-found]

SHAPE = (16, 32)
FRAME_BYTES = SHAPE[0] * SHAPE[1] * 4
RING_FRAMES = 48
FRAMES = 300
TIMEOUT_S = 1.0
FAULTS = (
    "none",
    "writer killed",
    "writer killed, resumed",
    "writer stopped for a while",
    "writer stopped for long",
    "writer slow",
    "disk full",
    "publisher killed",
    "publisher stopped for a while",
    "publisher stopped for long",
    "line cut",
    "line down for a while",
    "line down for long",
    "line dead",
)
A_WHILE_S = 0.3
LONG_S = TIMEOUT_S + 0.8
#: How a run may end: whether it must have failed, and what the publisher says then.
REASONS = {
    "writer killed": "'writer' of frame stream run is silent",
    "writer stopped for long": "'writer' of frame stream run is silent",
    "disk full": "OSError: [Errno",
    "line down for long": "'writer' of frame stream run is silent",
    "line dead": "'writer' of frame stream run is silent",
}


def frame(index: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.full(SHAPE, index, np.uint32)


def publish(wire: bool, orders: Connection, report: Path) -> None:
    """Publish at about a thousand frames a second; report the ledger."""
    ring_bytes = RING_FRAMES * FRAME_BYTES
    with FrameStream(
        shape=SHAPE,
        dtype=np.uint32,
        ring_bytes=ring_bytes,
        ring=Ring(SHAPE, np.uint32, ring_bytes) if wire else None,
        timeout_s=TIMEOUT_S,
        name="run",
    ) as stream:
        orders.send(stream.address)
        while not stream.has_subscribers:
            time.sleep(0.001)
        try:
            for index in range(FRAMES):
                stream.publish(frame(index))
                time.sleep(0.001)
        except ConcertinoError:
            pass
        ledger = stream.end()
    report.write_text(
        json.dumps(
            {
                "published": ledger.published,
                "acknowledged": ledger.acknowledged,
                "reason": ledger.reason,
                "differences": ledger.differences(),
                # The one of pyzmq serves the whole process.
                "threads": [
                    thread.name
                    for thread in threading.enumerate()[1:]
                    if type(thread).__name__ != "GarbageCollectorThread"
                ],
            }
        )
    )


def write(orders: Connection, file: Path, report: Path) -> None:
    """Store each frame, then acknowledge it; report how it ended."""
    address, resume, pause_s, most_bytes = orders.recv()
    if most_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    error, safe = "", 0
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        with subscribe(address, name="writer", resume=resume) as subscription:
            orders.send("subscribed")
            for batch in subscription:
                octets = batch.frames.tobytes()
                if os.pwrite(descriptor, octets, batch.start * FRAME_BYTES) < len(octets):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                subscription.acknowledge(batch.stop)
                safe = batch.stop
                time.sleep(pause_s)
            subscription.finish()
    except (ConcertinoError, OSError) as caught:
        error = f"{type(caught).__name__}: {caught}"
    os.close(descriptor)
    report.write_text(json.dumps({"safe": safe, "error": error}))


def left_over() -> set[str]:
    """Return what could be left by streams: shared memory, threads, processes, sockets."""
    return (
        {entry.name for entry in os.scandir("/dev/shm") if entry.is_file()}
        | {str(thread) for thread in threading.enumerate()}
        | {str(child.pid) for child in mp.active_children()}
        | {entry.name for entry in os.scandir("/proc/self/fd") if entry.is_symlink()}
    )


class Run:
    """One stream with one fault."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fault = self.random.choice(FAULTS)
        self.wire = "line" in self.fault or self.random.choice([False, True])
        self.after_s = self.random.uniform(0.0, 0.35)
        self.directory = Path(tempfile.mkdtemp(prefix="fault_run_"))
        self.file = self.directory / "disk" / "frames.bin"
        self.file.parent.mkdir()
        self.outcome = ""
        self._mounted = self.fault == "disk full" and _mount(
            self.file.parent, int(FRAME_BYTES * self.random.uniform(2, FRAMES - 8))
        )
        self._reports = {
            part: self.directory / f"{part}.json" for part in ("publisher", "writer", "spare")
        }
        self._pipes: dict[str, Connection] = {}
        self._processes: dict[str, Any] = {}
        self._line: Line | None = None

    def __str__(self) -> str:
        return f"{self.fault} after {self.after_s:.3f} s {'over the wire' if self.wire else 'in memory'}"

    def _fork(self, part: str) -> None:
        ours, theirs = mp.Pipe()
        report = self._reports[part]
        target, arguments = write, (theirs, self.file, report)
        if part == "publisher":
            target, arguments = publish, (self.wire, theirs, report)  # type: ignore[assignment]
        process = mp.get_context("fork").Process(target=target, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._pipes[part], self._processes[part] = ours, process

    def play(self) -> float:
        """Run it, cause the fault, check everything; return how long it took, in seconds."""
        begin_s = time.monotonic()
        for part in self._reports:
            self._fork(part)
        address = self._pipes["publisher"].recv()
        if "line" in self.fault:
            self._line = Line(address)
            address = self._line.address
        pause_s = 0.004 if self.fault == "writer slow" else 0.0
        most = (
            int(FRAME_BYTES * self.random.uniform(1, FRAMES - 1))
            if self.fault == "disk full" and not self._mounted
            else 0
        )
        self._pipes["writer"].send((address, False, pause_s, most))
        assert self._pipes["writer"].recv() == "subscribed"
        time.sleep(self.after_s)
        self._cause(address)
        self._end()
        took_s = time.monotonic() - begin_s
        self._check()
        return took_s

    def _cause(self, address: str) -> None:
        party = self._processes["writer" if "writer" in self.fault else "publisher"]
        if "killed" in self.fault:
            party.kill()
        if self.fault == "writer killed, resumed":
            self._pipes["spare"].send((address, True, 0.0, 0))
            # Nothing is left to go on with when the writer had just finished: then all is safe.
            with contextlib.suppress(EOFError):
                assert self._pipes["spare"].recv() == "subscribed"
        if "stopped" in self.fault:
            os.kill(party.pid, signal.SIGSTOP)
            time.sleep(self._lasts_s)
            os.kill(party.pid, signal.SIGCONT)
        if self._line is not None:
            self._line.dead = self.fault == "line dead"
            self._line.down = "down" in self.fault
            if not self._line.dead:
                self._line.cut()
            if self._line.down:
                time.sleep(self._lasts_s)
                self._line.down = False

    @property
    def _lasts_s(self) -> float:
        return A_WHILE_S if "a while" in self.fault else LONG_S

    def _end(self) -> None:
        if self.fault != "writer killed, resumed":
            self._processes["spare"].kill()
        for part, process in self._processes.items():
            process.join(4 * TIMEOUT_S + 4)
            assert not process.is_alive(), f"the {part} hangs"
            process.close()
        if self._line is not None:
            self._line.close()
        for pipe in self._pipes.values():
            pipe.close()

    def _check(self) -> None:
        heard = {
            part: json.loads(report.read_text()) if report.exists() else None
            for part, report in self._reports.items()
        }
        publisher = heard["publisher"]
        writer = heard["spare"] if "resumed" in self.fault else heard["writer"]
        if self.fault == "publisher killed":
            assert publisher is None
            assert writer is not None
            self._check_file(writer["safe"])
            if writer["safe"] < FRAMES:
                assert "The publisher of frame stream run" in writer["error"], writer
            self.outcome = "failed"
            return
        assert publisher is not None
        self._check_file(publisher["acknowledged"])
        reason = REASONS.get(self.fault)
        complete = publisher["acknowledged"] == FRAMES
        self.outcome = "complete" if complete else "failed"
        assert not publisher["threads"], publisher
        if "publisher stopped" in self.fault:
            # Its last words may be lost with the process.
            reason = "Subscriber 'writer' of frame stream run"
        elif reason is None:
            assert complete, publisher
            assert not publisher["reason"], publisher
        if complete:
            assert publisher["published"] == FRAMES
        elif reason is not None:
            assert reason in publisher["reason"], publisher
        if writer is not None and writer["safe"]:
            assert writer["safe"] >= publisher["acknowledged"], (publisher, writer)
        # Nothing is missing that the ledger does not tell.
        assert complete or publisher["differences"] or publisher["reason"], publisher

    def _check_file(self, safe: int) -> None:
        """Read back every frame that was declared safe."""
        stored = np.fromfile(self.file, np.uint32) if safe else np.empty(0, np.uint32)
        stored = stored[: safe * SHAPE[0] * SHAPE[1]].reshape(-1, *SHAPE)
        assert len(stored) == safe, f"{safe} frames are declared safe, {len(stored)} are there"
        assert np.array_equal(stored[:, 0, 0], np.arange(safe))
        assert np.all(stored == stored[:, :1, :1])

    def clean(self) -> None:
        """Leave nothing on the disk."""
        if self._mounted:
            subprocess.run(["umount", str(self.file.parent)], check=True)
        shutil.rmtree(self.directory)


def _mount(directory: Path, size: int) -> bool:
    """Mount a small disk in memory, if this user may; tell whether it is there."""
    options = ["-t", "tmpfs", "-o", f"size={size // 1024}k", "tmpfs", str(directory)]
    return subprocess.run(["mount", *options], capture_output=True).returncode == 0


def main() -> None:
    """Play the runs and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    arguments = parser.parse_args()
    outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
    longest_s: dict[str, float] = collections.defaultdict(float)
    before = left_over()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        run = Run(seed)
        try:
            took_s = run.play()
        except BaseException as error:
            sys.exit(f"seed {seed}, {run}: {type(error).__name__}: {error}")
        outcomes[run.fault, run.outcome] += 1
        longest_s[run.fault] = max(longest_s[run.fault], took_s)
        run.clean()
    left = left_over() - before
    if left:
        sys.exit(f"left over: {sorted(left)}")
    for fault in FAULTS:
        complete, failed = outcomes[fault, "complete"], outcomes[fault, "failed"]
        print(
            f"{fault:30}{complete + failed:4} runs: {complete:4} complete, {failed:4} failed as they "
            f"should; the longest {longest_s[fault]:.1f} s"
        )
    print(f"{arguments.runs} runs: every frame is accounted for, nothing is left over")


if __name__ == "__main__":
    main()
