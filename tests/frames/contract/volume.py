"""Contract of frame transports: very many frames, very large ones, and the memory that they take."""

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from concertino.frames import FrameStream, subscribe

from .readers import Reader, numbered_frames

Make = Callable[..., FrameStream]


class VolumeContract:
    """Size does not change what happens."""

    def test_a_hundred_thousand_tiny_frames(self, make: Make) -> None:
        stream = make(capacity=8192, shape=(1, 4), dtype=np.uint8, timeout_s=30.0)
        with Reader(stream.address) as reader:
            for start in range(0, 100_000, 500):
                stream.publish(numbered_frames(start, 500, (1, 4), np.uint8))
            ledger = stream.end()
        assert reader.count == 100_000
        ledger.check()

    def test_frames_of_a_hundred_megabytes_through_two_slots(self, make: Make) -> None:
        shape = (10_000, 10_000)
        stream = make(capacity=2, shape=shape, dtype=np.uint8, timeout_s=30.0)
        assert stream.capacity == 2
        seen = []
        with subscribe(stream.address, name="reader") as reader:
            for index in range(3):
                slot = stream.reserve(timeout_s=20)[:1]
                slot[0, 0] = index
                slot[0, -1] = index + 1
                stream.commit(1)
                batch = reader.read(timeout_s=20)
                assert batch is not None
                seen.append((batch.start, batch.frames[0, 0, 0], batch.frames[0, -1, -1]))
                del batch
                reader.acknowledge(index + 1)
            assert stream.end(timeout_s=0).published == 3
        assert seen == [(0, 0, 1), (1, 1, 2), (2, 2, 3)]

    def test_memory_stays_within_the_ring(self, make: Make) -> None:
        shape, ring_bytes = (256, 256), 16 * 2**20
        stream = make(shape=shape, ring_bytes=ring_bytes)
        frames = numbered_frames(0, 16, shape)
        gc.collect()
        before = _resident_bytes()
        most = 0
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        reader = subscribe(stream.address, name="reader")

        def read() -> None:
            for batch in reader:
                reader.acknowledge(batch.stop)
            reader.finish()

        thread = threading.Thread(target=read)
        thread.start()
        for _ in range(100):
            stream.publish(frames)
            most = max(most, _resident_bytes() - before)
        stream.end().check()
        thread.join()
        viewer.close()
        # 200 MiB went through. The publisher's ring, and what each receiver maps of it, or has on its way.
        assert most < 4 * ring_bytes


def _resident_bytes() -> int:
    """Return the memory that this process has in use (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
