"""Reconstruction on the CPU beside its peers: CPU time, wall time and error.

Run with an environment that has the peers, from the repository's root::

    python -m venv bench && bench/bin/pip install -e . finufft astra-toolbox algotom scikit-image
    bench/bin/python benchmarks/reconstruction.py speed --case 512
    bench/bin/python benchmarks/reconstruction.py speed --case 2048
    bench/bin/python benchmarks/reconstruction.py streaming
    bench/bin/python benchmarks/reconstruction.py axis

All methods get the same sinograms (analytic Shepp-Logan, line integrals averaged over a pixel) and
do their own filtering. RMSE inside 0.95 of the radius. Medians of `--runs`, two threads.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, Reconstructor, find_axis, reconstruct

CASES = {"512": (512, 800, 16), "2048": (2048, 1500, 4), "quick": (256, 400, 8)}
# amplitude, half axes, position, turn in degrees: the modified Shepp-Logan phantom
SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0), (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0), (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0), (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0), (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0), (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)  # fmt: skip
Slices = NDArray[np.float32]


def image(size: int, scale: float = 0.9) -> NDArray[np.float64]:
    radius, middle = size / 2 * scale, np.arange(size) - (size - 1) / 2
    total = np.zeros((size, size))
    for dy in (-0.375, -0.125, 0.125, 0.375):
        for dx in (-0.375, -0.125, 0.125, 0.375):
            x, y = np.meshgrid((middle + dx) / radius, -(middle + dy) / radius)
            for amplitude, a, b, x0, y0, turn in SHEPP_LOGAN:
                c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
                u, v = (x - x0) * c + (y - y0) * s, -(x - x0) * s + (y - y0) * c
                total += amplitude * ((u / a) ** 2 + (v / b) ** 2 <= 1)
    return total / 16


def sinogram(size: int, count: int, center: float | None = None, scale: float = 0.9) -> Slices:
    radius, angles = size / 2 * scale, np.arange(count) * np.pi / count
    place = (size - 1) / 2 if center is None else center
    total = np.zeros((count, size))
    for shift in (-0.375, -0.125, 0.125, 0.375):
        t = ((np.arange(size) - place + shift) / radius)[None]
        for amplitude, a, b, x0, y0, turn in SHEPP_LOGAN:
            seen = angles - np.deg2rad(turn)
            wide = ((a * np.cos(seen)) ** 2 + (b * np.sin(seen)) ** 2)[:, None]
            u = t - (x0 * np.cos(angles) + y0 * np.sin(angles))[:, None]
            total += amplitude * 2 * a * b / wide * np.sqrt(np.maximum(wide - u * u, 0))
    return (total / 4 * radius).astype(np.float32)


def rmse(slice_: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    middle = np.arange(len(truth)) - (len(truth) - 1) / 2
    mask = np.hypot(*np.meshgrid(middle, middle)) <= 0.95 * len(truth) / 2
    return float(np.sqrt(np.mean((slice_ - truth)[mask].astype(np.float64) ** 2)))


def ramp_filtered(stack: Slices) -> Slices:
    """(slice, angle, column), zero padded: the filter that peers without one are given."""
    width = scipy.fft.next_fast_len(2 * stack.shape[2], real=True)
    distance = np.minimum(np.arange(width), width - np.arange(width))
    kernel = np.where(distance % 2 == 1, -1 / (np.pi * np.maximum(distance, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    spectra = scipy.fft.rfft(stack, width, axis=-1, workers=2)
    spectra *= scipy.fft.rfft(kernel).real.astype(np.float32)
    filtered: Slices = scipy.fft.irfft(spectra, width, axis=-1, workers=2)[..., : stack.shape[2]]
    return filtered


def ours(stack: Slices) -> Callable[[], Slices]:
    projections = np.ascontiguousarray(stack.transpose(1, 0, 2))
    settings = ReconstructionSettings(center=(stack.shape[2] - 1) / 2, threads=2)
    return lambda: reconstruct(projections, settings=settings)


def with_finufft(stack: Slices) -> Callable[[], Slices]:
    import finufft

    slices, count, size = stack.shape
    k = np.arange(-(size // 2), size - size // 2)
    angles = np.arange(count) * np.pi / count
    kx = 2 * np.pi / size * k[None] * np.cos(angles)[:, None]
    ky = -2 * np.pi / size * k[None] * np.sin(angles)[:, None]
    plan = finufft.Plan(1, (size, size), eps=1e-3, isign=1, dtype="complex64", nthreads=2)
    plan.setpts(*(np.ascontiguousarray(f.ravel().astype(np.float32)) for f in (ky, kx)))
    phase = np.exp(0.5j * (kx + ky) + 2j * np.pi * k * (size - 1) / 2 / size)
    phase = (phase * np.pi / count / size).astype(np.complex64)

    def run() -> Slices:
        filtered = ramp_filtered(stack)
        pairs = np.empty((slices // 2, count, size), np.complex64)
        pairs.real, pairs.imag = filtered[0::2], filtered[1::2]
        spectra = scipy.fft.fft(pairs, axis=-1, workers=2, overwrite_x=True)
        spectra = np.concatenate(
            [spectra[..., -(size // 2) :], spectra[..., : size - size // 2]], -1
        )
        spectra *= phase
        out = np.empty((slices, size, size), np.float32)
        for pair in range(slices // 2):
            result = plan.execute(spectra[pair].ravel())
            out[2 * pair], out[2 * pair + 1] = result.real, result.imag
        return out

    return run


def with_astra(stack: Slices) -> Callable[[], Slices]:
    import astra

    count, size = stack.shape[1:]
    geometry = astra.create_proj_geom("parallel", 1.0, size, np.arange(count) * np.pi / count)
    volume = astra.create_vol_geom(size, size)
    projector = astra.create_projector("linear", geometry, volume)

    def run() -> Slices:
        filtered = ramp_filtered(stack[:1])
        sino = astra.data2d.create("-sino", geometry, filtered[0].copy())
        result = astra.data2d.create("-vol", volume)
        config = astra.astra_dict("BP")
        config.update(ProjectorId=projector, ProjectionDataId=sino, ReconstructionDataId=result)
        algorithm = astra.algorithm.create(config)
        astra.algorithm.run(algorithm)
        out = astra.data2d.get(result) * np.float32(np.pi / count)
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([sino, result])
        return out[None]

    return run


def with_algotom(stack: Slices) -> Callable[[], Slices]:
    import algotom.rec.reconstruction as rec

    count, size = stack.shape[1:]
    angles = np.arange(count) * np.pi / count
    return lambda: rec.fbp_reconstruction(
        stack[0],
        (size - 1) / 2,
        angles=angles,
        apply_log=False,
        gpu=False,
        ratio=None,
        filter_name=None,
        ncore=2,
    )[None]


def with_scikit_image(stack: Slices) -> Callable[[], Slices]:
    from skimage.transform import iradon

    count = stack.shape[1]
    degrees = np.arange(count) * 180 / count
    return lambda: iradon(stack[0].T, degrees, circle=True).astype(np.float32)[None]


PEERS: dict[str, Callable[[Slices], Callable[[], Slices]]] = {
    "concertino": ours,
    "finufft": with_finufft,
    "astra linear": with_astra,
    "algotom fbp": with_algotom,
    "scikit-image": with_scikit_image,
}


def timed(run: Callable[[], Slices], runs: int) -> tuple[Slices, float, float]:
    run()
    cpu, wall = [], []
    for _ in range(runs):
        begin, used = time.perf_counter(), time.process_time()
        result = run()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - used)
    return result, statistics.median(cpu), statistics.median(wall)


def speed(case: str, runs: int, wanted: list[str]) -> None:
    size, count, slices = CASES[case]
    truth, lines = image(size), sinogram(size, count)
    stack = np.stack([lines * np.float32(1 + 0.01 * i) for i in range(slices)])
    print(f"{slices} slices of {size}², {count} angles; CPU and wall per slice, ms")
    baseline = 0.0
    for name in wanted or list(PEERS):
        try:
            run = PEERS[name](stack)
        except ImportError as missing:
            print(f"{name:14} not installed: {missing}")
            continue
        result, cpu, wall = timed(run, runs if name in ("concertino", "finufft") else 1)
        cpu, wall = cpu / len(result) * 1e3, wall / len(result) * 1e3
        baseline = baseline or cpu
        print(
            f"{name:14} CPU {cpu:9.1f}  wall {wall:9.1f}  RMSE {rmse(result[0], truth):.5f}  "
            f"ours / it {baseline / cpu:.4f}",
            flush=True,
        )


def streaming(runs: int) -> None:
    size, count = 2048, 1500
    lines = sinogram(size, count) / size
    counts = np.round(100 + 50000 * np.exp(-lines)).astype(np.uint16)
    for slices in (1, 3, 4, 16):
        for run in range(runs + 1):
            settings = ReconstructionSettings(center=(size - 1) / 2)
            job = Reconstructor(settings, num_projections=count, frame_shape=(slices, size))
            job.add_darks(np.full((2, slices, size), 100, np.uint16))
            job.add_flats(np.full((2, slices, size), 50100, np.uint16))
            frames = np.repeat(counts[:32, None], slices, axis=1)
            begin = time.perf_counter()
            for start in range(0, count, 32):
                stop = min(start + 32, count)
                frames[: stop - start] = counts[start:stop, None]
                job.add_projections(frames[: stop - start], start)
            last = time.perf_counter()
            result = job.finish()
            end = time.perf_counter()
            if run:
                print(
                    f"{slices:3} slices: {count / (last - begin):7.0f} projections/s, "
                    f"slices {end - last:.3f} s after the last; "
                    f"RMSE {rmse(result.volume[0] * size, image(size)):.5f}",
                    flush=True,
                )


def axis(runs: int) -> None:
    size, count = 2048, 1500
    for center in (1023.5, 1031.37, 980.2):
        lines = sinogram(size, count, center, 0.8)[:, None]
        find_axis(lines)
        begin = time.perf_counter()
        found = find_axis(lines)
        print(
            f"axis at {center}: found {found.center_px:.3f}, confidence {found.confidence:.3f}, "
            f"{time.perf_counter() - begin:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "streaming", "axis"))
    parser.add_argument("--case", choices=tuple(CASES), default="512")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer", action="append", choices=tuple(PEERS), default=[])
    chosen = parser.parse_args()
    if chosen.what == "speed":
        speed(chosen.case, chosen.runs, chosen.peer)
    elif chosen.what == "streaming":
        streaming(chosen.runs)
    else:
        axis(chosen.runs)


if __name__ == "__main__":
    main()
