"""Signals at each phase of a scan, to real processes: beam off, motors at rest, stop document, exit code.

`signal_runs.py` plays every case; here are those in which every two of host, phase and signal meet.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.forked_programs import WAIT_S, Programs

from .matrix import (
    HOSTS,
    PHASES,
    QUEUE,
    SIGNALS,
    Cell,
    all_cells,
    children_of,
    lives,
    pairwise_cells,
    run_cell,
)
from .presses import press_ctrl_c
from .programs import PROGRAM, Case

pytestmark = pytest.mark.disturbed_by_load(
    "seven programs at a time import, scan and are interrupted, each within a wait"
)

AT_A_TIME = 7


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    started = Programs(PROGRAM)
    yield started
    started.close()


def test_every_two_of_host_phase_and_signal_meet() -> None:
    cells = pairwise_cells()
    assert set(cells) <= set(all_cells())
    assert {(cell.phase, cell.number) for cell in cells} == {
        (p, n) for p in PHASES for n in SIGNALS
    }
    for host in HOSTS:
        mine = [cell for cell in cells if cell.host == host]
        assert len({cell.number for cell in mine}) >= 2
        if host not in QUEUE:
            assert {cell.phase for cell in mine} == set(PHASES)
    assert {cell.phase for cell in cells if cell.host in QUEUE} == set(PHASES)
    assert {cell.number for cell in cells if cell.host in QUEUE} == set(SIGNALS)


def kind(cell: Cell) -> str:
    return "queue" if cell.host in QUEUE else cell.host


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param(list(cells), id=name, marks=[pytest.mark.slow] * (name in ("queue", "tango")))
        for name, cells in groupby(pairwise_cells(), kind)
    ],
)
def test_a_signal_ends_the_run_with_the_beam_off_and_the_motors_at_rest(
    programs: Programs, tmp_path: Path, cells: list[Cell]
) -> None:
    if kind(cells[0]) == "queue":
        pytest.importorskip("bluesky_queueserver")
    if kind(cells[0]) == "tango":
        pytest.importorskip("tango")

    def play(cell: Cell) -> str:
        try:
            run_cell(programs, tmp_path / str(cell), cell)
        except AssertionError as error:
            return f"{cell}: {error}"
        return ""

    with ThreadPoolExecutor(AT_A_TIME) as players:
        wrong = [said for said in players.map(play, cells) if said]
    assert not wrong


class Script(Case):
    """A script in its projections, or what else is asked for."""

    def __init__(self, programs: Programs, directory: Path, **more: Any) -> None:
        super().__init__(programs, directory, "script", "projections", **more)
        self.pid = self.start("script")

    def begin(self) -> float:
        """Wait until the phase has begun; return when, in seconds since the epoch."""
        self.until(self.in_phase, "phase")
        return time.time()

    def check(self, number: signal.Signals, since_s: float, code: int) -> None:
        """Check the end of a run that a signal ended."""
        assert self.programs.wait(self.pid) == code, self.out
        self.check_beam_and_motors(since_s, time.time())
        assert self.run.stop is not None
        assert (self.run.exit_status, self.run.stop["reason"]) == (
            "abort",
            f"ended by {number.name}",
        )


def test_more_signals_do_not_hurry_the_clean_up_away(programs: Programs, tmp_path: Path) -> None:
    case = Script(programs, tmp_path, shutter_s=1.0)
    since_s = case.begin()
    for number in (signal.SIGTERM, *SIGNALS, *SIGNALS):
        os.kill(case.pid, number)
        time.sleep(0.1)
    case.check(signal.SIGTERM, since_s, 143)


@pytest.mark.parametrize("prompt", [False, True])
def test_ctrl_c_hurries_nothing_that_follows_the_run(
    programs: Programs, tmp_path: Path, prompt: bool
) -> None:
    case = Script(programs, tmp_path, prompt=prompt, lasts_s=1.0)
    since_s = case.begin()
    os.kill(case.pid, signal.SIGTERM)
    case.until(case.stopped, "stop document")
    time.sleep(0.3)
    os.kill(case.pid, signal.SIGINT)
    case.check(signal.SIGTERM, since_s, 143)


@pytest.mark.parametrize("prompt", [False, True])
def test_ctrl_c_may_be_pressed_as_often_as_one_likes(
    programs: Programs, tmp_path: Path, prompt: bool
) -> None:
    # `interrupt_runs.py` presses it once to twelve times in each phase.
    cases = [("darks", 12), ("projections", 4), ("paused", 12)]
    with ThreadPoolExecutor(len(cases)) as people:
        for done in [
            people.submit(press_ctrl_c, programs, tmp_path / phase, phase, presses, prompt=prompt)
            for phase, presses in cases
        ]:
            done.result()


def test_a_main_thread_in_c_code_does_not_keep_the_beam_on(
    programs: Programs, tmp_path: Path
) -> None:
    case = Script(programs, tmp_path, deaf=True)
    since_s = case.begin()
    os.kill(case.pid, signal.SIGTERM)
    case.until(case.stopped, "stop document")
    os.kill(case.pid, signal.SIGKILL)
    case.check(signal.SIGTERM, since_s, -signal.SIGKILL)


def test_under_nohup_a_closed_terminal_ends_nothing(programs: Programs, tmp_path: Path) -> None:
    case = Script(programs, tmp_path, nohup=True)
    case.begin()
    os.kill(case.pid, signal.SIGHUP)
    time.sleep(0.5)
    assert case.beam[-1] == ("is", True)
    since_s = time.time()
    os.kill(case.pid, signal.SIGTERM)
    case.check(signal.SIGTERM, since_s, 143)


def test_a_lost_terminal_ends_the_run_though_nothing_can_be_printed(
    programs: Programs, tmp_path: Path
) -> None:
    ours, theirs = os.openpty()
    case = Script(programs, tmp_path, terminal=os.ttyname(theirs))
    os.close(theirs)
    since_s = case.begin()
    os.close(ours)  # as when the window is closed, or ssh lost
    case.check(signal.SIGHUP, since_s, 129)


def test_a_session_that_nobody_closes_ends_its_run_at_exit(
    programs: Programs, tmp_path: Path
) -> None:
    case = Script(programs, tmp_path, forgotten=True)
    since_s = case.begin()
    (tmp_path / "data" / "go").touch()
    assert programs.wait(case.pid) == 1
    assert "the script's mistake" in case.out
    case.check_beam_and_motors(since_s, time.time())
    assert case.run.stop is not None
    assert case.run.stop["reason"] == "the session was closed while the plan was running"


def test_a_writer_in_a_process_takes_no_signals(programs: Programs, tmp_path: Path) -> None:
    case = Case(programs, tmp_path, "child", "projections")
    pid = case.start("child")
    case.until(case.in_phase, "projections")
    (child,) = children_of(pid)
    for number in SIGNALS:
        os.kill(child, number)
    folder = tmp_path / "data" / "scan_0001" / "projections"
    stored = len(list(folder.iterdir()))
    case.until(lambda: len(list(folder.iterdir())) > stored + 10, "more frames")
    assert case.beam[-1] == ("is", True)  # it is for the plan to end
    os.kill(pid, signal.SIGTERM)
    assert programs.wait(pid, WAIT_S) == 143
    assert not lives(child)
