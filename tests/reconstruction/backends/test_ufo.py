"""UFO's process: how it starts and ends, and what is said when it does so by itself."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from concertino import ReconstructionError
from concertino.reconstruction import ReconstructionSettings, Reconstructor, backends, reconstruct
from concertino.reconstruction.backends._ufo_process import SharedMemory, UfoProcess
from concertino.storage import sample_path
from tests.reconstruction.phantoms import (
    blobs_image,
    blobs_sinogram,
    difference,
    shepp_logan_sinogram,
)

from .available import need_backend

SIZE, COUNT = 128, 180
ANGLES = np.arange(COUNT) * np.pi / COUNT
LINES = blobs_sinogram(SIZE, ANGLES, 62.3)[:, None].astype(np.float32)
SETTINGS = ReconstructionSettings(center=62.3, backend="ufo")


@pytest.fixture
def process() -> Iterator[UfoProcess]:
    """UFO's process, as all reconstructions of this test share it."""
    need_backend("ufo")
    shared = UfoProcess.shared()
    shared.devices()
    yield shared
    shared.close()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _gone(pid: int, within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not _alive(pid)


def _kill_when_asked(process: UfoProcess, pid: int) -> None:
    """Wait until a stopped process has something to do, and kill it."""
    waited = 0
    while waited < 20:
        waited = waited + 1 if process._lock.locked() else 0
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


def _check_that_it_works() -> None:
    slice_ = reconstruct(LINES, ANGLES, settings=SETTINGS)[0]
    assert difference(slice_, blobs_image(SIZE), 0.85) < 0.01


def test_a_killed_process_is_an_error_that_says_so_and_the_next_one_works(
    process: UfoProcess,
) -> None:
    job = Reconstructor(SETTINGS, num_projections=COUNT, frame_shape=(1, SIZE), angles=ANGLES)
    job.add_projections(LINES, 0)
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # so that it cannot be done before it is killed
    threading.Thread(target=_kill_when_asked, args=(process, pid)).start()
    with pytest.raises(
        ReconstructionError,
        match=r"UFO's process ended by SIGKILL while it reconstructed 1 slices of 128 x 128 px from "
        r"180 projections on .+; its last words: .*The next reconstruction starts a new one; when it "
        "happens again, use backend='cpu'",
    ):
        job.finish()
    again = job.finish()  # the projections are still there
    assert difference(again.volume[0], blobs_image(SIZE), 0.85) < 0.01
    assert process.pid not in (None, pid)
    _check_that_it_works()


def test_an_abort_of_ufo_is_an_error_with_its_last_words(process: UfoProcess) -> None:
    if process.devices()[1]:
        pytest.skip("a GPU has the device images that PoCL lacks")
    pid = process.pid
    memory = SharedMemory(4 * 64 * 64)
    place = {"width": 64, "height": 64, "bitdepth": 32, "number": 1, "pointer": 0}
    texture = _graph(
        ("memory-in", place), ("backproject", {"mode": 1, "axis-pos": 32.0}),
        ("memory-out", {"pointer": 0, "max-size": memory.size}),
    )  # fmt: skip
    with pytest.raises(ReconstructionError) as caught:
        process.run(texture, memory, "it did what PoCL cannot", 60.0)
    message = str(caught.value)
    assert "ended by SIG" in message
    assert "while it did what PoCL cannot on pthread" in message
    assert "CL_" in message.split("last words:")[1], "UFO names OpenCL's error before it aborts"
    assert pid is not None
    assert _gone(pid)
    _check_that_it_works()


def test_a_graph_that_ufo_refuses(process: UfoProcess) -> None:
    memory = SharedMemory(4096)
    with pytest.raises(
        ReconstructionError, match=r"UFO refused while it tried on .*no-such-task.*backend='cpu'"
    ):
        process.run(_graph(("no-such-task", {})), memory, "it tried", 60.0)
    _check_that_it_works()


def test_a_process_that_hangs_is_ended(process: UfoProcess) -> None:
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ReconstructionError, match="UFO did not answer for 1 s and was ended"):
        process.run(_graph(), SharedMemory(4096), "it slept", 1.0)
    assert _gone(pid)
    _check_that_it_works()


def test_the_process_ends_with_the_last_who_needs_it() -> None:
    need_backend("ufo")
    jobs = [Reconstructor(SETTINGS, num_projections=9, frame_shape=(1, SIZE)) for _ in range(2)]
    pid = UfoProcess.shared().pid
    assert pid is not None
    del jobs[0]
    gc.collect()
    assert _alive(pid)
    jobs.clear()
    gc.collect()
    assert _gone(pid)


PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.reconstruction.backends._ufo_process import UfoProcess
job = Reconstructor(
    ReconstructionSettings(center=62.3, backend="ufo"), num_projections=180, frame_shape=(1, 128)
)
job.add_projections(np.ones((180, 1, 128), np.float32), 0)
pid = UfoProcess.shared().pid
print(pid, flush=True)
end = sys.argv[1]
if end == "exit":
    job.finish()
    sys.exit()
threading.Timer(1.0, os.kill, (os.getpid(), getattr(signal, end))).start()
if end == "SIGINT":
    os.kill(pid, signal.SIGSTOP)
try:
    while True:
        job.finish()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("end", ["exit", "SIGKILL", "SIGTERM", "SIGINT"])
def test_the_process_is_never_left_behind(end: str) -> None:
    need_backend("ufo")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, end],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert _gone(int(done.stdout.split()[0])), done.stderr
    assert ("interrupted" in done.stdout) == (end == "SIGINT")


def test_a_forked_process_has_one_of_its_own(process: UfoProcess) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # in the fork: no pytest any more
        try:
            other = UfoProcess.shared()
            other.devices()
            os.write(writing, str(other.pid).encode())
            other.close()
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        assert int(answer.read()) != process.pid
    _check_that_it_works()


def test_without_a_device_it_says_what_to_install(tmp_path: Path) -> None:
    """The loader of OpenCL is told to look for drivers in an empty directory."""
    need_backend("ufo")
    program = (
        "from concertino.reconstruction import *\n"
        "print(next(b for b in backends() if b.name == 'ufo'))\n"
        "print(Reconstructor(ReconstructionSettings(), num_projections=8, frame_shape=(1, 8)).backend)\n"
        "Reconstructor(ReconstructionSettings(backend='ufo'), num_projections=8, frame_shape=(1, 8))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        env=os.environ | {"OCL_ICD_VENDORS": str(tmp_path)},
    )  # fmt: skip
    found, automatic = done.stdout.splitlines()
    assert (
        "available=False, reason='OpenCL has no device. Install it, on Debian: apt install" in found
    )
    assert "name='cpu', available=True" in automatic
    assert (
        "ReconstructionError: backend: 'ufo' is not available here: OpenCL has no device. Install it, on Debian: "
        "apt install libufo1 libufo-data ufo-filters ufo-filters-data, and pocl-opencl-icd or the "
        "OpenCL driver of a GPU. Use it where it is, or use backend='cpu'."
    ) in done.stderr


def _blobs() -> tuple[Any, float]:
    return blobs_sinogram(512, np.arange(800) * np.pi / 800, 250.7), 250.7


def _shepp_logan() -> tuple[Any, float]:
    return shepp_logan_sinogram(512, np.arange(800) * np.pi / 800, 250.7), 250.7


def _noise() -> tuple[Any, float]:
    """As much at the highest frequency as at the lowest: nothing is harder."""
    return np.random.default_rng(3).normal(size=(400, 256)), 127.5


def _tooth() -> tuple[Any, float]:
    """A real scan, as it is: 181 projections, noise and rings."""
    with h5py.File(sample_path()) as file:
        data = {name: file[f"exchange/{name}"][:, 0].astype(float) for name in _DATASETS}
    flat, dark = data["data_white"].mean(axis=0), data["data_dark"].mean(axis=0)
    through = (data["data"] - dark) / np.maximum(flat - dark, 1)
    return -np.log(np.clip(through, 1e-3, None)), 215.87


_DATASETS = ("data", "data_white", "data_dark")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scan", "most"),
    [(_blobs, 0.0005), (_shepp_logan, 0.002), (_tooth, 0.003), (_noise, 0.008)],
)
def test_it_agrees_with_the_processor_within_one_percent(
    process: UfoProcess, scan: Any, most: float
) -> None:
    lines, center = scan()
    angles = np.arange(len(lines)) * np.pi / len(lines)
    settings = ReconstructionSettings(center=center)
    stack = lines[:, None].astype(np.float32)
    cpu = reconstruct(stack, angles, settings=settings)[0]
    ufo = reconstruct(stack, angles, settings=settings.updated(backend="ufo"))[0]
    assert difference(ufo, cpu, 0.95) < most


def _graph(*tasks: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A chain of tasks."""
    names = [f"{place}" for place in range(len(tasks))]
    return {
        "nodes": [
            {"name": name, "plugin": plugin, "properties": properties}
            for name, (plugin, properties) in zip(names, tasks, strict=True)
        ],
        "edges": [
            {"from": {"name": one}, "to": {"name": other, "input": 0}}
            for one, other in itertools.pairwise(names)
        ],
    }


def test_the_back_ends_are_told_in_order_of_preference() -> None:
    found = backends()
    assert [backend.name for backend in found] == ["cpu", "ufo", "astra"]
    assert found[0].geometries == ("parallel", "general")
    assert all(backend.reason for backend in found)
