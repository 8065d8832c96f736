"""Ctrl-C that the system gives to another thread than the main one, which waits."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from concertino.runtime._ending import ending_signals

pytestmark = pytest.mark.disturbed_by_load(
    "a program is interrupted by the clock, while it imports perhaps"
)

PROGRAM = """
import signal, sys, threading, time
from concertino.session import open_session
import bluesky.plan_stubs as bps
from bluesky.utils import RunEngineInterrupted

sys.ps1 = ">>> "  # somebody sits at a prompt

def plan():
    for _ in range(600):
        yield from bps.checkpoint()
        yield from bps.sleep(0.1)

def press(RE):
    while RE.state != "running":
        time.sleep(0.01)
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

with open_session(sys.argv[1], progress=False, catalog=False) as session:
    threading.Thread(target=press, args=(session.RE,), daemon=True).start()
    try:
        session.RE(plan())
        print("not heard")
    except RunEngineInterrupted:
        print(session.RE.state)
"""


def test_ctrl_c_is_heard_at_a_prompt_whichever_thread_gets_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip

    assert "A 'deferred pause' has been requested" in done.stdout, done
    assert "paused" in done.stdout.splitlines(), done


def test_who_takes_the_signal_that_wakes_the_main_thread_keeps_it() -> None:
    heard = []
    before = signal.signal(signal.SIGURG, lambda number, frame: heard.append(number))
    try:
        with ending_signals():
            signal.raise_signal(signal.SIGURG)
        signal.raise_signal(signal.SIGURG)
    finally:
        signal.signal(signal.SIGURG, before)
    assert heard == [signal.SIGURG] * 2
