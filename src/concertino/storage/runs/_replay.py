"""Replay a stored run through callbacks that cannot tell it from a live one."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from concertino._errors import ParameterError
from concertino.documents import DocumentCallback
from concertino.frames import Claim, Ledger

from ._find_runs import open_run
from ._pace import ReplayPace
from ._replayed_stream import ReplayedStream
from ._run import Run
from ._run_index import stop_of_unfinished

Progress = Callable[[str, int, int], Any]

_REFER = ("event", "event_page", "stream_datum")


@dataclass(frozen=True)
class ReplayReport:
    """What a replay did.

    Attributes
    ----------
    uid
        Of the run.
    ledgers
        The account of the frames of each stream.
    exports
        Where callbacks stored frames anew; the run's documents do not tell of it.
    duration_s
        How long it took, in s.
    """

    uid: str
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    exports: dict[str, tuple[Claim, ...]] = field(default_factory=dict)
    duration_s: float = 0.0

    @property
    def frames(self) -> dict[str, int]:
        """Number of frames published of each stream."""
        return {stream: ledger.published for stream, ledger in self.ledgers.items()}


def replay(
    run: Run | str | int | os.PathLike[str],
    callbacks: DocumentCallback | Iterable[DocumentCallback],
    *,
    speed: float | None = None,
    streams: Collection[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    stream_address: str = "tcp://127.0.0.1:0",
) -> ReplayReport:
    """Emit the documents of a stored run again and publish its frames again.

    The documents are those that were recorded, with their uids, except for what depends on where and when:
    each descriptor names a new frame stream, on which the stored frames are published before the
    documents that describe them, and the start document names the directory in which the run is now. A
    run that was never stopped gets a stop document with exit status ``abort``. What a callback stores
    is an export: it is reported, and the run's documents do not change.

    Parameters
    ----------
    run
        A run, or what `open_run` takes.
    callbacks
        They take the documents, in this order, in the calling thread.
    speed
        None: as fast as the callbacks take the frames. 1: at the original pace, by the times of the
        documents and frames; 2: twice as fast.
    streams
        Names of the streams to replay; all by default.
    root
        The data directory in which to look `run` up.
    progress
        Called with the name of a stream, frames published and frames in all.
    stream_address
        Where the frames are published: by default for callbacks on this computer, in whatever process;
        ``"tcp://host:0"`` for those on other computers, too.

    Returns
    -------
    ReplayReport
        The account.

    Raises
    ------
    StorageError
        When frames are missing or damaged; the file and the frame are named.
    ParameterError
        When `speed` is not positive, or the run has no such stream.
    SubscriberFailedError, SubscriberSilentError
        When a callback that takes frames failed, or did nothing for too long.
    Exception
        What a callback raised. The others are then given a stop document with exit status ``fail``.
    """
    if speed is not None and not speed > 0:
        raise ParameterError(
            f"speed: {speed!r} was given; give a positive number, or None for as fast as possible."
        )
    stored = run if isinstance(run, Run) else open_run(run, root)
    unknown = sorted(set(streams or ()) - set(stored.streams))
    if unknown:
        raise ParameterError(
            f"streams: {unknown} were asked for; {stored.name} has {', '.join(stored.streams)}. "
            "Name some of these."
        )
    takers = [callbacks] if callable(callbacks) else list(callbacks)
    begun_s = time.monotonic()
    player = _Player(
        stored, takers, streams, ReplayPace(speed, stored.start["time"]), progress, stream_address
    )
    player.play()
    return ReplayReport(stored.uid, player.ledgers, player.exports, time.monotonic() - begun_s)


class _Player:
    """One replay."""

    def __init__(
        self,
        run: Run,
        callbacks: list[DocumentCallback],
        streams: Collection[str] | None,
        pace: ReplayPace,
        progress: Progress | None,
        stream_address: str,
    ) -> None:
        self._stream_address = stream_address
        self.ledgers: dict[str, Ledger] = {}
        self.exports: dict[str, tuple[Claim, ...]] = {}
        self._run = run
        self._callbacks = callbacks
        self._pace = pace
        self._progress = progress
        self._wanted = set(run.streams if streams is None else streams)
        self._streams: dict[str, list[ReplayedStream]] = {}  # by the uid of the descriptor
        self._published: dict[tuple[str, str], int] = {}  # by stream and data key
        self._last = {  # number of the last document of each descriptor
            document["descriptor"]: number
            for number, (name, document) in enumerate(run.documents())
            if name in _REFER
        }

    def play(self) -> None:
        """Emit everything."""
        try:
            stopped = False
            for number, (name, document) in enumerate(self._run.documents()):
                self._step(number, name, document)
                stopped = name == "stop"
            if not stopped:
                self._emit("stop", stop_of_unfinished(self._run.uid, self._run.reason))
        except BaseException as error:
            self._give_up(error)
            raise

    def _step(self, number: int, name: str, document: dict[str, Any]) -> None:
        named = document.get("descriptor") or document.get("uid", "")
        owner = self._run.index.owners.get(named)
        if name not in ("start", "stop") and (owner is None or owner.name not in self._wanted):
            return
        self._pace.wait_until(document.get("time") if name != "event_page" else None)
        if name == "start":
            document["run_directory"] = str(self._run.directory)
        elif name == "descriptor":
            self._announce(document)
        elif name == "stream_datum":
            self._publish(document)
        self._emit(name, document)
        if name == "descriptor" and document["uid"] not in self._last:
            self._end(document["uid"])
        elif name in _REFER and self._last[document["descriptor"]] == number:
            self._end(document["descriptor"])

    def _announce(self, descriptor: dict[str, Any]) -> None:
        """Open frame streams and put their addresses into the descriptor."""
        stored = self._run[descriptor.get("name", "primary")]
        opened = self._streams.setdefault(descriptor["uid"], [])
        for key, data_key in descriptor["data_keys"].items():
            if key not in stored.frame_keys:
                continue
            frames = stored.frames(key)
            stream = ReplayedStream(
                frames, key, self._published.get((stored.name, key), 0), self._stream_address
            )
            opened.append(stream)
            device = data_key.get("object_name", key)
            configuration = descriptor.setdefault("configuration", {}).setdefault(
                device, {"data": {}, "timestamps": {}, "data_keys": {}}
            )
            configuration["data"][f"{device}-frames"] = stream.address
            if f"{device}-preview" in configuration["data"]:
                configuration["data"][f"{device}-preview"] = ""  # Nobody waits for a trigger.
            if f"{device}-own_files" in configuration["data"]:
                configuration["data"][f"{device}-own_files"] = False  # A callback may store a copy.

    def _publish(self, datum: Mapping[str, Any]) -> None:
        """Publish the frames that a stream_datum describes."""
        resource = self._run.index.resources[datum["stream_resource"]]
        stored = self._run.index.owners[datum["descriptor"]]
        count = datum["indices"]["stop"] - datum["indices"]["start"]
        for stream in self._streams[datum["descriptor"]]:
            if stream.key == resource["data_key"]:
                shape = stored.data_keys[stream.key]["shape"]
                count *= shape[0] if len(shape) == 3 else 1
                for done, total in stream.publish(count, self._pace):
                    if self._progress is not None:
                        self._progress(stored.name, done, total)
                self._published[stored.name, stream.key] = stream.position

    def _end(self, descriptor: str) -> None:
        """Wait until the subscribers have done all work on the streams of a descriptor."""
        name = self._run.index.owners[descriptor].name
        for stream in self._streams.get(descriptor, []):
            self.ledgers[name] = stream.end()
            if stream.claims:
                self.exports[name] = self.exports.get(name, ()) + stream.claims
        self._streams.pop(descriptor, None)

    def _emit(self, name: str, document: Mapping[str, Any]) -> None:
        for callback in self._callbacks:
            callback(name, document)

    def _give_up(self, error: BaseException) -> None:
        """Release the callbacks: their streams fail, and their run stops."""
        for streams in self._streams.values():
            for stream in streams:
                stream.fail(error)
        stop = stop_of_unfinished(self._run.uid, f"the replay failed: {error}", "fail")
        for callback in self._callbacks:
            with suppress(Exception):  # the first error is the one that is raised
                callback("stop", stop)
