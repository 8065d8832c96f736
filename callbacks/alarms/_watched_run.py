"""The watch over one run: what is found in it, and what an alarm does to it and to nobody else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from concertino import AlarmError
from concertino.consumers._capabilities import PauseTicket
from concertino.documents import ImageKind, StreamSegment, TomoBlock
from concertino.frames import FrameBatch
from concertino.processing._processing_run import ProcessingRun

from ._alarm import Alarm
from ._alarm_checks import Check, Examiner, Later, LostFrames, SeenFrame
from ._beam_current import BeamDips

LOG = logging.getLogger("concertino.alarms")

_SEVERITY = {"note": logging.INFO, "warn": logging.WARNING}


class RunKeeper(Protocol):
    """Who watches runs: has them pause or fail, and opens their records."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """What is watched."""

    def raise_alarm(self, job: WatchedRun, alarm: Alarm) -> None:
        """Act on an alarm; called by any thread."""

    def raise_later(self, job: WatchedRun, work: Later) -> None:
        """Do work that takes long, and act on the alarms that it gives."""

    def pause(
        self, run: str, reason: str, since_s: float | None = None, *, until_resumed: bool = True
    ) -> PauseTicket | None:
        """Have a run pause, if that is possible."""

    def report(self, error: BaseException) -> None:
        """Have the run fail with an error."""

    def open_record(self, stack: ExitStack, start: Mapping[str, Any]) -> ProcessingRun | None:
        """Open the processing run of a run."""


class WatchedRun:
    """The watch over one run: what its checks find in it, and what that does to it.

    Parameters
    ----------
    owner : RunKeeper
        Has the run pause or fail, and opens its record.
    start : mapping
        Start document of the run.
    tomo : TomoBlock, optional
        Its geometry; a run that is no scan is only watched for lost frames.
    """

    def __init__(self, owner: RunKeeper, start: Mapping[str, Any], tomo: TomoBlock | None) -> None:
        self.start = start
        self.alarms: list[Alarm] = []
        self._tomo = tomo
        self._owner = owner
        self._over = False
        self._lock = threading.Lock()
        numbers = [check for check in owner.checks if isinstance(check, LostFrames)]
        self._counts = bool(numbers)
        self._examiners: list[Examiner] = (
            [check.examiner(start) for check in numbers]
            if tomo is None
            else [check.examiner(start, tomo) for check in owner.checks]
        )
        self._stack = ExitStack()
        self._run: ProcessingRun | None = None
        self._opened = self._closed = False
        self._timers: dict[BeamDips, threading.Timer] = {}
        self._paused: dict[BeamDips, PauseTicket | None] = {}

    def watches(self, stream: str) -> bool:
        """Whether the frames of a stream are wanted."""
        return self._counts or self._kind(stream) is not None

    def spacing(self, stream: str, samples: int) -> int:
        """Return of how many frames of a stream one is looked at."""
        base = self._segment(stream).base
        count = int(self.start.get("frames", {}).get(base, 10 * samples))
        return max(1, -(-count // samples))

    def frames(self, stream: str, batch: FrameBatch, every: int) -> None:
        """Look at frames; at those that are no images of the scan, for their numbers only."""
        kind, first = self._kind(stream), self._segment(stream).first + batch.start
        self.look(lambda e: e.exposures(stream, first, batch.numbers, batch.timestamps))
        if kind is None:
            return
        for offset in range(len(batch)):
            index = first + offset
            if index % every and not any(e.wants(kind, index) for e in self._examiners):
                continue
            seen = SeenFrame(kind, stream, index, batch.frames[offset])
            self.look(lambda e, seen=seen: e.frame(seen))  # type: ignore[misc]

    def _kind(self, stream: str) -> ImageKind | None:
        return None if self._tomo is None else self._tomo.kind(stream)

    def _segment(self, stream: str) -> StreamSegment:
        return StreamSegment.of(stream) if self._tomo is None else self._tomo.segment(stream)

    def found(self, work: Later) -> list[Alarm]:
        """Return what work that takes long gives; nothing if it breaks."""
        try:
            return list(work())
        except Exception as error:
            LOG.exception("something could not be compared: %s", error)
            return []

    def look(self, question: Callable[[Examiner], Iterable[Alarm | Later]]) -> None:
        """Ask every examiner, and raise the alarms that they give."""
        for examiner in list(self._examiners):
            try:
                with self._lock:
                    alarms = list(question(examiner))
            except Exception as error:
                # A check that cannot cope must not cost the scan.
                LOG.exception("%s watches no more: %s", type(examiner).__name__.strip("_"), error)
                self._examiners.remove(examiner)
                continue
            for alarm in alarms:
                if isinstance(alarm, Alarm):
                    self._owner.raise_alarm(self, alarm)
                else:
                    self._owner.raise_later(self, alarm)

    def follow_dips(self) -> None:
        """Have the scan pause while a signal is below its limit, and for a time after that."""
        for examiner in self._dips():
            asked = examiner.asked
            if asked.level != "pause":
                continue
            if examiner.below_since_s is not None:
                if (timer := self._timers.pop(examiner, None)) is not None:
                    timer.cancel()
                if examiner not in self._paused:
                    since_s = examiner.below_since_s - asked.lag_s
                    self._paused[examiner] = self._owner.pause(
                        self.start["uid"], asked.reason, since_s, until_resumed=False
                    )
            elif examiner in self._paused and examiner not in self._timers:
                timer = threading.Timer(asked.recovered_s, self._recovered, (examiner,))
                timer.daemon = True
                self._timers[examiner] = timer
                timer.start()

    def cancel(self) -> None:
        """Stop following signals: the run is over, and nothing of it is to hold the next."""
        for timer in list(self._timers.values()):
            timer.cancel()
        for ticket in list(self._paused.values()):
            if ticket is not None:
                ticket.release()
        self._timers.clear()
        self._paused.clear()

    def end(self) -> None:
        """Note that the run is over: what is found from now on only stands in its record."""
        self._over = True
        self.cancel()

    def act(self, alarm: Alarm) -> None:
        """Log an alarm, and do to its run what its level says, as long as that goes on."""
        self.alarms.append(alarm)
        LOG.log(_SEVERITY.get(alarm.level, logging.ERROR), "%s: %s", alarm.check, alarm.message)
        if self._over:
            if alarm.level in ("pause", "fail"):
                LOG.warning(
                    "This alarm (level %s) is about run %s, which had ended when it was found: it stands "
                    "in the record of that run, and nothing is paused or failed.",
                    alarm.level, Path(self.start.get("run_directory", "")).name or self.start["uid"],
                )  # fmt: skip
        elif alarm.level == "fail":
            self._owner.report(AlarmError(f"{alarm.check}: {alarm.message}"))
        elif alarm.level == "pause" and alarm.check != "beam current":
            self._owner.pause(self.start["uid"], f"{alarm.check}: {alarm.message}")

    def record(self, alarm: Alarm) -> None:
        """Put an alarm into the processing run, which begins with the first."""
        if self._closed:
            LOG.warning("%s was found too late for the record", alarm.check)
            return
        if not self._opened:
            self._opened = True
            self._run = self._owner.open_record(self._stack, self.start)
        if self._run is not None:
            self._run.record("alarms", alarm.columns())

    def close(self) -> None:
        """End the processing run."""
        self._closed = True
        self._stack.close()

    def _dips(self) -> Iterator[BeamDips]:
        return (examiner for examiner in self._examiners if isinstance(examiner, BeamDips))

    def _recovered(self, examiner: BeamDips) -> None:
        self._timers.pop(examiner, None)
        if examiner.below_since_s is None:
            ticket = self._paused.pop(examiner, None)
            if ticket is not None:
                LOG.info("%s has recovered; the scan goes on", examiner.asked.key)
                ticket.release()
