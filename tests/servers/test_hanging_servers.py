"""A server whose work for a lost session hangs: who asks next is told that, and served when it goes on."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concertino import ConcertinoError, SessionError
from concertino._tango_client import TangoClient
from tests.ports import free_port

pytestmark = pytest.mark.disturbed_by_load(
    "servers are processes; one that gives no sign of life within its time-out is given up"
)

#: A camera's server whose detector does not answer while a file is there; half a second stands for the 20 s
#: that work has for its end, and as much again when it was asked to hurry.
PROGRAM = """
import sys, time
from pathlib import Path
from concertino.devices import SimulatedBeamline
from concertino.servers import _served, serve_camera

_served._END_S = 0.5
source = SimulatedBeamline(shape=(8, 8)).camera.source
prepare, hangs = source.prepare, Path(sys.argv[2])

def prepare_when_it_answers(request, settings):
    while hangs.exists():
        time.sleep(0.02)
    prepare(request, settings)

source.prepare = prepare_when_it_answers
serve_camera(lambda: source, port=int(sys.argv[1]), host="127.0.0.1", stream_address="", lease_s=1.0, log=None)
"""
ASKED: dict[str, Any] = {
    "name": "camera", "request": {"count": 1}, "settings": {"exposure_s": 0.0, "frame_rate_hz": 100.0},
    "subscriber_timeout_s": 5.0,
}  # fmt: skip


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def refusal(client: TangoClient) -> str:
    try:
        client.ask("Check", 30, **ASKED)
    except SessionError as error:
        return str(error)
    return ""


def test_work_that_hangs_for_a_lost_session_is_told_the_next_one(tmp_path: Path) -> None:
    hangs, out, port = tmp_path / "hangs", tmp_path / "out", free_port()
    hangs.touch()
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", PROGRAM, str(port), str(hangs)]
    with (
        out.open("w") as written,
        subprocess.Popen(command, env=environment, stdout=written, stderr=written) as server,
    ):
        try:
            until(lambda: "Ready to accept request" in out.read_text())
            first, second, third = (
                TangoClient(f"127.0.0.1:{port}", "camera") for session in range(3)
            )
            first.call("Prepare", **ASKED)
            # The first is not heard of from here on; the server has a second to become idle, in vain.
            until(lambda: "restart the server" in refusal(second))
            said = refusal(second)
            assert f"still works for {first.session}, which it lost, and that has not ended" in said
            assert first.call("Describe")["shape"] == [8, 8]  # what needs no detector is answered
            # Who was refused is not the session that is served: others are told the same.
            assert refusal(third) == said
            assert second.attribute("session") == ""
            hangs.unlink()
            until(lambda: not refusal(second))
            # Nor has it cost the watch over sessions: the next one that is lost is noticed, too.
            until(lambda: not refusal(third))
            assert second.attribute("session") == third.session
            until(lambda: second.attribute("session") == "")
        except ConcertinoError as error:
            raise AssertionError(out.read_text()) from error
        finally:
            server.kill()
