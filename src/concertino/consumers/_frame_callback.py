"""The base of callbacks that take frames: a thread for each frame stream, errors that are told."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from concertino import FrameStreamError, SessionError
from concertino.documents import StreamSegment, device_configuration
from concertino.frames import Subscription, subscribe
from concertino.runtime._priority import make_way

from ._consumer import Consumer

LOG = logging.getLogger(__name__)

_JOIN_S = 5.0
#: By how much who takes frames of a detector that stores them itself makes way for others.
_NICENESS = 5


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
    own_files : bool
        Whether the detector itself stores the frames, in files that its documents name.
    """

    name: str
    data_key: str
    address: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    start: Mapping[str, Any]
    descriptor: Mapping[str, Any]
    preview: str = ""
    own_files: bool = False


def announced_streams(
    start: Mapping[str, Any], descriptor: Mapping[str, Any]
) -> Iterator[AnnouncedStream]:
    """Yield the frame streams that a descriptor announces."""
    for key, data_key in descriptor["data_keys"].items():
        device = data_key.get("object_name", key)
        configuration = device_configuration(descriptor, device)
        address = configuration.get("frames")
        # A detector that writes its own files may have numbers of each frame in them, too.
        if address and data_key.get("external") == "STREAM:" and len(data_key["shape"]) > 1:
            height, width = data_key["shape"][-2:]
            dtype = np.dtype(data_key["dtype_numpy"])
            yield AnnouncedStream(
                descriptor.get("name", "primary"), key, address, (height, width), dtype,
                start, descriptor, configuration.get("preview") or "",
                bool(configuration.get("own_files")),
            )  # fmt: skip


@dataclass(frozen=True)
class _Reading:
    """A thread that reads a stream, and whether it has."""

    stream: AnnouncedStream
    thread: threading.Thread
    taken: threading.Event
    every: bool


class FrameCallback(Consumer):
    """Takes documents, and the frames that they announce, each stream in a thread of its own.

    Subclasses write `take`, which runs in that thread, and may extend `subscribe`, `run_started`,
    `stream_started` and `run_stopped`, which run in the thread of its documents; see `Consumer`.

    Parameters
    ----------
    name : str
        Name as a subscriber, shown in messages and in the ledger.
    streams : collection of str, optional
        Streams to take, with their segments; all by default.
    necessary : bool
        Whether a run cannot do without it: then it fails when `take` does. Otherwise it goes on, and
        `error` tells why it did.
    """

    def __init__(
        self, name: str, streams: tuple[str, ...] | None = None, *, necessary: bool = False
    ) -> None:
        super().__init__(name, necessary=necessary)
        self._streams = streams
        self._starts: dict[str, Mapping[str, Any]] = {}
        self._readings: list[_Reading] = []
        self._subscriptions: list[Subscription] = []
        self._frame_error: BaseException | None = None

    @property
    def error(self) -> BaseException | None:
        """Why the last run went on without it, or without its taking some frames; or None."""
        return super().error or self._frame_error

    def take_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document."""
        if name == "start":
            if not self._starts:
                self._frame_error = None
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
        elif name in ("event", "event_page"):
            self._look_at_ledger(name, document)

    def detached(self, error: BaseException) -> None:
        """Forget the runs that are open."""
        self._starts.clear()

    def given_up(self, stream: str, error: FrameStreamError) -> None:
        """Take note that a run's ledger says that a stream went on without this, and why."""
        self._frame_error = self._frame_error or error

    def _look_at_ledger(self, name: str, document: Mapping[str, Any]) -> None:
        # Who hangs in `take` does not hear from its subscription that it was given up.
        for key, parties in document["data"].items():
            if not key.endswith("-ledger-party"):
                continue
            prefix = key.removesuffix("party")
            columns = [
                document["data"][f"{prefix}{column}"] for column in ("stream", "state", "reason")
            ]
            rows = (
                zip(parties, *columns, strict=True)
                if name == "event_page"
                else [(parties, *columns)]
            )
            for party, stream, state, reason in rows:
                if party == self.name and state in ("failed", "silent"):
                    told = f"{self.name} was detached from stream {stream}: {reason.rstrip('.')}."
                    self.given_up(stream, FrameStreamError(told))

    def wants(self, stream: str) -> bool:
        """Whether this callback takes a stream: by its name, or that of which it is a segment."""
        wanted = self._streams
        return wanted is None or stream in wanted or StreamSegment.of(stream).base in wanted

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Take note of a run that starts."""

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Subscribe to a stream that starts, and have `take` read it."""
        self._check_idle(stream)
        self._read_in_thread(stream, self.subscribe(stream))

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream: to every frame, unless a subclass wants others."""
        return subscribe(
            stream.address, name=self.name, necessary=self.necessary, rows=self.needed_rows(stream)
        )

    def needed_rows(self, stream: AnnouncedStream) -> Sequence[int] | None:
        """Return the rows of a stream's frames that are needed; None for all."""
        return None

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Read a stream to its end; an exception fails the stream if this is necessary."""
        raise NotImplementedError

    def run_stopped(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Take note of a run that ended; its streams have been read."""

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until every stream was read to its end or was given up, so that its files are closed.

        Parameters
        ----------
        timeout_s : float
            How long, in seconds; a publisher that is gone is noticed by its silence before.
        """
        until_s = time.monotonic() + timeout_s
        for reading in self._readings:
            reading.thread.join(max(0.0, until_s - time.monotonic()))

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
            if stream.own_files:
                make_way(_NICENESS)  # for the program that writes them: nobody waits for who looks
            try:
                with subscription:
                    try:
                        self.take(stream, subscription)
                    finally:
                        taken.set()
                    subscription.finish()
            except BaseException as error:
                # The subscription has told the publisher, whose run fails with it if it must.
                self._frame_error = self._frame_error or error
                LOG.debug("%s failed on stream %s", self.name, stream.name, exc_info=error)
            finally:
                self._subscriptions.remove(subscription)

        thread = threading.Thread(target=run, name=f"{self.name} {stream.name}", daemon=True)
        self._readings.append(_Reading(stream, thread, taken, subscription.delivery == "every"))
        thread.start()

    def _join(self) -> None:
        # Only for the last lines of threads. A stream that has not ended is one whose plan unstages
        # the camera after the run, as those of bluesky do: waiting for it would hold up its end.
        for reading in self._readings:
            if reading.taken.is_set():
                reading.thread.join(_JOIN_S)
        self._readings = [reading for reading in self._readings if reading.thread.is_alive()]

    def _check_idle(self, stream: AnnouncedStream) -> None:
        """Refuse a stream while frames of the camera's last one, which has ended, are not let go."""
        for reading in self._readings:
            last, same = reading.stream, reading.stream.data_key == stream.data_key
            if same and reading.every and reading.thread.is_alive() and not reading.taken.is_set():
                raise SessionError(
                    f"{self.name} still works on frames of {last.name}, and takes none of {stream.name}. "
                    "Find out what it waits for, or unsubscribe it."
                )
