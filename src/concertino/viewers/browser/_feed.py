"""The page's process's copy of the newest of everything."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

from concertino.viewers._picture import Panel, Picture
from concertino.viewers._wire import PREFIX, QUESTION, unpack

_ATTENTIVE_S = 1.0
_IDLE_PERIOD_S = 0.05


class Feed:
    """Asks the scan's process for what is new, while some browser takes it.

    Parameters
    ----------
    connection : socket
        To the scan's process.
    refresh_hz : float
        Questions a second at most.

    Attributes
    ----------
    summary : dict
        As `LiveState.summary` returned it last; empty before.
    pictures : dict
        Panel to label to picture.
    """

    def __init__(self, connection: socket.socket, refresh_hz: float) -> None:
        self.summary: dict[str, Any] = {}
        self.pictures: dict[Panel, dict[str, Picture]] = {"frames": {}, "slices": {}}
        self._connection = connection
        self._period_s = 1 / refresh_hz
        self._versions: dict[Panel, int] = {"frames": 0, "slices": 0}
        self._wanted_s = float("-inf")
        self._request: dict[str, Any] = {}

    def request(self, **changes: Any) -> None:
        """Have settings changed with the next question."""
        self._request |= changes

    def want(self) -> None:
        """Say that a browser has taken what it was sent."""
        self._wanted_s = time.monotonic()

    async def run(self) -> None:
        """Ask until the scan's process hangs up."""
        self._connection.setblocking(True)
        reader, writer = await asyncio.open_connection(sock=self._connection)
        gone = asyncio.ensure_future(self._ask(reader, writer))
        try:
            await gone
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            began_s = time.monotonic()
            if began_s - self._wanted_s > _ATTENTIVE_S:
                await asyncio.sleep(_IDLE_PERIOD_S)
                continue
            request = json.dumps(self._request).encode() if self._request else b""
            self._request = {}
            versions = self._versions["frames"], self._versions["slices"]
            writer.write(QUESTION.pack(*versions, len(request)) + request)
            prefix = await reader.readexactly(PREFIX.size)
            header, pixels = PREFIX.unpack(prefix)
            self._take(await reader.readexactly(header), await reader.readexactly(pixels))
            await asyncio.sleep(max(0.0, began_s + self._period_s - time.monotonic()))

    def _take(self, header: bytes, pixels: bytes) -> None:
        self.summary, pictures = unpack(header, pixels)
        for picture in pictures:
            self.pictures[picture.panel][picture.label] = picture
            self._versions[picture.panel] = picture.version
        for panel, labels in self.summary["labels"].items():
            kept = self.pictures[panel]
            self.pictures[panel] = {label: kept[label] for label in labels if label in kept}
