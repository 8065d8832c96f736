"""The base of callbacks that take frames: a thread for each frame stream, errors that are told."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from concertino.documents import StreamSegment
from concertino.frames import Subscription

LOG = logging.getLogger(__name__)

_JOIN_S = 10.0


@dataclass(frozen=True)
class AnnouncedStream:
    """A frame stream that a descriptor announced.

    Parameters
    ----------
    name : str
        Of the document stream: ``darks``, …
    data_key : str
        Of the frames.
    address : str
        Of the frame stream.
    shape : tuple of int
        Frame shape (height, width) in pixels.
    dtype : dtype
        Type of a pixel.
    start, descriptor : mapping
        The documents.
    preview : str
        Address of a stream that shows the ``latest`` frame while the camera waits for a trigger and
        publishes none; empty when there is none.
    """

    name: str
    data_key: str
    address: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    start: Mapping[str, Any]
    descriptor: Mapping[str, Any]
    preview: str = ""


def announced_streams(
    start: Mapping[str, Any], descriptor: Mapping[str, Any]
) -> Iterator[AnnouncedStream]:
    """Yield the frame streams that a descriptor announces."""
    for key, data_key in descriptor["data_keys"].items():
        device = data_key.get("object_name", key)
        configuration = descriptor.get("configuration", {}).get(device, {}).get("data", {})
        address = configuration.get(f"{device}-frames")
        if address and data_key.get("external") == "STREAM:":
            height, width = data_key["shape"][-2:]
            dtype = np.dtype(data_key["dtype_numpy"])
            yield AnnouncedStream(
                descriptor.get("name", "primary"), key, address, (height, width), dtype,
                start, descriptor, configuration.get(f"{device}-preview") or "",
            )  # fmt: skip


class FrameCallback:
    """Takes documents, and the frames that they announce, each stream in a thread of its own.

    Subclasses write `take`, which runs in that thread, and may extend `run_started`, `stream_started`
    and `run_stopped`, which run in the RunEngine's loop and must be short.

    Parameters
    ----------
    name : str
        Name as a subscriber, shown in messages and in the ledger.
    streams : collection of str, optional
        Streams to take, with their segments; all by default.
    """

    def __init__(self, name: str, streams: tuple[str, ...] | None = None) -> None:
        self.name = name
        self._streams = streams
        self._starts: dict[str, Mapping[str, Any]] = {}
        self._threads: list[tuple[threading.Thread, threading.Event]] = []
        self._subscriptions: list[Subscription] = []
        self._errors: list[BaseException] = []

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document.

        Raises
        ------
        ConcertinoError
            What went wrong since the last one and could not be told through a frame stream.
        """
        if self._errors:
            raise self._errors.pop(0)
        if name == "start":
            self._starts[document["uid"]] = document
            self.run_started(document)
        elif name == "descriptor":
            start = self._starts.get(document["run_start"])
            if start is not None:
                for stream in announced_streams(start, document):
                    if self.wants(stream.name):
                        self.stream_started(stream)
        elif name == "stop":
            start = self._starts.pop(document["run_start"], None)
            if start is not None:
                self._join()
                self.run_stopped(start, document)

    def wants(self, stream: str) -> bool:
        """Whether this callback takes a stream: by its name, or that of which it is a segment."""
        wanted = self._streams
        return wanted is None or stream in wanted or StreamSegment.of(stream).base in wanted

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Take note of a run that starts."""

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Subscribe to a stream that starts, and have `take` read it."""
        self._read_in_thread(stream, self.subscribe(stream))

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream."""
        raise NotImplementedError

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Read a stream to its end; an exception fails the stream."""
        raise NotImplementedError

    def run_stopped(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Take note of a run that ended; its streams have been read."""

    def report(self, error: BaseException) -> None:
        """Have an error raised at the next document."""
        self._errors.append(error)

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until every stream was read to its end or was given up, so that its files are closed.

        Parameters
        ----------
        timeout_s : float
            How long, in seconds; a publisher that is gone is noticed by its silence before.
        """
        until_s = time.monotonic() + timeout_s
        for thread, _ in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def abandon(self, reason: str) -> None:
        """Leave all streams at the next frame: what has come is stored, and their runs fail.

        Parameters
        ----------
        reason : str
            Told to the publishers.
        """
        for subscription in list(self._subscriptions):
            subscription.abandon(reason)

    def _read_in_thread(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        taken = threading.Event()
        self._subscriptions.append(subscription)

        def run() -> None:
            try:
                with subscription:
                    try:
                        self.take(stream, subscription)
                    finally:
                        taken.set()
                    subscription.finish()
            except BaseException as error:
                # The subscription has told the publisher, whose run fails with it.
                LOG.debug("%s failed on stream %s", self.name, stream.name, exc_info=error)
            finally:
                self._subscriptions.remove(subscription)

        thread = threading.Thread(target=run, name=f"{self.name} {stream.name}", daemon=True)
        self._threads.append((thread, taken))
        thread.start()

    def _join(self) -> None:
        # Only for the last lines of threads. A stream that has not ended is one whose plan unstages
        # the camera after the run, as those of bluesky do: waiting for it would hold up its end.
        for thread, taken in self._threads:
            if taken.is_set():
                thread.join(_JOIN_S)
        self._threads = [pair for pair in self._threads if pair[0].is_alive()]
