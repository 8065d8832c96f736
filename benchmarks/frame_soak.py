"""Ten million frames through one stream between two processes: every one accounted for, memory flat.

Frames of 16 × 16 pixels, a thousand at once, through shared memory or on the wire, as to another computer. The memory of both processes is noted fifty
times; the growth after the first tenth is what counts.

Run ``python benchmarks/frame_soak.py [--frames 10000000] [--wire]``.
"""

import argparse
import multiprocessing as mp
import os
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from concertino.frames import FrameStream, Ring, subscribe

SHAPE = (16, 16)
AT_ONCE = 1000
NOTES = 50
MOST_GROWTH_BYTES = 8 * 2**20


def private_bytes(pid: int | str = "self") -> int:
    """Return the memory that is a process's own, without what it shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private"))


def take(pipe: Connection) -> None:
    """Read each frame, check that it is the next, acknowledge it."""
    address, count = pipe.recv(), 0
    with subscribe(address, name="subscriber") as subscription:
        pipe.send("ready")
        for batch in subscription:
            numbers = batch.frames[:, 0, 0]
            if not np.array_equal(numbers, np.arange(batch.start, batch.stop, dtype=np.uint32)):
                raise SystemExit(f"frames {batch.start} to {batch.stop} are others")
            subscription.acknowledge(batch.stop)
            count += len(batch)
        subscription.finish()
    pipe.send((count, threading.active_count(), len(os.listdir("/proc/self/fd"))))


def main() -> None:
    """Publish, watch, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--wire", action="store_true", help="have the pixels travel")
    arguments = parser.parse_args()
    ours, theirs = mp.Pipe()
    process = mp.get_context("spawn").Process(target=take, args=(theirs,))
    process.start()
    notes: list[tuple[int, int, int]] = []
    ring = Ring(SHAPE, "u4", 64 * 2**20) if arguments.wire else None
    with FrameStream(
        shape=SHAPE, dtype="u4", ring_bytes=64 * 2**20, ring=ring, timeout_s=60
    ) as stream:
        ours.send(stream.address)
        assert ours.recv() == "ready"
        frames = np.zeros((AT_ONCE, *SHAPE), np.uint32)
        began_s = time.monotonic()
        for start in range(0, arguments.frames, AT_ONCE):
            stop = min(start + AT_ONCE, arguments.frames)
            frames[: stop - start] = np.arange(start, stop, dtype=np.uint32)[:, None, None]
            stream.publish(frames[: stop - start])
            if stop * NOTES // arguments.frames > len(notes):
                notes.append((stop, private_bytes(), private_bytes(process.pid or 0)))
        ledger = stream.end()
        took_s = time.monotonic() - began_s
    count, threads, descriptors = ours.recv()
    process.join(30)
    ledger.check()
    print(
        f"{'wire' if arguments.wire else 'memory'}: {ledger.published} published, {count} read, {ledger.acknowledged} "
        f"acknowledged, digest {ledger.digest}, {count / took_s:.0f} frames/s in {took_s:.0f} s"
    )
    settled = [note for note in notes if note[0] > arguments.frames // 10]
    for which, name in ((1, "publisher"), (2, "subscriber")):
        memory = [note[which] for note in settled]
        growth = memory[-1] - memory[0]
        print(
            f"{name:10} {memory[0] / 2**20:6.1f} MiB after a tenth, {memory[-1] / 2**20:6.1f} MiB at the "
            f"end, at most {max(memory) / 2**20:.1f}; {'flat' if growth < MOST_GROWTH_BYTES else 'GROWS'}"
        )
    print(f"subscriber at its end: {threads} threads, {descriptors} files")


if __name__ == "__main__":
    main()
