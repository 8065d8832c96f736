"""The whole process of a reconstruction keeps the limit, in however many parts and however often."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_peak_of_the_process_is_the_limit(tmp_path: Path) -> None:
    # 768 slices of 768 x 768 px are more than the limit; the rows and all else come on top
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("batch_program.py")), str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=280,
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["parts"] >= 3
    assert max(told["peaks"]) <= 1.1, told
    assert told["alive"] == 1
