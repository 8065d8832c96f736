"""One end of one way of carrying frames between two processes; run by ``benchmarks/frames.py``.

``python frame_way.py WAY send|take '{"size": 256, …}'`` prints one JSON line when it is ready and one
when it is done. It waits for a line on its standard input before it sends.
"""

import json
import mmap
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import xxhash
import zmq

from concertino.frames import FrameStream, Ring, subscribe

RING_BYTES = 256 * 2**20
AT_ONCE_BYTES = 2**20


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def prepared(size: int) -> np.ndarray:
    """Return frames that a camera could give: enough to leave the processor's cache."""
    count = max(4, 48 * 2**20 // (size * size * 2))
    return np.random.default_rng(1).integers(0, 4096, (count, size, size), np.uint16)


def batches(frames: np.ndarray, count: int, at_once: int) -> Iterator[np.ndarray]:
    """Yield `count` frames, so many at once, beginning again at the end of those prepared."""
    done = 0
    while done < count:
        first = done % len(frames)
        batch = frames[first : first + min(at_once, count - done)]
        yield batch
        done += len(batch)


class Clock:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self.begin_s, self.cpu_s = time.perf_counter(), time.process_time()

    def read(self, count: int) -> dict[str, float]:
        """Return the rate, and the processor time that a frame took."""
        wall_s, cpu_s = time.perf_counter() - self.begin_s, time.process_time() - self.cpu_s
        return {"hz": count / wall_s, "cpu_us": 1e6 * cpu_s / count}


def new_stream(size: int, way: str) -> FrameStream:
    """Return a stream; on the wire pixels travel, as to another computer, as there is no memory to lend."""
    ring = Ring((size, size), "u2", RING_BYTES) if way.startswith("wire") else None
    return FrameStream(
        shape=(size, size), dtype="u2", ring_bytes=RING_BYTES, ring=ring, timeout_s=60
    )


def send_frames(size: int, count: int, way: str, at_once: int, warm_up: int, **_: Any) -> None:
    """Concertino: publish, in copies or in place."""
    _, _, variant = way.partition(" ")
    frames = prepared(size)
    with new_stream(size, way) as stream:
        say(address=stream.address)
        sys.stdin.readline()
        stream.ring.frames[...] = 1
        for _ in batches(frames, warm_up, at_once):
            stream.publish(_)
        while stream.acknowledged < stream.published:
            time.sleep(0.001)
        clock = Clock()
        if variant == "in place":
            done = 0
            while done < count:
                slots = stream.reserve(min(at_once, count - done))
                stream.commit(len(slots))
                done += len(slots)
        else:
            for batch in batches(frames, count, at_once):
                stream.publish(batch)
        while stream.acknowledged < stream.published:
            time.sleep(0.0005)
        result = clock.read(count)
        stream.end().check()
        say(**result)


def take_frames(
    size: int, address: str, way: str, copies: bool, verify: bool | None, **_: Any
) -> None:
    """Concertino: read each frame, copy it out when it lies in the ring, acknowledge."""
    kept = np.ones((size, size), np.uint16)
    with subscribe(address, name="subscriber", verify=verify) as subscription:
        say(ready=True)
        count = 0
        for batch in subscription:
            if copies:
                for frame in batch.frames:
                    np.copyto(kept, frame)
            subscription.acknowledge(batch.stop)
            count += len(batch)
        subscription.finish()
    say(count=count)


def _bare_ring(path: str, size: int, write: bool) -> tuple[np.ndarray, np.ndarray]:
    slots = RING_BYTES // (size * size * 2)
    with open(path, "r+b") as file:
        if write:
            os.posix_fallocate(file.fileno(), 0, 4096 + RING_BYTES)
        memory = mmap.mmap(
            file.fileno(), 4096 + RING_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE
        )
    counters = np.frombuffer(memory, np.int64, 2)
    ring = np.frombuffer(memory, np.uint16, slots * size * size, 4096)
    return counters, ring.reshape(slots, size, size)


def send_bare(size: int, count: int, warm_up: int, sums: bool = False, **_: Any) -> None:
    """A bare ring in shared memory: copy a frame, count it; nothing else."""
    frames = prepared(size)
    descriptor = os.memfd_create("bare ring")
    path = f"/proc/{os.getpid()}/fd/{descriptor}"
    counters, ring = _bare_ring(path, size, write=True)
    say(address=path)
    sys.stdin.readline()
    ring[...] = 1

    def send(begin: int, stop: int) -> None:
        for index in range(begin, stop):
            while index - counters[1] >= len(ring):
                time.sleep(0)
            np.copyto(ring[index % len(ring)], frames[index % len(frames)])
            if sums:
                xxhash.xxh3_64_intdigest(ring[index % len(ring)].data)
            counters[0] = index + 1
        while counters[1] < stop:
            time.sleep(0)

    send(0, warm_up)
    clock = Clock()
    send(warm_up, warm_up + count)
    say(**clock.read(count))


def take_bare(size: int, count: int, address: str, warm_up: int, **_: Any) -> None:
    """A bare ring: copy each frame out."""
    counters, ring = _bare_ring(address, size, write=False)
    kept = np.ones((size, size), np.uint16)
    say(ready=True)
    for index in range(warm_up + count):
        while counters[0] <= index:
            time.sleep(0)
        np.copyto(kept, ring[index % len(ring)])
        counters[1] = index + 1
    say(count=warm_up + count)


def send_zmq(size: int, count: int, warm_up: int, **_: Any) -> None:
    """Plain pyzmq: PUSH without copies."""
    frames = prepared(size)
    context: Any = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.sndhwm = max(2, 32 * 2**20 // (size * size * 2))
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    back = context.socket(zmq.PULL)
    back_port = back.bind_to_random_port("tcp://127.0.0.1")
    say(address=f"{port} {back_port}")
    sys.stdin.readline()

    def send(number: int) -> None:
        for index in range(number):
            socket.send(frames[index % len(frames)], copy=False)
        back.recv()

    send(warm_up)
    clock = Clock()
    send(count)
    say(**clock.read(count))
    context.destroy(0)


def take_zmq(size: int, count: int, address: str, warm_up: int, **_: Any) -> None:
    """Plain pyzmq: PULL without copies; one word back when all have come."""
    context: Any = zmq.Context()
    port, back_port = address.split()
    socket = context.socket(zmq.PULL)
    socket.rcvhwm = max(2, 32 * 2**20 // (size * size * 2))
    socket.connect(f"tcp://127.0.0.1:{port}")
    back = context.socket(zmq.PUSH)
    back.connect(f"tcp://127.0.0.1:{back_port}")
    say(ready=True)
    for number in (warm_up, count):
        for _ in range(number):
            np.frombuffer(socket.recv(copy=False), np.uint16).reshape(size, size)
        back.send(b"")
    say(count=warm_up + count)
    context.destroy(1000)


def send_paced(size: int, count: int, way: str, rate_hz: float, **_: Any) -> None:
    """Concertino: one frame at a time at a camera's rate, its time stamp taken before the publish."""
    frames = prepared(size)
    with new_stream(size, way) as stream:
        say(address=stream.address)
        sys.stdin.readline()
        stream.ring.frames[...] = 1
        begin_s, cpu_s = time.perf_counter(), time.process_time()
        for index in range(count):
            time.sleep(max(0.0, begin_s + index / rate_hz - time.perf_counter()))
            stream.publish(frames[index % len(frames)], timestamps=[time.monotonic_ns()])
        cpu_s = time.process_time() - cpu_s
        stream.end().check()
        say(cpu_us=1e6 * cpu_s / count)


def take_paced(address: str, verify: bool | None, **_: Any) -> None:
    """Concertino: note how old each frame is when it is in the subscriber's hands."""
    ages_ns = []
    with subscribe(address, name="subscriber", verify=verify) as subscription:
        say(ready=True)
        for batch in subscription:
            now_ns = time.monotonic_ns()
            ages_ns.append(now_ns - int(batch.timestamps[-1]))
            subscription.acknowledge(batch.stop)
        subscription.finish()
    ages_us = np.array(ages_ns[10:]) / 1e3
    say(median_us=float(np.median(ages_us)), p99_us=float(np.percentile(ages_us, 99)))


if __name__ == "__main__":
    chosen, part, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if chosen.startswith("bare"):
        (send_bare if part == "send" else take_bare)(sums="sums" in chosen, **settings)
    elif chosen == "zmq":
        (send_zmq if part == "send" else take_zmq)(**settings)
    elif "rate_hz" in settings:
        (send_paced if part == "send" else take_paced)(way=chosen, **settings)
    else:
        (send_frames if part == "send" else take_frames)(way=chosen, **settings)
