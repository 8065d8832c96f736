"""Every signal in every phase of a scan to every program that may run one.

``python tests/signals/signal_runs.py`` plays all, or those whose host, phase and signal contain the words given, and prints how each
ended; one that is not right ends it with exit code 1. ``--pairwise`` plays the part that the tests play.
"""

import argparse
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.forked_programs import Programs
from tests.signals.matrix import Cell, all_cells, pairwise_cells, run_cell
from tests.signals.programs import PROGRAM


def main() -> None:
    """Play the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="such as worker SIGHUP")
    parser.add_argument("--pairwise", action="store_true")
    parser.add_argument("--jobs", type=int, default=3)
    given = parser.parse_args()
    cells = [
        cell for cell in (pairwise_cells() if given.pairwise else all_cells())
        if all(word in cell for word in given.words if not word.startswith("SIG"))
        and all(word == cell.number.name for word in given.words if word.startswith("SIG"))
    ]  # fmt: skip
    wrong = 0
    programs = Programs(PROGRAM)
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(given.jobs) as players:

        def play(index: int, cell: Cell) -> tuple[float, Exception | None]:
            begin_s = time.monotonic()
            try:
                run_cell(programs, Path(directory) / str(index), cell)
            except Exception as error:
                return time.monotonic() - begin_s, error
            return time.monotonic() - begin_s, None

        outcomes = players.map(play, range(len(cells)), cells)
        for cell, (took_s, error) in zip(cells, outcomes, strict=True):
            wrong += error is not None
            print(f"{'right' if error is None else 'WRONG'} {took_s:6.1f} s  {cell}", flush=True)
            if error is not None:
                last = traceback.extract_tb(error.__traceback__)[-1]
                print(
                    f"    line {last.lineno}: {last.line}\n    {type(error).__name__}: {error}",
                    flush=True,
                )
    programs.close()
    print(
        f"{len(cells)} cases in {time.monotonic() - begin_s:.0f} s: {len(cells) - wrong} right, {wrong} wrong"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
