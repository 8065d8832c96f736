"""What gets later, larger or slower as the work grows: each curve, and whether it is flat or linear.

Each curve is of one thing that grows, in a process of its own: its figures are time, memory or how late the RunEngine's
loop is. What they are told to stay below is printed with them, and the exponent of their growth: 0 is flat, 1 linear.

rate, frames
    Projections of one row at some rate or number: 99 % of the loop's callbacks, asked for every 5 ms, are at most so late
    (ms), and keep the loop's thread busy for so long (ms of processor time, whatever else the machine does).
parts
    Peak of the process that reconstructs a stored scan, over the limit ``memory_gib``, for ever smaller limits.
tomograms
    The same for a scan that is reconstructed again and again.
slices, values
    Processor time of a slice of a batch, and of a value of a sweep of the axis (ms).
devices
    Devices in the baseline of a radiography: the loop's thread is busy for so long at a stretch at most (ms of processor
    time), and checking the baseline's descriptor takes so long (ms). Python's own collection of garbage is left out:
    it looks at all objects of the process whenever it likes.
columns
    Processor time of one slice, over N² log N (ns).

Run ``python benchmarks/growth.py``; ``--large`` for the sizes of a beamtime, ``--only rate parts`` for some curves.
"""

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from concertino_scan import PreparedSource

_PROBE_S = 0.005
Figures = list[tuple[float, dict[str, float]]]


def status(name: str) -> int:
    """Return a figure of this process in bytes."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))


def forget_peak() -> None:
    """Have the peak of this process's memory be counted from now on."""
    Path("/proc/self/clear_refs").write_text("5")


class Loop:
    """How late callbacks of a loop are, and how long its thread is busy between two of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._due_s, self._busy_s = loop, math.inf, 0.0
        self.late_ms: list[float] = []
        self.busy_ms: list[float] = []
        loop.call_soon_threadsafe(self._again)

    def _again(self) -> None:
        now_s, busy_s = self._loop.time(), time.thread_time()
        if self._due_s < math.inf:
            self.late_ms.append(1e3 * (now_s - self._due_s))
            self.busy_ms.append(1e3 * (busy_s - self._busy_s))
        self._due_s, self._busy_s = now_s + _PROBE_S, busy_s
        self._loop.call_at(self._due_s, self._again)

    def figures(self) -> dict[str, float]:
        """Return 99 % of both, and of the last third of the scan over the first."""
        busy = np.array(self.busy_ms)
        third = len(busy) // 3
        first, last = (float(np.percentile(part, 99)) for part in (busy[:third], busy[-third:]))
        return {
            "late_ms": float(np.percentile(self.late_ms, 99)),
            "busy_ms": float(np.percentile(busy, 99)),
            "last_over_first": last / first,
            "memory_mb": status("VmHWM") / 1e6,
        }


class Lit(PreparedSource):
    """Prepared projections, and darks and flats that are darker and brighter than they."""

    def __init__(self, frames: Any, pace_hz: float) -> None:
        super().__init__(frames, pace_hz)
        self._images = {
            "projections": frames,
            "darks": np.full_like(frames[:1], 100),
            "flats": np.full_like(frames[:1], 4000),
        }

    def prepare(self, request: Any, settings: Any) -> None:
        """Serve frames of the kind that is asked for."""
        super().prepare(request, settings)
        self._frames = self._images[request.kind]


def scanned(directory: Path, frames: Any, count: int, rate_hz: float, *, store: bool) -> Loop:
    """Take a tomography of prepared frames."""
    from concertino.callbacks import ImageWriter
    from concertino.devices import Camera, SimulatedBeamline
    from concertino.plans import continuous_tomography
    from concertino.session import open_session

    beamline = SimulatedBeamline(shape=(16, 16))
    camera = Camera(Lit(frames, rate_hz), exposure=0.1 / rate_hz, frame_rate=rate_hz)
    with open_session(directory, progress=False, catalog=False) as session:
        if store:
            session.subscribe(ImageWriter(bytes_per_file=2**28))
        session.require_storage = store
        probe = Loop(session.RE.loop)
        session.RE(
            continuous_tomography(
                camera, beamline.rotation, beamline.beam, beamline.sample_stage, radio_position=0,
                flat_position=20, num_darks=5, num_flats=5, num_projections=count,
                angular_range="180 deg", on_lost="flag",  # a busy computer is no matter here
            )
        )  # fmt: skip
    return probe


def rate(large: bool, directory: Path) -> Figures:
    """Grow frames per second."""
    frames = np.full((16, 1, 256), 3000, np.uint16)
    seconds = 15 if large else 3
    return [
        (hz, scanned(directory, frames, int(hz * seconds), hz, store=False).figures())
        for hz in (500.0, 1000.0, 2000.0, 4000.0)
    ]


def frames(large: bool, directory: Path) -> Figures:
    """Grow frames of a scan, at 4,000 a second."""
    images = np.full((16, 1, 256), 3000, np.uint16)
    counts = (15_000, 30_000, 60_000, 120_000) if large else (4_000, 8_000, 16_000)
    return [
        (count, scanned(directory, images, count, 4000.0, store=False).figures())
        for count in counts
    ]


def stored(directory: Path, size: int, count: int) -> Any:
    """Store a scan of two cylinders, with noise; the axis is in the middle."""
    from concertino.storage import open_run

    place = np.arange(size) - (size - 1) / 2
    chords = sum(
        2 * np.sqrt(np.clip((share * size) ** 2 - place**2, 0, None)) for share in (0.1, 0.3)
    )
    noise = np.random.default_rng(1).integers(0, 100, (16, size, size))
    images = (100 + 3800 * np.exp(-chords / size) + noise).astype(np.uint16)
    scanned(directory, images, count, 200.0, store=True)
    return open_run("scan_0001", directory)


def parts(large: bool, directory: Path) -> Figures:
    """Shrink the limit of memory."""
    from concertino.batch import reconstruct_run
    from concertino.reconstruction import ReconstructionSettings

    size, count = (1024, 800) if large else (512, 200)
    run, found = stored(directory, size, count), Figures()
    for limit in (4.0, 2.0, 1.0) if large else (1.0, 0.6, 0.5):
        forget_peak()
        settings = ReconstructionSettings(center=(size - 1) / 2, memory_gib=limit)
        made = reconstruct_run(run, settings, output="hdf5", directory=directory / "out")
        found.append((made.parts, {"peak_over_limit": status("VmHWM") / (limit * 2**30)}))
    return found


def tomograms(large: bool, directory: Path) -> Figures:
    """Grow the number of reconstructions in one process."""
    from concertino.batch import reconstruct_run
    from concertino.reconstruction import ReconstructionSettings

    settings = ReconstructionSettings(center=255.5, memory_gib=0.75)
    run, found = stored(directory, 512, 200), Figures()
    for number in range(1, 9 if large else 4):
        forget_peak()
        reconstruct_run(run, settings, output="hdf5", directory=directory / "out")
        found.append((number, {"peak_over_limit": status("VmHWM") / (0.75 * 2**30)}))
    return found


def slices(large: bool, directory: Path) -> Figures:
    """Grow the slices of a batch."""
    from concertino.batch import reconstruct_run
    from concertino.reconstruction import ReconstructionSettings

    size, found = (1024 if large else 512), Figures()
    run = stored(directory, size, 400)
    for count in (64, 128, 256):
        settings = ReconstructionSettings(center=(size - 1) / 2, slices=tuple(range(count)))
        began_s = time.process_time()
        reconstruct_run(run, settings, output="hdf5", directory=directory / "out")
        found.append((count, {"ms_each": 1e3 * (time.process_time() - began_s) / count}))
    return found


def values(large: bool, directory: Path) -> Figures:
    """Grow the values of a sweep."""
    from concertino.batch import sweep_run

    size, found = (1024 if large else 512), Figures()
    run, middle = stored(directory, size, 400), (size - 1) / 2
    for count in (16, 32, 64):
        began_s = time.process_time()
        region = (middle - 8, middle + 8, 16 / count)
        sweep_run(run, "center", region, directory=directory / "out")
        found.append((count, {"ms_each": 1e3 * (time.process_time() - began_s) / count}))
    return found


def columns(large: bool, directory: Path) -> Figures:
    """Grow the width of one slice."""
    from concertino.reconstruction import ReconstructionSettings, Reconstructor

    found: Figures = []
    warm = Reconstructor(ReconstructionSettings(center=8), num_projections=4, frame_shape=(1, 16))
    warm.add_projections(np.ones((4, 1, 16), np.float32), 0)
    warm.finish()  # its compiled code is loaded
    for size in (1024, 2048, 4096, 8192, 16384) if large else (512, 1024, 2048):
        rows = np.random.default_rng(0).random((64, 1, size), np.float32)
        made = Reconstructor(
            ReconstructionSettings(center=(size - 1) / 2), num_projections=64, frame_shape=(1, size)
        )
        began_s = time.process_time()
        made.add_projections(rows, 0)
        made.finish()
        spent_s = time.process_time() - began_s
        found.append((size, {"ns": 1e9 * spent_s / (size**2 * math.log2(size))}))
    return found


def devices(large: bool, directory: Path) -> Figures:
    """Grow the baseline."""
    import gc

    import event_model

    from concertino.devices import SimulatedBeamline, SimulatedMotor
    from concertino.plans import radiography
    from concertino.session import open_session

    kind, found = event_model.DocumentNames.descriptor, Figures()
    for count in (50, 100, 200, 400) if large else (50, 200):
        beamline = SimulatedBeamline(shape=(16, 16))
        motors = [
            SimulatedMotor("mm", velocity=1.0, max_velocity=5.0, name=f"m{number}")
            for number in range(count)
        ]
        described: list[Any] = []
        with open_session(directory, progress=False, catalog=False, baseline=motors) as session:
            session.require_storage = False
            session.subscribe(lambda _, document: described.append(document), "descriptor")  # noqa: B023
            for _ in range(2):  # The first run of a process loads what it needs.
                gc.collect()
                gc.disable()
                probe = Loop(session.RE.loop)
                session.RE(
                    radiography(
                        beamline.camera, beamline.beam, beamline.sample_stage, radio_position=0,
                        flat_position=10, num_darks=1, num_flats=1, num_projections=3,
                    )
                )  # fmt: skip
                gc.enable()
        baseline = max(described, key=lambda document: len(document["data_keys"]))
        began_s = time.thread_time()
        event_model.schema_validators[kind].validate(baseline)
        checked_s = time.thread_time() - began_s
        found.append((count, {"busy_ms": max(probe.busy_ms), "check_ms": 1e3 * checked_s}))
    return found


CURVES: dict[str, tuple[Callable[[bool, Path], Figures], dict[str, float]]] = {
    "rate": (rate, {"late_ms": 20.0}),
    "frames": (frames, {"late_ms": 20.0, "last_over_first": 1.5}),
    "parts": (parts, {"peak_over_limit": 1.1}),
    "tomograms": (tomograms, {"peak_over_limit": 1.1}),
    "slices": (slices, {}),
    "values": (values, {}),
    "devices": (devices, {"busy_ms": 30.0}),
    "columns": (columns, {}),
}


def exponent(sizes: Sequence[float], figures: Sequence[float]) -> float:
    """Return the power of the size with which a figure grows."""
    if len(set(sizes)) < 2 or min(figures) <= 0:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(figures), 1)[0])


def said(name: str, found: Figures) -> bool:
    """Print a curve; return whether it stays below what it must."""
    good = True
    for figure in found[0][1]:
        sizes, each = [size for size, _ in found], [figures[figure] for _, figures in found]
        power = exponent(sizes, each)
        kind = "flat" if abs(power) < 0.25 else "linear" if abs(power - 1) < 0.25 else "between"
        bar = CURVES[name][1].get(figure)
        missed = bar is not None and max(each) > bar
        good &= not missed
        told = "" if bar is None else f"  wanted {bar:g}{': MISSED' if missed else ''}"
        curve = "  ".join(f"{size:g}: {value:.3g}" for size, value in zip(sizes, each, strict=True))
        print(f"{name:10} {figure:16} {kind:8} N^{power:5.2f}   {curve}{told}", flush=True)
    return good


def main() -> None:
    """Draw the curves, each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="the sizes of a beamtime")
    parser.add_argument("--only", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument("--strict", action="store_true", help="fail when a bar is missed")
    parser.add_argument("--curve", choices=list(CURVES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.curve:
        with tempfile.TemporaryDirectory() as directory:
            found = CURVES[arguments.curve][0](arguments.large, Path(directory))
        print(json.dumps(found))
        return
    good = True
    for name in arguments.only:
        command = [sys.executable, __file__, "--curve", name, *(["--large"] * arguments.large)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name:10} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
            good = False
            continue
        good &= said(
            name, [(size, figures) for size, figures in json.loads(done.stdout.splitlines()[-1])]
        )
    if arguments.strict and not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
