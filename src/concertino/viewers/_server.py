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
from pathlib import Path

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from ._document import LiveDocument
from ._feed import Feed
from ._settings import PageSettings

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
    host, port = listener.getsockname()[:2]
    application = Application(FunctionHandler(_document_maker(feed, settings)))
    tornado = BokehTornado(
        {"/": application},
        extra_websocket_origins=_origins(host, port),
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


def _origins(host: str, port: int) -> list[str]:
    names = {host, "localhost", "127.0.0.1"}
    if host in ("0.0.0.0", "::"):
        return ["*"]
    return [f"{name}:{port}" for name in sorted(names)]


if __name__ == "__main__":
    main(sys.argv[1])
