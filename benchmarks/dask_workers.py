"""A reconstruction on two dask workers beside the same in one process: the ratio of their times.

A scan is stored once; then one process with one thread, two workers with one thread each and one process with two threads
take turns, all with their code loaded. The start of workers, which a reconstruction with ``scheduler="local"`` has
beside it, is measured apart.

What counts is wall time on a quiet computer; where others use it, each worker gets the share of a process of its own. Less depends on
others in the ratio of processor times: that of one process over what two cores need for the workers and for this process, which
stores slices meanwhile: half of it all, or the busiest of them if that is more. Beside it stands the ratio as if storing never
overlapped with what the workers do.

``cores`` is how many the threads of this process keep busy, if the busiest of them waits for no other: its processor time over that thread's
(Linux only). Nothing on two cores can be faster than one process by more than two over that.

Run ``python benchmarks/dask_workers.py``; ``--large`` for 512 slices of 1024² from 1600 projections (as many as 1024 columns
need), of which each worker has more than 5 s of work.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import psutil
from curves.reconstructions import stored
from distributed import Client, LocalCluster

from concertino.batch import reconstruct_run
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import open_run

_LEAST = 1.6  # two workers beside one process
# Linux shares its time out among sessions: where others compute, two workers of ours would have that of one process.
_OWN_SESSION = "import os; os.getsid(0) == os.getpid() or os.setsid()"  # dask runs it twice
KINDS = ("one thread", "two workers", "two threads")


def processor_s(process: psutil.Process) -> float:
    """Return the processor time of a process in s."""
    times = process.cpu_times()
    return float(times.user + times.system)


class Threads:
    """The processor time of each thread of this process, looked for while a block lasts."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._begun = self._times()
        self._found = dict(self._begun)
        self._looks = threading.Thread(target=self._look)

    def __enter__(self) -> "Threads":
        self._looks.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._looks.join()

    @property
    def cores(self) -> float:
        """How many cores they keep busy, if the busiest of them waits for no other."""
        used = [ns - self._begun.get(thread, 0) for thread, ns in self._found.items()]
        return sum(used) / max(used)

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            self._found |= self._times()

    def _times(self) -> dict[str, int]:
        found = {}
        for file in Path("/proc/self/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # the thread has ended
                found[str(file)] = int(file.read_text().split()[0])
        return found


class Bench:
    """One stored scan, reconstructed in different ways."""

    def __init__(self, run: Any, rows: int, memory_gib: float, out: Path, client: Client) -> None:
        height = run.frames("projections").shape[1]
        self._run, self._out, self._client = run, out, client
        self._settings = ReconstructionSettings(
            center=(height - 1) / 2, region=(0, rows, 1), memory_gib=memory_gib
        )
        workers = client.scheduler_info(n_workers=-1)["workers"]
        pids = client.run(os.getpid)
        self._workers = [psutil.Process(pids[address]) for address in workers]
        self._me = psutil.Process()
        self.first: dict[str, Any] = {}

    def once(self, kind: str, scheduler: Any = None) -> dict[str, float]:
        """Reconstruct, compare with what the first one made, and return what it took."""
        processes = [self._me, *self._workers]
        before = [processor_s(process) for process in processes]
        threads = 2 if kind == "two threads" else 1
        if kind == "two workers":
            scheduler = self._client
        with Threads() as of_this:
            result = reconstruct_run(
                self._run, self._settings.updated(threads=threads), output="hdf5",
                directory=self._out, scheduler=scheduler,
            )  # fmt: skip
        used = [
            processor_s(process) - begun for process, begun in zip(processes, before, strict=True)
        ]
        self._compare(result.directory)
        return {
            "wall_s": result.duration_s, "start_s": result.start_s, "parts": result.parts,
            "cpu_s": used[0] if scheduler is None else sum(used),
            "shared_s": max(sum(used) / 2, *used), "serial_s": used[0] + max(used[1:]),
            "cores": of_this.cores,
            "load": os.getloadavg()[0],
        }  # fmt: skip

    def _compare(self, directory: Path) -> None:
        slices = open_run(directory).frames("slices")
        sums = slices.index["checksum"].copy()
        slices.close()
        if not self.first:
            self.first["checksums"] = sums
        if not np.array_equal(self.first["checksums"], sums):
            raise SystemExit("the slices differ from those that were made first")
        shutil.rmtree(directory)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--rows", type=int, help="how many slices")
    parser.add_argument("--memory-gib", type=float, default=6.0, help="for a part")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--run", type=Path, help="a stored run; by default one is made")
    parser.add_argument("--strict", action="store_true", help="fail below what is asked")
    chosen = parser.parse_args()
    size, count = (1024, 1600) if chosen.large else (512, 200)
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            silence_logs=50, preload=[_OWN_SESSION],
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        out = Path(directory) / "out"
        run = open_run(chosen.run) if chosen.run else stored(Path(directory), size, count)
        size = run.frames("projections").shape[1]
        rows = chosen.rows or size // 2
        warm = Bench(run, 16, chosen.memory_gib, out, client)
        for kind in KINDS:  # loads what computes
            warm.once(kind)
        bench = Bench(run, rows, chosen.memory_gib, out, client)
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        print(f"{rows} slices of {size}², {len(run.frames('projections'))} projections")
        for _ in range(chosen.runs):
            for kind in KINDS:
                figures = bench.once(kind)
                found[kind].append(figures)
                print(f"{kind:12}", *(f"{name} {value:.4g}" for name, value in figures.items()))
                time.sleep(0.5)
        started = bench.once("started", "local")
    print(f"workers that are started for it: ready in {started['start_s']:.1f} s")
    say(found, chosen.strict)


def say(found: dict[str, list[dict[str, float]]], strict: bool) -> None:
    """Print medians of the ratios; of one turn each, so that what others do is in both."""
    met = True
    for other, name, text, asked in (
        ("one thread", "wall_s", "two workers ÷ one thread, by wall time", True),
        ("one thread", "shared_s", "the same by processor time, on two cores", True),
        ("one thread", "serial_s", "the same as if storing never overlapped", False),
        ("two threads", "wall_s", "two workers ÷ two threads, by wall time", False),
    ):
        ratios = [
            a[name if name == "wall_s" else "cpu_s"] / b[name]
            for a, b in zip(found[other], found["two workers"], strict=True)
        ]
        ratio = statistics.median(ratios)
        limit = f"   asked ≥ {_LEAST}" if asked else ""
        print(f"{text:46}{ratio:6.2f} ×  ({min(ratios):.2f} to {max(ratios):.2f}){limit}")
        met &= not asked or ratio >= _LEAST
    if strict and not met:
        raise SystemExit("the workers are slower than asked")


if __name__ == "__main__":
    main()
