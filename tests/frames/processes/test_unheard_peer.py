"""Who dies while a publisher cannot listen for a moment does not take the publisher with it."""

import subprocess
import sys
from pathlib import Path


def test_who_talks_and_dies_unheard_leaves_the_publisher_alive() -> None:
    script = Path(__file__).with_name("unheard_peer.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 lives\n"
