"""The first plan of a process finds loaded what it needs: nothing is imported in the loop, with beam perhaps."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from concertino.session import open_session
from bluesky import Msg

with open_session(sys.argv[1], progress=False, catalog=False) as session:
    assert "pint" not in sys.modules  # a session that runs nothing does not pay for it
    seen = []

    def plan():
        seen.append("pint" in sys.modules)
        from concertino.units import q
        before = set(sys.modules)
        q("1 mm").to("um")
        seen.append(set(sys.modules) == before)
        yield Msg("null")

    session.RE(plan())
    print(seen)
"""


def test_units_are_loaded_before_the_first_plan(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.stdout.strip() == "[True, True]", done.stderr
