"""The page in the browser, as the scan's process sees it: a process that asks for pictures."""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict
from errno import EADDRINUSE
from importlib.metadata import version
from typing import IO, Self

from concertino._errors import SessionError
from concertino._extras import extra

from ._settings import PageSettings
from ._state import LiveState
from ._wire import QUESTION, pack

_LOG = logging.getLogger(__name__)
_SERVER = "concertino.viewers.browser._server"
_STOP_TIMEOUT_S = 3.0
_LAST_WORDS = 2000


class LivePage:
    """Serves a `LiveState` as a web page, from a process of its own.

    The process takes pictures from this one only when a browser is ready for them. If it dies,
    `error` says so, and nothing else happens.

    Parameters
    ----------
    state : LiveState
        What to show.
    host : str
        Address to listen on. Everyone who reaches it sees the page: there is no password.
    port : int
        Port to listen on; 0 takes a free one.
    settings : PageSettings, optional
        What the page shows at first.

    Attributes
    ----------
    url : str
        Of the page. It answers a second or two after the object was made.
    error : SessionError or None
        Why the page is no longer served; None while it is.

    Raises
    ------
    MissingExtraError
        If Bokeh is not installed.
    SessionError
        If the address cannot be listened on.
    """

    def __init__(
        self,
        state: LiveState,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: PageSettings | None = None,
    ) -> None:
        self.error: SessionError | None = None
        self._state = state
        self._closed = False
        with extra("viewers", "The live view"):
            version("bokeh")  # The page's process imports it.
        with _listen(host, port) as listener:
            self.url = "http://{}:{}/".format(*listener.getsockname()[:2])
            self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
            self._process, self._feed = _spawn(listener, settings or PageSettings(), self._words)
        self._thread = threading.Thread(target=self._answer, name="live page", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """Process that serves the page."""
        return self._process.pid

    def close(self) -> None:
        """Stop serving; idempotent."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        with suppress(OSError):
            # Wakes the thread if it waits in the socket.
            self._feed.shutdown(socket.SHUT_RDWR)
        # It has nothing to lose, and may be frozen, or still loading.
        self._process.kill()
        self._process.wait()
        self._thread.join(_STOP_TIMEOUT_S)
        self._feed.close()
        self._words.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _answer(self) -> None:
        """Reply to the page's questions until it is gone."""
        problem = ""
        try:
            while len(question := self._feed.recv(QUESTION.size, socket.MSG_WAITALL)) == (
                QUESTION.size
            ):
                frame, slice_, size = QUESTION.unpack(question)
                if size:
                    self._state.request(json.loads(self._feed.recv(size, socket.MSG_WAITALL)))
                found = [self._state.newer("frames", frame), self._state.newer("slices", slice_)]
                for part in pack(self._state.summary(), [p for p in found if p is not None]):
                    self._feed.sendall(part)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if not self._closed:
            self._report(problem)

    def _report(self, problem: str) -> None:
        try:
            code: int | None = self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
        if self._closed:
            return
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - _LAST_WORDS))
        last = self._words.read().decode(errors="replace").strip().splitlines()
        reason = problem or (last[-1] if last else f"its process ended with code {code}")
        error = SessionError(
            f"The live page {self.url} is no longer served: {reason}. The scan goes on without "
            "it; make a new LiveView to watch it."
        )
        _LOG.warning("%s", error)
        self.error = error


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What the system holds back for a browser that reads slowly is shown late: keep it small.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**18)
        listener.bind((host, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == EADDRINUSE:
            raise SessionError(
                f"The live view cannot use port {port} on {host}: another program, or another live "
                "view, listens there. Close it, give another port, or port=0 for a free one."
            ) from error
        raise SessionError(
            f"The live view cannot listen on {host}, port {port}: {error}. Give an address of this "
            "computer and a port from 0 to 65535."
        ) from error
    return listener


def _spawn(
    listener: socket.socket, settings: PageSettings, words: IO[bytes]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        arguments = json.dumps(
            {"listener": listener.fileno(), "feed": theirs.fileno(), "settings": asdict(settings)}
        )
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", _SERVER, arguments],
                pass_fds=(listener.fileno(), theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                # Ctrl-C in the terminal is for the scan.
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise SessionError(
                f"The live view's process cannot be started: {error}. See whether this computer has "
                "memory and processes left."
            ) from error
    return process, ours
