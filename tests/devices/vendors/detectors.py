"""Detector processes, started and ended by a test."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("detector_process.py")


class Process:
    """A detector process; `stream` and `control` are its addresses."""

    def __init__(self, **behaviour: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(behaviour)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        ports = json.loads(self._process.stdout.readline())
        self.stream = f"tcp://127.0.0.1:{ports['stream']}"
        self.control = f"http://127.0.0.1:{ports['control']}"

    def end(self) -> dict[str, Any]:
        """End it, and return what it says of itself; empty when it was killed."""
        said, _ = self._process.communicate(timeout=30)
        return dict(json.loads(said)) if said.strip() else {}

    @property
    def killed(self) -> bool:
        """Whether it ended by a signal."""
        return (self._process.poll() or 0) < 0


@contextmanager
def detector(**behaviour: Any) -> Iterator[Process]:
    """Run a detector process."""
    process = Process(**behaviour)
    try:
        yield process
    finally:
        process._process.kill()
        process._process.communicate(timeout=30)
