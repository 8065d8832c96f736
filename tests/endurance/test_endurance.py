"""A few sessions that are killed, and a few runs of every end; the scripts play as many as one likes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.disturbed_by_load(
    "eight sessions at a time are killed and looked at, all within five minutes"
)


@pytest.mark.parametrize(
    ("script", "given", "said"),
    [
        # One of each sink; the moments differ.
        ("kill_runs.py", ("--runs", "8", "--together", "8"), "every frame that it states is what"),
        ("mixed_runs.py", ("--runs", "16", "--seed", "5"), "16 runs: beam off and idle after each"),
    ],
)
def test_what_a_long_time_brings(script: str, given: tuple[str, ...], said: str) -> None:
    path = Path(__file__).parent / script
    done = subprocess.run(
        [sys.executable, path, *given], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert said in done.stdout
