"""Ctrl-C once to twelve times in quick succession in each phase of a scan, at a prompt and without one.

``python tests/signals/interrupt_runs.py`` starts a process for each, and checks that it ended with the beam off and a stop document. It
prints how many did.
"""

import argparse
import itertools
import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.forked_programs import Programs
from tests.signals.matrix import PHASES
from tests.signals.presses import press_ctrl_c
from tests.signals.programs import PROGRAM


def main() -> None:
    """Press it, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presses", type=int, default=12, help="at most")
    parser.add_argument("--runs", type=int, default=0, help="some of all cases; all by default")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    parser.add_argument("--together", type=int, default=4, help="processes at a time")
    given = parser.parse_args()
    cases = list(itertools.product((False, True), PHASES, range(1, given.presses + 1)))
    random.Random(given.seed).shuffle(cases)
    cases = cases[: given.runs or None]
    programs, failed = Programs(PROGRAM), 0
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(given.together) as people:
        pressed = {
            case: people.submit(
                press_ctrl_c, programs, Path(root) / str(number), case[1], case[2], prompt=case[0]
            )
            for number, case in enumerate(cases)
        }
        for (prompt, phase, presses), done in pressed.items():
            if (error := done.exception()) is not None:
                failed += 1
                where = "at a prompt" if prompt else "in a script"
                print(f"{presses} times {where}, {phase}: {type(error).__name__}: {error}")
    programs.close()
    if failed:
        sys.exit(f"{failed} of {len(cases)} went wrong")
    print(f"{len(cases)} runs: beam off and a stop document, however often it was pressed")


if __name__ == "__main__":
    main()
