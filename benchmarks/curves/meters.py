"""What a piece of work takes: memory, time, and how late a loop is meanwhile."""

import asyncio
import contextlib
import ctypes
import gc
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_PROBE_S = 0.005


def status(name: str) -> int:
    """Return a figure of this process in bytes."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))


class Loop:
    """How late callbacks of a loop are, and how long its thread is busy between two of them.

    Attributes
    ----------
    late_ms, busy_ms : list of float
        Of each callback.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._due_s, self._busy_s = loop, math.inf, 0.0
        self._over = False
        self.late_ms: list[float] = []
        self.busy_ms: list[float] = []
        loop.call_soon_threadsafe(self._again)

    def stop(self) -> None:
        """Ask for no more callbacks."""
        self._over = True

    def last_over_first(self) -> float:
        """Return 99 % of the busy times in the last third of the work, over those in the first."""
        third = max(1, len(self.busy_ms) // 3)
        first, last = self.busy_ms[:third], self.busy_ms[-third:]
        return float(np.percentile(last, 99) / np.percentile(first, 99))

    def _again(self) -> None:
        if self._over:
            return
        now_s, busy_s = self._loop.time(), time.thread_time()
        if self._due_s < math.inf:
            self.late_ms.append(1e3 * (now_s - self._due_s))
            self.busy_ms.append(1e3 * (busy_s - self._busy_s))
        self._due_s, self._busy_s = now_s + _PROBE_S, busy_s
        self._loop.call_at(self._due_s, self._again)


@contextlib.contextmanager
def loop_beside() -> Iterator[asyncio.AbstractEventLoop]:
    """Run a loop in a thread, for work that has none: a RunEngine in the same process would be as late."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop beside", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def give_back() -> None:
    """Have the C library give back what is free, where it can: only what is in use counts as left behind."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # no GNU system
        ctypes.CDLL(None).malloc_trim(0)


def in_use() -> int:
    """Return the memory of this process in bytes, once what is free is given back."""
    give_back()
    return status("VmRSS")


class Meter(contextlib.AbstractContextManager["Meter"]):
    """Measures a piece of work, as a context manager.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        How late it is meanwhile.
    held_bytes : int
        Memory of the process before the first piece of work: what a piece leaves behind counts in later ones.
    clean : bool
        Have what is free given back before; not in the midst of what is measured.

    Attributes
    ----------
    probe : Loop
        Of the loop.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, held_bytes: int, *, clean: bool = True
    ) -> None:
        self._held_bytes = held_bytes
        if clean:
            give_back()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
        self.probe = Loop(loop)
        self._began = time.monotonic(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the piece of work."""
        self._took = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        self._peak = status("VmHWM")
        self.probe.stop()

    def figures(self, pieces: float = 1) -> dict[str, float]:
        """Return the peak of memory above what was held, and both times of each of some pieces."""
        return {
            "memory_mb": (self._peak - self._held_bytes) / 1e6,
            "wall_ms": 1e3 * self._took[0] / pieces,
            "cpu_ms": 1e3 * self._took[1] / pieces,
            "late_ms": float(np.percentile(self.probe.late_ms, 99)) if self.probe.late_ms else 0.0,
        }
