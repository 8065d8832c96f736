"""Progress: bars in a terminal, a line a stream in a file, one display in a notebook."""

import contextlib
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import nbclient
import nbformat
import pytest
from bluesky.utils import MsgGenerator

from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, SimulatedShutter
from concertino.plans import radiography
from concertino.session import open_session
from concertino.terminal._progress import ProgressBars, progress_of


def looking_again() -> MsgGenerator[None]:
    slow = SimulatedShutter(delay_s=1.0, name="slow")
    fast = SimulatedShutter(delay_s=0.3, name="fast")
    yield from bps.abs_set(slow, True, group="frames")
    done = False
    while not done:
        done = yield from bps.wait("frames", timeout=0.1, error_on_timeout=False)
        yield from bps.mv(fast, not fast.is_open)


def test_no_warning_of_a_wait_within_a_wait(tmp_path: Path) -> None:
    with open_session(tmp_path, catalog=False, progress=True) as session:
        session.RE(looking_again())
        bars = session.RE.waiting_hook
        assert isinstance(bars, ProgressBars)
        assert not bars.shown


def test_a_file_gets_a_line_for_each_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    b = SimulatedBeamline(shape=(16, 16))
    with open_session(tmp_path, catalog=False, progress=True) as session:
        session.subscribe(ImageWriter())
        session.RE(
            radiography(
                b.camera,
                b.beam,
                b.sample_stage,
                radio_position=0,
                flat_position=10,
                num_darks=2,
                num_flats=3,
                num_projections=40,
            )
        )
    out, error = capsys.readouterr()
    assert out == ""
    told = [re.sub(r" in [\d.]+ s$", "", line) for line in error.splitlines()]
    assert told == [
        "camera darks: 2 of 2 frames",
        "camera flats: 3 of 3 frames",
        "camera projections: 40 of 40 frames",
    ]


def test_a_terminal_gets_a_bar_that_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_of("reconstructing") as report:
            assert report is not None
            for done in range(10):  # Nothing is drawn of what is over at once.
                report(done, 10)
                time.sleep(0.1)
    drawn = b""
    with contextlib.suppress(OSError):  # That the other end is closed.
        while part := os.read(ours, 4096):
            drawn += part
    os.close(ours)
    shown = drawn.decode()
    assert "reconstructing:  50%|" in shown
    # What is seen in the end: every bar was written over the one before, and the last was cleared.
    assert "\n" not in shown
    assert shown.endswith("\r\x1b[K")


CELLS = (
    """
import tempfile
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.session import open_session
b = SimulatedBeamline(shape=(16, 16))
session = open_session(tempfile.mkdtemp(), catalog=False)
session.subscribe(ImageWriter())
def plan(number):
    return radiography(b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=10,
                       num_darks=2, num_flats=3, num_projections=number)
""",
    "_ = session.RE(plan(60))",
    "session.RE(plan(-3))",
    "%tb",
    "session.close()",
)


def test_a_notebook_has_one_display_and_errors_of_one_sentence() -> None:
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS]  # type: ignore[no-untyped-call]
    )
    nbclient.NotebookClient(notebook, allow_errors=True, timeout=300).execute()
    outputs: list[list[Any]] = [cell.outputs for cell in notebook.cells]
    assert outputs[0] == outputs[4] == []
    (display,) = outputs[1]
    lines = display["data"]["text/plain"].splitlines()
    assert [line.partition(" in ")[0] for line in lines] == [
        "camera darks: 2 of 2 frames",
        "camera flats: 3 of 3 frames",
        "camera projections: 60 of 60 frames",
    ]
    (error,) = outputs[2]
    assert error["traceback"] == [
        "ParameterError: num_projections: -3 is too small. Give at least 1 frame.",
        "(%tb shows where it was raised)",
    ]
    (again,) = outputs[3]
    assert "Traceback (most recent call last)" in "\n".join(again["traceback"])
