"""The page's process: what it serves, how it ends, and what it says when it cannot begin."""

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from concertino import SessionError
from concertino.viewers import LivePage, LiveState

pytestmark = pytest.mark.disturbed_by_load(
    "a page is a process that must begin, answer and end within a wait"
)


def wait_until(condition: Callable[[], bool], timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(0.02)


def test_it_answers_at_its_address_without_anything_from_elsewhere() -> None:
    with LivePage(LiveState()) as page:
        with urllib.request.urlopen(page.url, timeout=60) as answer:
            text = answer.read().decode()

        assert page.error is None
        assert page.url.startswith("http://127.0.0.1:")
    assert "<title>Concertino</title>" in text
    assert "https://" not in text


SCRIPT = "/static/js/bokeh.min.js"


def asked(page: LivePage, path: str, **headers: str) -> int:
    """Return the status of an answer."""
    given = urlsplit(page.url)
    connection = http.client.HTTPConnection(given.hostname or "", given.port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_who_calls_it_by_a_name_of_this_computer_is_answered() -> None:
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==", "Sec-WebSocket-Protocol": "bokeh",
    }  # fmt: skip
    with LivePage(LiveState()) as page:
        port = urlsplit(page.url).port
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", socket.gethostname()):
            assert asked(page, SCRIPT, Host=host) == 200
        # DNS rebinding: a name of somebody else that leads to this computer.
        for host in ("rebound.example", f"rebound.example:{port}", "localhost.example", ""):
            assert asked(page, SCRIPT, Host=host) in (400, 403)
            assert asked(page, "/ws", Host=host, **upgrade) in (400, 403)
        # A page of somebody else that opens a connection to here.
        assert asked(page, "/ws", Origin="http://rebound.example", **upgrade) == 403
        assert asked(page, SCRIPT, Origin="http://localhost:1") == 403


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(SessionError) as caught:
            LivePage(LiveState(), port=port)

    assert str(caught.value) == (
        f"The live view cannot use port {port} on 127.0.0.1: another program, or another live "
        "view, listens there. Close it, give another port, or port=0 for a free one."
    )


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("203.0.113.7", 0)])
def test_an_address_that_cannot_be_used(host: str, port: int) -> None:
    with pytest.raises(SessionError) as caught:
        LivePage(LiveState(), host=host, port=port)

    assert str(caught.value).startswith(f"The live view cannot listen on {host}, port {port}: ")
    assert "Give an address of this computer and a port from 0 to 65535." in str(caught.value)


def test_bokeh_is_loaded_by_the_page_only() -> None:
    code = (
        "import sys, concertino.viewers, concertino.callbacks; "
        "print([name for name in ('bokeh', 'tornado', 'PIL') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert b"bokeh" not in printed.stdout
    assert importlib.util.find_spec("bokeh") is not None


def test_closing_ends_its_process() -> None:
    page = LivePage(LiveState())
    process = psutil.Process(page.pid)
    page.close()
    page.close()

    assert not process.is_running()
    assert page.error is None


def test_a_process_that_dies_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    page = LivePage(LiveState())
    os.kill(page.pid, signal.SIGKILL)
    wait_until(lambda: page.error is not None)

    assert str(page.error) == (
        f"The live page {page.url} is no longer served: its process ended with code -9. The scan "
        "goes on without it; make a new LiveView to watch it."
    )
    assert caplog.messages == [str(page.error)]
    page.close()


def test_the_process_goes_when_the_scan_is_killed() -> None:
    code = (
        "from concertino.viewers import LivePage, LiveState\n"
        "import time\n"
        "page = LivePage(LiveState()); print(page.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as scan:
        assert scan.stdout is not None
        page = psutil.Process(int(scan.stdout.readline()))
        scan.kill()
        scan.wait()
    wait_until(lambda: not page.is_running() or page.status() == psutil.STATUS_ZOMBIE)


def test_a_script_that_forgets_to_close_ends_without_complaint() -> None:
    code = "from concertino.viewers import LivePage, LiveState; page = LivePage(LiveState())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, timeout=240, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_frozen_process_holds_nobody_up() -> None:
    state = LiveState()
    with LivePage(state) as page:
        with urllib.request.urlopen(page.url, timeout=60) as answer:
            answer.read()
        os.kill(page.pid, signal.SIGSTOP)
        began_s = time.monotonic()
        for number in range(200):
            state.show_frame(np.zeros((64, 64), np.uint16), camera="c", number=number)
        state.document("start", {"uid": "a"})
        assert time.monotonic() - began_s < 10
        os.kill(page.pid, signal.SIGCONT)
