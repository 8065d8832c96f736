"""A few streams with a fault at a random time; `fault_runs.py` plays as many as one likes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.disturbed_by_load(
    "who gives no sign of life for a short time-out counts as dead, and gets no processor in time"
)


def test_every_frame_is_accounted_for_whatever_fails() -> None:
    script = Path(__file__).parent / "fault_runs.py"
    done = subprocess.run(
        [sys.executable, script, "--runs", "6", "--seed", "2"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "6 runs: every frame is accounted for, nothing is left over" in done.stdout
