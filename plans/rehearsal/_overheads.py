"""What the RunEngine and the bookkeeping of frames add to the times of the devices."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino.documents import LEDGER
from concertino.plans.core._device_queries import DeviceQuery, LoopTask
from concertino.plans.core._offers import TellsTrigger
from concertino.plans.core._passed_on import passed_on

_MOST_S = 1.0


@dataclass(frozen=True)
class Overheads:
    """Time that is neither motion nor exposure.

    Parameters
    ----------
    stream_s : float
        To begin and end a stream of frames: staging, preparing, declaring, collecting, in seconds.
    point_s : float
        Of each point of a stepped scan, in seconds.
    rest_s : float
        Of all the rest of a run, from its opening to its closing, in seconds.
    runs : int
        From how many runs they were learnt; 0 for what other computers had.
    """

    stream_s: float = 0.05
    point_s: float = 0.004
    rest_s: float = 0.05
    runs: int = 0

    #: How many runs count: older ones are forgotten little by little.
    MEMORY: ClassVar[int] = 4

    @property
    def source(self) -> str:
        """Where they come from, in words."""
        if not self.runs:
            return "typical figures"
        return f"learnt from {self.runs} earlier run{'s' if self.runs > 1 else ''}"


@dataclass
class Span:
    """From the beginning to the end of a stream of frames, by some clock, in seconds."""

    camera: Any
    stepped: bool
    begin_s: float
    end_s: float = 0.0
    points: int = 0


@dataclass
class Spans:
    """When the streams of a plan began and ended, noted from its messages.

    Parameters
    ----------
    clock : callable
        Tells the time, in seconds.
    """

    clock: Callable[[], float]
    closed: list[Span] = field(default_factory=list)
    disturbed: bool = False
    begin_s: float | None = None
    end_s: float = 0.0
    _open: list[Span] = field(default_factory=list)

    def note(self, message: Msg) -> None:
        """Note a message that is about to be done."""
        command, now_s = message.command, self.clock()
        if command == "open_run":
            self.begin_s = now_s
        elif command == "prepare" and isinstance(message.args[0], TellsTrigger):
            stepped = message.args[0].trigger == "software"
            self._open.append(Span(message.obj, stepped, now_s))
        elif command == "trigger":
            for span in self._open:
                span.points += span.camera is message.obj
        elif command == "collect" and message.kwargs.get("name") == LEDGER:
            for span in self._open:
                span.end_s = now_s
            self.closed += self._open
            self._open = []
        elif command == "wait_for" and not all(
            isinstance(wanted, DeviceQuery | LoopTask) for wanted in message.args[0]
        ):
            self.disturbed = True  # Somebody waits for the world.
        self.end_s = now_s

    @property
    def rest_s(self) -> float:
        """Time of the run outside of all streams, in seconds."""
        within = sum(span.end_s - span.begin_s for span in self.closed)
        return self.end_s - (self.begin_s or 0.0) - within


def noting(plan: MsgGenerator[Any], spans: Spans) -> MsgGenerator[Any]:
    """Pass a plan's messages on, and note when its streams begin and end."""

    def note(message: Msg) -> MsgGenerator[Any]:
        spans.note(message)
        return (yield message)

    return (yield from passed_on(plan, note))


class _Learnt:
    """The overheads of this process, which get better with each run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Overheads()

    def get(self) -> Overheads:
        with self._lock:
            return self._now

    def learn(self, expected: Spans, true: Spans) -> None:
        """Learn from a run that went to its end: when it was to do what, and when it did."""
        pairs = list(zip(expected.closed, true.closed, strict=False))
        if true.disturbed or len(expected.closed) != len(true.closed):
            return
        with self._lock:
            now = self._now
            share = 1 / min(now.runs + 1, Overheads.MEMORY)
            streams, points = [now.stream_s], []
            late = [
                (span, (is_.end_s - is_.begin_s) - (span.end_s - span.begin_s))
                for span, is_ in pairs
            ]
            if flown := [extra for span, extra in late if not span.stepped]:
                streams = [now.stream_s + extra for extra in flown]
            points = [now.point_s + extra / span.points for span, extra in late if span.points] or [
                now.point_s
            ]
            self._now = Overheads(
                _nearer(now.stream_s, streams, share),
                _nearer(now.point_s, points, share),
                _nearer(now.rest_s, [now.rest_s + true.rest_s - expected.rest_s], share),
                now.runs + 1,
            )

    def load(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Begin with what an earlier run knew and taught, if this process knows nothing yet.

        Parameters
        ----------
        start, stop : mapping
            Documents of a run that went to its end, with the figures of its preflight.
        """
        figures = start["preflight"]
        known = Overheads(**figures["overheads"])
        late_s = stop["time"] - start["time"] - figures["duration_s"]
        points = sum(row["frames"] for row in figures["streams"] if row["trigger"] == "software")
        if points:
            known = replace(known, point_s=_within(known.point_s + late_s / points))
        elif figures["streams"]:
            per_stream_s = late_s / len(figures["streams"])
            known = replace(known, stream_s=_within(known.stream_s + per_stream_s))
        with self._lock:
            if not self._now.runs:
                self._now = replace(known, runs=known.runs + 1)


def _within(seconds: float) -> float:
    return min(max(seconds, 0.0), _MOST_S)


def _nearer(now: float, found: list[float], share: float) -> float:
    return now + share * (_within(sum(found) / len(found)) - now)


LEARNT = _Learnt()


def monotonic_spans() -> Spans:
    """Return spans by the clock on the wall."""
    return Spans(time.monotonic)
