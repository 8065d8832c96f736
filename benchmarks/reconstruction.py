"""Reconstruction on the CPU: speed beside its peers, error, streaming, scaling, memory, start.

Peers need an environment that has them; everything else needs Concertino alone::

    python -m venv bench && bench/bin/pip install -e . finufft astra-toolbox algotom scikit-image
    bench/bin/python benchmarks/reconstruction.py --only speed-512 speed-2048
    python benchmarks/reconstruction.py            # all parts, some minutes
    python benchmarks/reconstruction.py --list

Each part prints what was measured, what is asked, and whether it was met; ``--json`` keeps it. All
methods get the same sinograms (analytic Shepp-Logan, line integrals averaged over a pixel) and do their
own filtering. RMSE inside 0.95 of the radius. Two threads; medians of ``--runs``.
"""

# ruff: noqa: E402 - threads are set before numpy is loaded

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

import h5py
import numpy as np
from phantoms import (
    Slices,
    image,
    rmse,
    sinogram,
    smooth_image,
    smooth_sinogram,
    sphere_cone,
    sphere_image,
)

from concertino.frames import FrameStream, subscribe
from concertino.reconstruction import (
    ReconstructionSettings,
    Reconstructor,
    backends,
    find_axis,
    reconstruct,
)
from concertino.storage import sample_path

CASES = {512: (800, 16), 2048: (1500, 4)}  # angles, slices
MOST = {  # of our CPU time over a peer's
    (512, "finufft"): 0.45, (512, "astra linear"): 1 / 80,
    (2048, "finufft"): 0.65, (2048, "astra linear"): 1 / 300,
}  # fmt: skip
TOOTH_CROP = 80  # columns that the packaged sample lacks at the left
FOUND: list[dict[str, Any]] = []


def say(what: str, value: float, unit: str = "", most: float = np.inf, least: float = 0) -> None:
    """Print and keep a figure, and whether it is within what is asked."""
    asked = f"≤ {most:.4g}" if most < np.inf else f"≥ {least:.4g}" if least else ""
    met = bool(not asked or least <= value <= most)
    FOUND.append({"what": what, "value": float(value), "unit": unit, "asked": asked, "met": met})
    verdict = f"   asked {asked} {'met' if met else 'MISSED'}" if asked else ""
    print(f"{what:64}{value:11.5g} {unit:8}{verdict}", flush=True)


def timed(run: Callable[[], Any], runs: int) -> tuple[Any, float, float]:
    """Return the last result, and the medians of CPU and wall time in seconds; the first is not counted."""
    result = run()
    cpu, wall = [], []
    for _ in range(runs):
        begin, used = time.perf_counter(), time.process_time()
        result = run()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - used)
    return result, statistics.median(cpu), statistics.median(wall)


def speed(size: int, runs: int) -> None:
    """CPU time of slices from a stack of sinograms, beside peers."""
    from reconstruction_peers import PEERS

    count, slices = CASES[size]
    stack = np.stack([sinogram(size, count) * np.float32(1 + 0.01 * i) for i in range(slices)])
    truth, label = image(size), f"{slices} × {size}², {count} angles"
    projections = np.ascontiguousarray(stack.transpose(1, 0, 2))
    settings = ReconstructionSettings(center=(size - 1) / 2, threads=2)
    result, ours, wall = timed(lambda: reconstruct(projections, settings=settings), runs)
    say(f"{label}: CPU a slice", ours / slices * 1e3, "ms")
    say(f"{label}: wall a slice", wall / slices * 1e3, "ms")
    say(f"{label}: RMSE", rmse(result[0], truth))
    for name, peer in PEERS.items():
        try:
            run = peer(stack)
        except ImportError as missing:
            print(f"{name} is not installed: {missing}")
            continue
        result, cpu, _ = timed(run, runs if name == "finufft" else 1)
        cpu /= len(result)
        say(f"{label}: {name}, CPU a slice", cpu * 1e3, "ms")
        say(f"{label}: {name}, RMSE", rmse(result[0], truth))
        ratio = ours / slices / cpu
        say(f"{label}: ours ÷ {name}", ratio, "", MOST.get((size, name), np.inf))


def error(_runs: int) -> None:
    """Error of whole slices against the phantom, wherever the axis is.

    An axis between pixels changes the data themselves, whose pixels no longer mirror each other: there the
    textbooks' sums in double precision, with the same data, are the measure.
    """
    sys.path.insert(0, str(HERE.parent))
    from tests.reconstruction.oracle import plain_slice

    for size, count, most in ((512, 800, 0.0135), (2048, 1500, 0.0071)):
        truth = image(size)
        for shift in (0.0, 0.25, 0.5, 0.37, -10.81):
            center = (size - 1) / 2 + shift
            lines = sinogram(size, count, center)
            settings = ReconstructionSettings(center=center)
            found = rmse(reconstruct(lines[:, None], settings=settings)[0], truth)
            asked = np.inf if shift else most
            say(f"Shepp-Logan {size}², axis {shift:+.2f} px: RMSE", found, "", asked)
            if size == 512:
                plain = rmse(plain_slice(lines, np.arange(count) * np.pi / count, center), truth)
                say(
                    f"Shepp-Logan {size}², axis {shift:+.2f} px: ÷ plain sums", found / plain, "", 1
                )
        smooth = smooth_image(size)
        for shift in (0.0, 0.25, 0.37, 0.5, -10.81):
            center = (size - 1) / 2 + shift
            lines = smooth_sinogram(size, count, center)[:, None]
            slice_ = reconstruct(lines, settings=ReconstructionSettings(center=center))[0]
            say(f"smooth {size}², axis {shift:+.2f} px: RMSE", rmse(slice_, smooth), "", 5e-5)


def backprojection(runs: int) -> None:
    """Updates a second and core of parallel-beam back projection, which makes planes: the kernel."""
    from concertino.reconstruction.kernels._aligned import aligned_zeros
    from concertino.reconstruction.kernels._pixel_backprojection import accumulate

    size, count = 512, 800
    angles = np.arange(count) * np.pi / count
    lines = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for slices, least in ((16, 7.0), (32, 9.0)):
        rows = aligned_zeros((count, 2 * size, slices))
        rows[:] = np.random.default_rng(1).random((2 * size, slices), np.float32)
        grid, lanes = aligned_zeros((size, size, slices)), (0,) * slices
        origin = size + (size - 1) / 2 * (lines[:, 1] - lines[:, 0])

        def half(first: int, rows: Any = rows, origin: Any = origin, grid: Any = grid,
                 lanes: Any = lanes) -> None:  # fmt: skip
            accumulate(rows, lines, origin, (1.0, 1.0), grid, first, first + size // 2, lanes)

        def run(half: Callable[[int], None] = half) -> None:
            workers = [threading.Thread(target=half, args=(i,)) for i in (0, size // 2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

        _, cpu, _ = timed(run, runs)
        updates = slices * size * size * count / 1e9
        say(f"back projection, {slices} × {size}², kernel", updates / cpu, "GUPS", least=least)


GENERAL: dict[str, dict[str, Any]] = {
    "laminography 30°": {"axis_angle_x": np.deg2rad(30.0)},
    "cone beam": {"source_distance": 1500.0, "detector_distance": 300.0},
    "helix": {"detector_z": 1.5},
    "axis rolled by 0.3°": {"axis_angle_y": np.deg2rad(0.3)},
    "axis rolled by 3°, tilted by 10°": {"axis_angle_y": 0.05, "axis_angle_x": 0.17},
    "cone beam, axis tilted by 3°": {"source_distance": 1500.0, "axis_angle_x": 0.05},
}


class KernelTime:
    """Processor time that all threads spend in the compiled back projection while the block runs."""

    def __init__(self) -> None:
        from concertino.reconstruction.kernels import _voxel_backprojection as _trace

        self.seconds = 0.0
        self._lock = threading.Lock()
        self._module, self._kernel = _trace, _trace.trace

    def __enter__(self) -> "KernelTime":
        self._module.trace = self._timed
        return self

    def __exit__(self, *_error: object) -> None:
        self._module.trace = self._kernel

    def _timed(self, *arguments: Any) -> None:
        begin = time.thread_time()
        self._kernel(*arguments)
        with self._lock:
            self.seconds += time.thread_time() - begin


def general(runs: int) -> None:
    """Updates a second and core in general geometry: the kernel, with filtering, and one oblique plane."""
    size, count = 256, 180
    angles = np.arange(count) * 2 * np.pi / count
    stack = np.repeat(sinogram(size, count)[:, None], size, axis=1)
    updates = size**3 * count / 1e9
    for name, geometry in GENERAL.items():
        settings = ReconstructionSettings(center=(size - 1) / 2, threads=2, **geometry)
        kernel: list[float] = []

        def run(s: ReconstructionSettings = settings, kernel: list[float] = kernel) -> Slices:
            with KernelTime() as spent:
                volume = reconstruct(stack, angles, settings=s)
            kernel.append(spent.seconds)
            return volume

        _, cpu, _ = timed(run, max(1, runs // 2))
        label = f"{name}, {size}³, {count} angles"
        say(f"{label}: kernel", updates / statistics.median(kernel[1:]), "GUPS", least=1.5)
        say(f"{label}: with filtering", updates / cpu, "GUPS")
    settings = ReconstructionSettings(
        center=(size - 1) / 2, threads=2, volume_angle_x=0.7, region=(127.5, 128.0, 1.0)
    )
    _, cpu, wall = timed(lambda: reconstruct(stack, angles, settings=settings), runs)
    say(f"oblique plane, {size}², {count} angles, filtering included: wall", wall * 1e3, "ms")


def cone(_runs: int) -> None:
    """Cone beam: spheres whose projections are known."""
    size, count, source, detector = 256, 400, 1200.0, 200.0
    angles = np.arange(count) * 2 * np.pi / count
    lines = sphere_cone(size, angles, source, source + detector)
    settings = ReconstructionSettings(
        center=(size - 1) / 2, source_distance=source, detector_distance=detector,
        slices=(100, 125, 150), x_region=(-100.0, 100.0, 1.0), y_region=(-100.0, 100.0, 1.0),
    )  # fmt: skip
    volume = reconstruct(lines, angles, settings=settings)
    for row, slice_ in zip((100, 125, 150), volume, strict=True):
        truth = sphere_image(201, (size - 1) / 2 - row)[:200, :200]
        inside = np.hypot(*np.meshgrid(np.arange(200) - 100, np.arange(200) - 100)) < 90
        blurred = np.sqrt(np.mean((slice_ - truth)[inside] ** 2))
        say(f"cone beam, spheres, row {row}: RMSE", float(blurred), "", 0.03)


def counted(size: int, count: int, slices: int) -> Slices:
    """Frames of counts as a camera gives them (projection, row, column)."""
    counts = np.round(100 + 50000 * np.exp(-sinogram(size, count) / size)).astype(np.uint16)
    return np.repeat(counts[:, None], slices, axis=1)


def streaming(runs: int) -> None:
    """Frames published on a frame stream, taken from it and reconstructed meanwhile."""
    size, count = 2048, 1500
    truth = image(size)
    for slices in (1, 3, 4, 16):
        frames = counted(size, count, slices)
        rates, delays, previews = [], [], []
        for run in range(runs + 1):
            settings = ReconstructionSettings(center=(size - 1) / 2)
            looked = slices == 16 and run == runs  # once, and not counted
            job = Reconstructor(
                settings, num_projections=count, frame_shape=(slices, size),
                keep_rows="planes" if looked else "needed",
            )  # fmt: skip
            job.add_darks(np.full((2, slices, size), 100, np.uint16))
            job.add_flats(np.full((2, slices, size), 50100, np.uint16))
            with FrameStream(shape=(slices, size), dtype="u2", ring_bytes=2**25) as stream:
                reader = subscribe(stream.address, name="reconstruction")

                def publish(stream: FrameStream = stream, frames: Slices = frames) -> None:
                    for first in range(0, count, 4):
                        stream.publish(frames[first : first + 4])

                camera = threading.Thread(target=publish)
                begin = time.perf_counter()
                camera.start()
                taken = 0
                while taken < count:
                    batch = reader.read()
                    job.add_projections(batch.frames, batch.start)
                    reader.acknowledge(batch.stop)
                    taken = batch.stop
                    if looked and taken > 300 * (len(previews) + 1):
                        shown = time.perf_counter()
                        job.planes()
                        previews.append(time.perf_counter() - shown)
                last = time.perf_counter()
                result = job.finish()
                end = time.perf_counter()
                camera.join()
                reader.finish()
                stream.end().check()
            if run and not looked:
                rates.append(count / (last - begin))
                delays.append(end - last)
        label = f"stream, {size} px, {count} angles, {slices} slices"
        asked = 1500 if slices == 16 else 0
        say(f"{label}: projections taken", statistics.median(rates), "1/s", least=asked)
        most = 1.0 if slices == 16 else 0.25
        say(f"{label}: finished after the last", statistics.median(delays), "s", most)
        say(f"{label}: RMSE", rmse(result.volume[0] * size, truth))
        if previews:
            say(f"{label}: first look at three planes", previews[0] * 1e3, "ms", 100)
            say(f"{label}: later looks, longest", max(previews[1:]) * 1e3, "ms", 100)


def scaling(runs: int) -> None:
    """Time over slices and over width, beside what is expected."""
    size, count, times = 512, 800, {}
    for slices in (8, 16, 32, 64, 128):
        stack = np.repeat(sinogram(size, count)[:, None], slices, axis=1)
        settings = ReconstructionSettings(center=(size - 1) / 2, threads=2)
        run = lambda s=stack, t=settings: reconstruct(s, settings=t)  # noqa: E731
        _, times[slices], _ = timed(run, min(runs, 3))
        say(f"{slices} slices of {size}²: CPU a slice", times[slices] / slices * 1e3, "ms")
    say("128 slices ÷ 16 slices, a slice", times[128] / times[16] / 8, "", 1.15)
    costs = {}
    for size in (256, 512, 1024, 2048):
        count, slices = size * 3 // 4, 8
        stack = np.repeat(sinogram(size, count)[:, None], slices, axis=1)
        settings = ReconstructionSettings(center=(size - 1) / 2, threads=2)
        run = lambda s=stack, t=settings: reconstruct(s, settings=t)  # noqa: E731
        _, cpu, _ = timed(run, min(runs, 3))
        costs[size] = cpu / slices / (size**2 * np.log2(size))
        say(f"{size}², {count} angles: CPU a slice ÷ N² log₂ N", costs[size] * 1e9, "ns")
    say("2048² ÷ 512²", costs[2048] / costs[512], "", 1.5)


MEMORY_PROGRAM = """
import json, sys
import numpy as np
from concertino.reconstruction import ReconstructionSettings, Reconstructor
case = json.loads(sys.argv[1])
def peak():
    # not ru_maxrss, which is handed down from the process that started this one
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
def job(rows, columns, count, settings):
    made = Reconstructor(settings, num_projections=count, frame_shape=(rows, columns))
    made.add_darks(np.full((1, rows, columns), 100, np.uint16))
    made.add_flats(np.full((1, rows, columns), 50100, np.uint16))
    frames = np.full((4, rows, columns), 30000, np.uint16)
    for first in range(0, count, 4):
        made.add_projections(frames[: min(4, count - first)], first)
    return made, made.finish()
job(8, 64, 32, ReconstructionSettings(center=31.5, threads=2, **case["geometry"]))
before = peak()
settings = ReconstructionSettings(center=case["columns"] / 2 - 0.5, threads=2, **case["geometry"])
made, result = job(case["rows"], case["columns"], case["count"], settings)
print(json.dumps({"peak": peak() - before, "all": peak(), "expected": made.memory_bytes}))
"""


def memory(_runs: int) -> None:
    """Peak memory of a fresh process beside the documented formula."""
    lamino = {"axis_angle_x": 0.3}
    for name, rows, columns, count, geometry in (
        ("16 slices of 2048²", 16, 2048, 1500, {}),
        ("256 slices of 1024²", 256, 1024, 750, {}),
        ("laminography, 256³", 256, 256, 360, lamino),
        ("laminography, 512³", 512, 512, 60, lamino),
        ("1024³", 1024, 1024, 800, {}),
    ):
        case = {"rows": rows, "columns": columns, "count": count, "geometry": geometry}
        done = subprocess.run(
            [sys.executable, "-c", MEMORY_PROGRAM, json.dumps(case)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        heard = json.loads(done.stdout)
        say(f"{name}, {count} angles: peak above the empty process", heard["peak"] / 2**30, "GiB")
        ratio = heard["peak"] / heard["expected"]
        say(f"{name}, {count} angles: measured ÷ formula", ratio, "", 1.1, 0.9)
        if name == "1024³":
            say(f"{name}: whole process", heard["all"] / 2**30, "GiB", 12.0)


START_PROGRAM = """
import sys, time
import numpy as np
from concertino.reconstruction import ReconstructionSettings, reconstruct
begin = time.perf_counter()
lines = np.ones((400, 8, 512), np.float32)
reconstruct(lines, settings=ReconstructionSettings(center=255.5))
print(time.perf_counter() - begin)
"""


def start(runs: int) -> None:
    """The first slices of a fresh process, with compiled code on disk and without."""
    with tempfile.TemporaryDirectory() as directory:
        environment = os.environ | {"NUMBA_CACHE_DIR": directory}

        def once() -> tuple[float, str]:
            done = subprocess.run(
                [sys.executable, "-c", START_PROGRAM],
                check=True, capture_output=True, text=True, env=environment,
            )  # fmt: skip
            return float(done.stdout), done.stderr

        cold, message = once()
        say("first 8 slices of a fresh process, nothing cached", cold, "s", 15)
        print(f"    it said: {message.strip()!r}")
        warm = [once()[0] for _ in range(runs)]
        say("first 8 slices of a fresh process, cached", statistics.median(warm), "s", 1.5)


def axis(_runs: int) -> None:
    """The rotation axis from one row of projections."""
    size, count = 2048, 1500
    for center in (1023.5, 1031.37, 980.2):
        lines = sinogram(size, count, center, 0.8)[:, None]
        find_axis(lines)
        begin = time.perf_counter()
        found = find_axis(lines)
        taken = time.perf_counter() - begin
        say(f"axis at {center}: error", abs(found.center_px - center), "px", 0.25)
        say(f"axis at {center}: confidence", found.confidence)
        say(f"axis at {center}: time", taken, "s", 0.5)
    with h5py.File(sample_path()) as file:
        group = file["exchange"]
        counts, darks, flats = (group[name][()] for name in ("data", "data_dark", "data_white"))
        angles = np.deg2rad(group["theta"][()])
    begin = time.perf_counter()
    found = find_axis(counts, angles, darks=darks, flats=flats)
    say("axis of the tooth: time", time.perf_counter() - begin, "s", 0.5)
    say("axis of the tooth: column in the whole scan", found.center_px + TOOTH_CROP, "px")
    say("axis of the tooth: confidence", found.confidence)


def back_ends(runs: int) -> None:
    """Slices by each back end that is here: time, and the difference from `cpu`; `ufo` on what it finds."""
    for size, slices in ((512, 16), (2048, 1)):
        count = CASES[size][0]
        lines = sinogram(size, count)[:, None]
        stack = np.ascontiguousarray(np.repeat(lines, slices, axis=1))
        truth, label = image(size), f"{slices} × {size}², {count} angles"
        settings = ReconstructionSettings(center=(size - 1) / 2, threads=2)
        first = None
        held = backends()  # UFO's process stays
        for backend in held:
            if not backend.available:
                print(f"{backend.name}: {backend.reason}")
                continue
            mine = settings.updated(backend=backend.name)
            run = lambda s=stack, t=mine: reconstruct(s, settings=t)  # noqa: E731
            begin = time.perf_counter()
            run()
            first_s = time.perf_counter() - begin
            result, _, wall = timed(run, min(runs, 2) if backend.name != "cpu" else runs)
            where = f"{label}: {backend.name} on {', '.join(backend.devices)}"
            say(f"{where}, first time", first_s, "s")
            say(f"{where}, wall a slice", wall / slices * 1e3, "ms")
            say(f"{where}, RMSE", rmse(result[0], truth))
            if first is None:
                first = result[0]
            spread = float(truth.std())
            most = 0.01 if backend.name == "ufo" else np.inf
            say(f"{where}, difference from cpu", rmse(result[0], first) / spread, "", most)


PARTS: dict[str, Callable[[int], None]] = {
    "speed-512": lambda runs: speed(512, runs),
    "speed-2048": lambda runs: speed(2048, runs),
    "error": error,
    "backends": back_ends,
    "backprojection": backprojection,
    "general": general,
    "cone": cone,
    "streaming": streaming,
    "scaling": scaling,
    "memory": memory,
    "axis": axis,
    "start": start,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--list", action="store_true", help="say what the parts are")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "reconstruction.json")
    chosen = parser.parse_args()
    if chosen.list:
        for name, part in PARTS.items():
            print(f"{name:16}{part.__doc__ or speed.__doc__}")
        return
    for name in chosen.only:
        print(f"— {name}")
        PARTS[name](chosen.runs)
    chosen.json.parent.mkdir(exist_ok=True)
    chosen.json.write_text(json.dumps(FOUND, indent=1))


if __name__ == "__main__":
    main()
