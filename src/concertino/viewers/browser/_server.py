"""The page's process: takes pictures from the scan's process and serves them with Bokeh."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import ErrorHandler

from concertino.viewers._settings import PageSettings

from ._document import LiveDocument
from ._feed import Feed

_NICENESS = 10


def main(arguments: str) -> None:
    """Serve until the scan's process hangs up."""
    given = json.loads(arguments)
    for name, value in given["settings"].items():
        if isinstance(value, list):
            given["settings"][name] = tuple(value)
    settings = PageSettings(**given["settings"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are for the scan's process
        signal.signal(number, signal.SIG_IGN)
    _give_way()
    logging.getLogger("bokeh").setLevel(logging.ERROR)
    listener = socket.socket(fileno=given["listener"])
    feed = Feed(socket.socket(fileno=given["feed"]), settings.refresh_hz)
    asyncio.run(_serve(listener, feed, settings))


def _give_way() -> None:
    """Let the scan's process go first, also where Linux shares the processors out between sessions."""
    os.nice(_NICENESS)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICENESS))


async def _serve(listener: socket.socket, feed: Feed, settings: PageSettings) -> None:
    listener.setblocking(False)
    host = str(listener.getsockname()[0])
    application = Application(FunctionHandler(_document_maker(feed, settings)))
    tornado = _OwnPage(
        {"/": application},
        host=host,
        extra_websocket_origins=["*"],  # `_OwnPage` sees to that.
        # A page that is left open over night must still work in the morning.
        keep_alive_milliseconds=20_000,
        check_unused_sessions_milliseconds=5_000,
        unused_session_lifetime_milliseconds=10_000,
    )
    http = HTTPServer(tornado)
    http.add_socket(listener)
    server = BaseServer(IOLoop.current(), tornado, http)
    server.start()
    await feed.run()
    # Nobody waits for browsers' connections to be closed in order.
    os._exit(0)


def _document_maker(feed: Feed, settings: PageSettings) -> Callable[[Document], None]:
    def make(document: Document) -> None:
        LiveDocument(document, feed, settings)

    return make


class _OwnPage(BokehTornado):  # type: ignore[misc]
    """Answers only who calls this computer by its address or a name of its own.

    Otherwise a page of somebody else, whose name leads here (DNS rebinding) or which opens a
    connection to here, could read the pictures in the browser of a user.

    Parameters
    ----------
    host : str
        Address that is listened on.
    """

    def __init__(self, *arguments: Any, host: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        own = {host, "localhost", socket.gethostname(), socket.getfqdn()}
        self._names = {name.lower() for name in own}

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> Any:
        """Return what answers a request."""
        origin = urlsplit(request.headers.get("Origin", "")).netloc
        if self._is_own(request.host) and origin in ("", request.host):
            return super().find_handler(request, **more)
        return self.get_handler_delegate(request, ErrorHandler, {"status_code": 403})

    def _is_own(self, host: str) -> bool:
        name = (urlsplit(f"//{host}").hostname or "").lower()
        with suppress(ValueError):
            ip_address(name)
            return True  # No name can lead here by an address.
        return name in self._names


if __name__ == "__main__":
    main(sys.argv[1])
