"""File systems small enough to be filled."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted_disk(directory: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory, which is gone afterwards; skip a test that may not.

    Parameters
    ----------
    directory : Path
        Where to; made.
    size : str
        As mount takes it, such as ``"400k"`` or ``"2m"``.
    """
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting a file system takes privileges: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
