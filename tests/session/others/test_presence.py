"""Sessions in one data directory hear of each other: who, where, with which devices; a killed one is there no more."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from ophyd_async.epics.motor import Motor

from concertino.devices import SimulatedMotor
from concertino.session import open_session
from concertino.session.others._presence import _both_move
from concertino.session.others._presence_file import FOLDER, LEASE_S, PresenceFile

WAIT_S = 60.0

#: Another person's session. Its child goes on when it is killed, as a helper of some library may.
OTHER = """
import os, sys, time
from ophyd_async.epics.motor import Motor
from concertino.session import open_session
session = open_session(sys.argv[1], progress=False, catalog=False, guard=False)
session.add_devices(Motor("BL:ROT", name="rotation"), Motor("BL:Z", name="height"))
child = os.fork()
if child == 0:
    time.sleep(600)
print(child, flush=True)
sys.stdin.read()
"""


def until(holds: Callable[[], Any]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until_s, "it has not come to pass"
        time.sleep(0.05)


def test_each_is_told_of_the_other_and_of_what_both_move(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = tmp_path / "heard.txt"
    with (
        heard.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-c", OTHER, str(tmp_path / "data")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        ) as other,
    ):  # fmt: skip
        assert other.stdout is not None
        child = int(other.stdout.readline())
        try:
            with open_session(
                tmp_path / "data", progress=False, catalog=False, guard=False
            ) as session:
                told = capsys.readouterr().err
                assert f"process {other.pid}), since {time.strftime('%Y-%m-%d')}" in told
                assert "both move" not in told
                moves = {"rotation": "ca://BL:ROT", "height": "ca://BL:Z"}
                until(lambda: [one.moves for one in session.others()] == [moves])
                (found,) = session.others()
                assert (found.pid, found.certain) == (other.pid, True)
                assert "rotation, height" in str(session.others())
                # The address says what it is, not the name.
                session.add_devices(Motor("BL:ROT", name="theta"), Motor("BL:OTHER", name="height"))
                said = [told]

                def heard_all() -> str:
                    said.append(capsys.readouterr().err)
                    return "".join(said)

                until(lambda: "can both move theta (ca://BL:ROT):" in heard_all())
                assert "can both move height" not in heard_all()
                until(lambda: "can both move rotation (ca://BL:ROT)" in heard.read_text())
                assert heard.read_text().count(f"process {os.getpid()})") == 2
                other.kill()
                other.wait(WAIT_S)
                os.kill(child, 0)  # It lives, and holds nothing.
                assert session.others() == ()
                assert "No other session" in repr(session.others())
            assert not (tmp_path / "data" / FOLDER).exists()
        finally:
            os.kill(child, signal.SIGKILL)
            other.kill()


def test_what_plans_move_is_told_and_a_folder_that_cannot_be_written_costs_no_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = SimulatedMotor("mm", velocity=10, max_velocity=10, name="stage")
    somebody = PresenceFile(tmp_path, "somewhere")
    with open_session(tmp_path, progress=False, catalog=False, guard=False) as session:
        session.RE(bps.mv(stage, 1))
        until(lambda: [one.moves for one in somebody.others() if "stage" in one.moves])
    (tmp_path / FOLDER).write_text("a file of somebody else's")
    with open_session(tmp_path, progress=False, catalog=False, guard=False) as session:
        assert "its folder .sessions cannot be written to" in capsys.readouterr().err
        session.RE(bps.mv(stage, 0))
        assert session.others() == ()


def test_where_locks_are_not_seen_by_other_computers_a_file_counts_for_a_while(
    tmp_path: Path,
) -> None:
    about: dict[str, Any] = {
        "user": "ada", "program": "ipython", "pid": 12, "since_s": 1.7e9, "devices": ["m"],
        "moves": {"m": ""},
    }  # fmt: skip
    mine = PresenceFile(tmp_path, "here")
    mine.write({**about, "host": "here", "pid": os.getpid()})
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(WAIT_S)
    for name, changes in (
        ("fresh", {"host": "there"}),
        ("old", {"host": "there"}),
        ("left", {"host": "here", "pid": gone.pid}),
    ):
        (tmp_path / FOLDER / f"{name}.json").write_text(json.dumps({**about, **changes}))
    now_s = mine.path.stat().st_mtime
    os.utime(tmp_path / FOLDER / "old.json", (now_s - LEASE_S - 10,) * 2)
    (tmp_path / FOLDER / "strange.json").write_text("[1, 2")
    (tmp_path / FOLDER / "stranger.json").write_text("[]")
    (found,) = mine.others()
    assert (found.key, found.certain, found.user) == ("fresh.json", False, "ada")
    names = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert names == {mine.path.name, "fresh.json", "old.json", "strange.json", "stranger.json"}
    mine.path.unlink()  # by somebody who tidies up
    mine.renew()
    assert [one.pid for one in PresenceFile(tmp_path, "there").others()] == [os.getpid()]
    mine.close()
    assert not mine.path.exists()


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        ({"a": "ca://X"}, {"b": "ca://X"}, ["a (ca://X)"]),
        ({"a": "ca://X"}, {"a": "ca://Y"}, []),
        ({"a": ""}, {"a": "ca://Y"}, ["a"]),
        ({"a": ""}, {"a": ""}, ["a"]),
        ({"a": ""}, {"b": ""}, []),
    ],
)
def test_which_both_move(ours: dict[str, str], theirs: dict[str, str], both: list[str]) -> None:
    assert _both_move(ours, theirs) == both
