"""nabu, from an environment of its own, reconstructs an exported scan as it is.

Its installation takes two minutes, 700 MB and a C++ compiler (g++), so it is asked for, and CI does not:
``CONCERTINO_REQUIRE=nabu pytest tests/storage/export/test_nabu.py``.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.batch import reconstruct_run
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import step_tomography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import open_session
from concertino.simulation import Beam, Detector, Twin, ellipsoid_foam
from concertino.storage import export_nxtomo, open_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "nabu" not in os.environ.get("CONCERTINO_REQUIRE", ""),
        reason="installs nabu, which takes minutes: CONCERTINO_REQUIRE=nabu asks for it",
    ),
]
SHAPE, ROW, PIXEL_MM = (48, 256), 24, 0.005
FULL_PX, HALF_PX = 130.75, 60.25  # columns of the axis
NABU = "nabu==2026.1.2"
# Its back projection on a CPU: OpenCL, and an FFT that is built against OpenCL's headers.
OPENCL = ("pyopencl", "pocl-binary-distribution", "nvidia-cuda-opencl-cu12")
INSTALL_S, RUN_S = 420, 200


@pytest.fixture(scope="module")
def nabu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which ``nabu`` runs."""
    home = tmp_path_factory.mktemp("nabu")
    python = home / "venv" / "bin" / "python"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"PATH": f"{python.parent}:{env['PATH']}", "VIRTUAL_ENV": str(home / "venv")}

    def install(*what: str, **more: str) -> None:
        command = [str(python), "-m", "pip", "install", "--quiet", *what]
        ran = subprocess.run(
            command, env={**env, **more}, capture_output=True, text=True, timeout=INSTALL_S
        )
        if "Could not find a version" in ran.stderr or "ConnectionError" in ran.stderr:
            pytest.skip(f"{what} cannot be had from the package registry: {ran.stderr[-300:]}")
        assert ran.returncode == 0, ran.stderr[-3000:]

    subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True, timeout=RUN_S)
    install(NABU, *OPENCL)
    (opencl,) = (home / "venv").glob("lib/python*/site-packages/nvidia/cuda_opencl")
    (opencl / "lib" / "libOpenCL.so").symlink_to("libOpenCL.so.1")
    env["LD_LIBRARY_PATH"] = str(opencl / "lib")
    install(
        "pyvkfft", VKFFT_BACKEND="opencl",
        CPATH=str(opencl / "include"), LIBRARY_PATH=str(opencl / "lib"),
    )  # fmt: skip
    return env


@pytest.mark.parametrize(
    ("half", "method"), [(False, "sliding-window"), (True, "composite-coarse-to-fine")]
)
def test_nabu_reconstructs_the_export_as_it_is(
    nabu: dict[str, str], tmp_path: Path, half: bool, method: str
) -> None:
    axis_px = HALF_PX if half else FULL_PX
    ours = scan(tmp_path, axis_px, half)
    subprocess.run(
        ["nabu-config", "--dataset", "tooth.nx", "--output", "tooth.conf", "--level", "required"],
        cwd=tmp_path, env=nabu, check=True, capture_output=True, timeout=RUN_S,
    )  # fmt: skip
    (tmp_path / "out").mkdir()
    conf = tmp_path / "tooth.conf"
    text = re.sub(r"(?m)^location = *$", "location = out", conf.read_text())
    conf.write_text(
        re.sub(r"(?m)^rotation_axis_position = .*$", f"rotation_axis_position = {method}", text)
    )
    ran = subprocess.run(
        [shutil.which("nabu", path=nabu["PATH"]) or "nabu", "tooth.conf"],
        cwd=tmp_path, env=nabu, capture_output=True, text=True, timeout=RUN_S,
    )  # fmt: skip
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said[-3000:]
    found = re.search(r"Estimated center of rotation: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) == pytest.approx(axis_px, abs=0.5)
    (made,) = (tmp_path / "out").glob("*.hdf5")
    with h5py.File(made) as file:
        theirs = next(iter(file.values()))["reconstruction/results/data"][ROW]
    assert correlation(ours, theirs) > 0.98


def scan(directory: Path, axis_px: float, half: bool) -> NDArray[np.float32]:
    """Store and export a scan of the twin; return our slice of it."""
    width = SHAPE[1]
    radius_mm = 0.44 * PIXEL_MM * (2 * (width - axis_px) if half else 0.9 * width)
    b = SimulatedBeamline(
        twin=Twin(
            ellipsoid_foam(
                7, 80, radius_mm=radius_mm, height_mm=radius_mm, attenuation_per_mm=0.5 / radius_mm
            ),
            Beam(flux=6e6, drift=0.0, wander_px=0.0),
            Detector(SHAPE, pixel_size_mm=PIXEL_MM).even(),
            axis_offset_px=axis_px - (width - 1) / 2,
            noise=False,
        ),
        exposure=0.002,
        frame_rate=300,
    )
    turn: dict[str, Any] = {"half_acquisition": True} if half else {"angular_range": "180 deg"}
    with open_session(directory / "data", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        (uid,) = session.RE(
            step_tomography(
                b.camera, b.rotation, b.beam, b.sample_stage, radio_position="0 mm",
                flat_position="12 mm", num_darks=5, num_flats=10, num_projections=400,
                rotation_axis=axis_px, md={"sample": "tooth"}, **turn,
            )
        )  # fmt: skip
    run = open_run(uid, directory / "data")
    export_nxtomo(run, directory / "tooth.nx")
    made = reconstruct_run(run, ReconstructionSettings(slices=(ROW,)))
    slices: NDArray[np.float32] = open_run(made.directory).frames("slices").read()
    assert slices.shape[1] > width if half else slices.shape[1] == width
    return np.asarray(slices[0])


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlate two slices about the same axis, of which one may be wider by an even number of pixels."""
    size = min(one.shape[0], other.shape[0])
    views = []
    for image in (one, other):
        edge = (image.shape[0] - size) // 2
        views.append(image[edge : edge + size, edge : edge + size])
    middle = np.arange(size) - (size - 1) / 2
    inside = np.hypot(*np.meshgrid(middle, middle)) < 0.43 * size
    return float(np.corrcoef(views[0][inside], views[1][inside])[0, 1])
