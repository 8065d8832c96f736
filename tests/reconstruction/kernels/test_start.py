"""The first reconstruction of a process: what is said, and what is kept on disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import concertino

PROGRAM = """
import numpy as np
from concertino.reconstruction import ReconstructionSettings, reconstruct
from concertino.reconstruction.kernels._normalize import normalize_and_pad
reconstruct(np.ones((8, 2, 32), np.float32), settings=ReconstructionSettings(center=15.5))
from concertino.reconstruction.kernels._spread import spread
for kernel in (normalize_and_pad, spread):
    print(sum(kernel.stats.cache_misses.values()))
"""


def test_compiling_is_announced_once_and_kept(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True,
            check=True,
        )
        for _ in range(2)
    )  # fmt: skip
    assert first.stderr.count("Compiling the reconstruction for this processor") == 1
    assert first.stdout.split() == ["1", "1"]
    assert second.stderr == ""
    assert second.stdout.split() == ["0", "0"]


def test_code_is_kept_elsewhere_when_neither_package_nor_home_can_be_written(
    tmp_path: Path,
) -> None:
    """A file in the place of a folder keeps even root from writing there."""
    package, temporary = tmp_path / "site" / "concertino", tmp_path / "temporary"
    temporary.mkdir()
    shutil.copytree(
        Path(concertino.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "reconstruction" / "kernels" / "__pycache__").touch()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    }
    environment |= {
        "HOME": "/dev/null", "TMPDIR": str(temporary), "PYTHONPATH": str(package.parent),
    }  # fmt: skip

    def once() -> tuple[list[str], str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True,
            check=True, cwd=tmp_path,
        )  # fmt: skip
        return done.stdout.split(), done.stderr

    kept = temporary / f"concertino-compiled-{os.getuid()}"
    first, said = once()
    assert first == ["1", "1"]
    assert f"Compiled code is kept in {kept}, because neither {package}" in said
    assert "nor /dev/null/.cache/numba can be written" in said
    assert "set NUMBA_CACHE_DIR to a directory that stays" in said
    assert said.count("Compiled code is kept") == 1
    assert once()[0] == ["0", "0"], "the second process found the code"
    kept.chmod(0o777)  # now anybody might have put something there
    third, said = once()
    assert third == ["1", "1"]
    assert f"Compiled code is kept in {temporary}" in said
    assert f"kept in {kept}," not in said
