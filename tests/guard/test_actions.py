"""Each way to switch a beam off, against servers, programs and functions that are real."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from concertino.guard import GuardProcess, GuardReport, switch_from_json

from .conftest import HERE, Bench

pytestmark = pytest.mark.disturbed_by_load(
    "a guard is a process that must be ready, act and answer within its time-outs"
)

#: In a process and a thread of its own, as the guard has it; the control system's libraries are no guests here.
CODE = """
import json, sys, threading
sys.path.append(sys.argv[3])
from concertino.guard import _actions, switch_from_json
def act():
    switch = switch_from_json(json.loads(sys.argv[2]))
    kind = getattr(_actions, sys.argv[1], None)
    action = kind(switch.pv.partition("://")[2], switch.off) if kind else _actions.action_of(switch)
    for attempt in range(30):
        try:
            action.connect()
        except Exception as error:
            print(repr(error), flush=True)
        else:
            break
    action.check()
    print("found", action.off(), flush=True)
thread = threading.Thread(target=act, daemon=True)
thread.start()
thread.join(240)
sys.stdout.flush()
import os
os._exit(0)
"""


def act(bench: Bench, switch: dict[str, Any], kind: str = "") -> str:
    """Connect and switch off, and return what was said."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, kind, json.dumps(switch), str(HERE)],
        env=bench.environment, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("kind", "library"), [("_Aioca", "aioca"), ("_PyEpics", "epics"), ("_Caproto", "caproto")]
)
def test_a_pv_by_each_library(bench: Bench, kind: str, library: str) -> None:
    pytest.importorskip("caproto")
    pytest.importorskip(library)
    _, where = bench.beam("ca")
    assert "found 0" in act(bench, {"pv": where, "off": 0}, kind)
    assert [on for _, on, _ in bench.journal().lines()] == [False]


def test_a_pv_by_pv_access(bench: Bench) -> None:
    pytest.importorskip("p4p")
    server = bench.start_pva()
    said = act(bench, {"pv": "pva://TEST:SHUTTER", "off": 0})
    assert "found" in said, said
    assert [on for _, on, _ in bench.journal().lines()] == [False]
    assert server.poll() is None


@pytest.mark.parametrize(
    "how", [{"attribute": "open", "off": False}, {"command": "Close"}], ids=["attribute", "command"]
)
def test_a_tango_device(bench: Bench, how: dict[str, Any]) -> None:
    _, where = bench.beam("tango")
    device = where.replace("/open#", "#")
    assert "found state" in act(bench, {"tango": device, **how})
    assert [on for _, on, _ in bench.journal().lines()] == [False]


def test_what_a_tango_device_has_not(bench: Bench) -> None:
    _, where = bench.beam("tango")
    said = act(bench, {"tango": where.replace("/open#", "#"), "attribute": "lid", "off": False})
    assert "found" not in said.replace("not found", "")
    assert "lid" in said
    assert bench.journal().lines() == []


def test_a_program(bench: Bench) -> None:
    made = bench.root / "closed"
    assert "found" in act(bench, {"command": ["touch", str(made)]})
    assert made.exists()
    assert "There is no program 'no-such-program'" in act(bench, {"command": ["no-such-program"]})


def test_a_program_that_fails_and_a_function_that_is_not_there(tmp_path: Path) -> None:
    reports: list[GuardReport] = []
    guard = GuardProcess(
        "me", tmp_path, silence_s=10, loop_silence_s=1, loop_age_s=lambda: 0.0, acted=reports.append
    )
    try:
        guard.guard("program", switch_from_json({"command": ["false"]}))
        guard.guard("function", switch_from_json({"function": "no_such_module:close"}))
        wrong = guard.wait(2)
        deadline_s = time.monotonic() + 240
        while "No module named 'no_such_module'" not in wrong.get("function", ""):
            assert time.monotonic() < deadline_s, wrong
            wrong = guard.wait(0.2)
        assert "program" not in wrong  # A program is there or not; what it does shows when it runs.
    finally:
        guard.close()
    assert reports == []
