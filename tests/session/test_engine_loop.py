"""A session that made its RunEngine ends its loop: nothing is left of fifty sessions."""

import gc
import os
import threading
from pathlib import Path

import pytest
from bluesky import RunEngine
from bluesky.run_engine import get_bluesky_event_loop
from ophyd_async.core import init_devices, soft_signal_rw

from concertino.session import open_session


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_fifty_sessions_leave_neither_descriptors_nor_threads(tmp_path: Path) -> None:
    def open_and_close() -> None:
        with open_session(tmp_path, progress=False, catalog=False, guard=False):
            pass

    open_and_close()  # What is opened once for the process.
    files, threads = descriptors(), threading.active_count()
    for _ in range(50):
        open_and_close()
    assert descriptors() == files
    assert threading.active_count() == threads


def test_devices_are_connected_in_the_loop_that_is_left(tmp_path: Path) -> None:
    first = open_session(tmp_path / "one", progress=False, catalog=False, guard=False)
    with open_session(tmp_path / "other", progress=False, catalog=False, guard=False):
        pass
    assert get_bluesky_event_loop() is first.RE.loop
    with init_devices():
        signal = soft_signal_rw(float, 1.0, name="signal")
    assert signal.name == "signal"
    first.close()
    assert first.RE.loop.is_closed()


def test_the_loop_of_a_given_run_engine_goes_on(tmp_path: Path) -> None:
    engine = RunEngine({})
    with open_session(tmp_path, progress=False, catalog=False, guard=False, run_engine=engine):
        pass
    assert engine.loop.is_running()
    assert engine([]) == ()


def test_a_session_that_does_not_open_leaves_none(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(Exception, match="address of a guard"):
        open_session(tmp_path, progress=False, catalog=False, guard_at="nowhere")
    assert threading.active_count() == before
