"""Ctrl-C as often as one likes."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.forked_programs import Programs

from .programs import Case

BETWEEN_S = 0.03


def press_ctrl_c(
    programs: Programs, directory: Path, phase: str, presses: int, *, prompt: bool = False
) -> None:
    """Press Ctrl-C some times in quick succession, and check that the run ended with the beam off.

    At a prompt the first two pause the run, and what follows the program aborts it.
    """
    case = Case(programs, directory, "script", phase, prompt=prompt)
    pid = case.start("script")
    try:
        case.until(case.in_phase, phase)
        since_s = time.time()
        for _ in range(presses):
            if programs.code(pid) is None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            time.sleep(BETWEEN_S)
        code = programs.wait(pid)
        # A pause at a prompt lets the stage come to the end of what it is about.
        case.check_beam_and_motors(since_s, time.time(), braked=not prompt)
        assert case.run.stop is not None, case.tail
        if phase != "clean-up":
            assert code != 0, case.tail
            assert case.run.exit_status == "abort", case.tail
    finally:
        case.kill()
