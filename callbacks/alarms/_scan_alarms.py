"""Alarms while a scan goes on, and again when it is replayed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from bluesky.protocols import HasName
from event_model import EventPage, unpack_event_page

from concertino import DocumentError, ParameterError, SessionError
from concertino.consumers._capabilities import PauseSwitch, PauseTicket
from concertino.consumers._frame_callback import AnnouncedStream, FrameCallback
from concertino.documents import DocumentCallback, TomoBlock
from concertino.frames import Subscription
from concertino.processing._processing_run import ProcessingRun, stored_processing_run

from ._alarm import Alarm
from ._alarm_checks import Check, Later, LostFrames, Saturation
from ._beam_current import BeamCurrent
from ._flat_drift import FlatDrift
from ._sample_moved import SampleMoved
from ._watched_run import WatchedRun

LOG = logging.getLogger("concertino.alarms")


def default_checks() -> tuple[Check, ...]:
    """Return what is watched by default: saturation, flats, the sample and lost frames."""
    return (Saturation(), FlatDrift(), SampleMoved(), LostFrames())


class ScanAlarms(FrameCallback):
    """Watches a scan and raises an alarm when something passes a limit.

    Each alarm is logged, so it stands in the run's log, and is an event of the stream ``alarms`` of a
    processing run, with figure, unit, limit and frame. The level of its check says what else happens: a
    scan is paused or failed.

    Every frame is acknowledged at once, but only some are looked at, by their index and so the same in a
    replay. A replay gives the same alarms.

    Parameters
    ----------
    checks : sequence of check
        What is watched: `Saturation`, `FlatDrift`, `SampleMoved`, `LostFrames`, `BeamCurrent`; the first
        four by default, as warnings.
    samples : int
        Frames of each stream that are looked at, at most and evenly spread, besides those that a check
        needs.
    hold : PauseRequest, optional
        Has a scan pause. A session gives its own. Without one, alarms that should pause are warnings.
    directory : str or Path, optional
        Where the directories of the processing runs are made; beside the raw run's by default.
    callbacks : sequence of callable
        Take the documents of the processing runs, such as a `LiveView`, which shows the alarms.
    name : str
        Name as a subscriber.
    necessary : bool
        Whether a run fails when it cannot be watched; an alarm of the level ``fail`` always fails it.

    Attributes
    ----------
    alarms : list of Alarm
        Of the run that began last. An alarm belongs to the run that it judged: one that is found when that
        run has ended stands in its record and in the log, and does nothing to a later run.

    Examples
    --------
    >>> from concertino.callbacks import Saturation, SampleMoved, ScanAlarms
    >>> alarms = ScanAlarms([Saturation(share=0.01), SampleMoved(limit_px=1.5, level="pause")])
    >>> alarms.alarms
    []
    """

    def __init__(
        self,
        checks: Sequence[Check] | None = None,
        *,
        samples: int = 100,
        hold: PauseSwitch | None = None,
        directory: str | Path | None = None,
        callbacks: Sequence[DocumentCallback] = (),
        name: str = "alarms",
        necessary: bool = False,
    ) -> None:
        if samples < 1:
            raise ParameterError(
                f"samples: {samples!r} was given; give how many frames of each stream are looked at, "
                "1 or more."
            )
        super().__init__(name, necessary=necessary)
        self.checks = tuple(default_checks() if checks is None else checks)
        self.alarms: list[Alarm] = []
        self.hold = hold
        self._samples = samples
        self._directory = None if directory is None else Path(directory)
        self._callbacks = list(callbacks)
        self._jobs: dict[str, WatchedRun] = {}
        self._recorder = ThreadPoolExecutor(1, thread_name_prefix=f"recorder {name}")
        self._pending: list[Future[None]] = []

    @property
    def monitors(self) -> tuple[Any, ...]:
        """Signals that must be monitored in the runs; a session does so."""
        signals = [c.signal for c in self.checks if isinstance(c, BeamCurrent)]
        return tuple(signal for signal in signals if not isinstance(signal, str))

    @property
    def busy(self) -> bool:
        """Whether alarms are still being recorded."""
        return any(not pending.done() for pending in self._pending)

    @property
    def run_directory(self) -> Path | None:
        """Directory of the processing run of the last run that had alarms."""
        return self._last_directory

    _last_directory: Path | None = None

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the alarms of the last run are recorded.

        Raises
        ------
        ConcertinoError
            If they could not be.
        """
        done, _ = wait_for(self._pending, timeout_s)
        self._pending = [pending for pending in self._pending if pending not in done]
        for pending in done:
            pending.result()

    def close(self) -> None:
        """Wait until all is recorded, and end the threads."""
        for job in list(self._jobs.values()):
            job.cancel()
        self._recorder.shutdown()

    def take_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document."""
        jobs = list(self._jobs.values())
        super().take_document(name, document)
        told = [(name, document)] if name in ("descriptor", "event") else []
        if name == "event_page":
            told = [("event", event) for event in unpack_event_page(cast(EventPage, document))]
        for job in jobs if told else ():
            for kind, single in told:
                job.look(lambda examiner, k=kind, d=single: examiner.document(k, d))  # type: ignore[misc]
            job.follow_dips()

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Begin to watch a run."""
        try:
            tomo = TomoBlock.from_start(start) if "tomo" in start else None
        except DocumentError as error:
            LOG.warning("run %s is not watched: %s", start["uid"], error)
            return
        job = self._jobs[start["uid"]] = WatchedRun(self, start, tomo)
        self.alarms = job.alarms

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Subscribe to the streams that are watched."""
        job = self._jobs.get(stream.start["uid"])
        if job is not None and job.watches(stream.name):
            super().stream_started(stream)

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Look at some of the frames, and let go of all."""
        job = self._jobs[stream.start["uid"]]
        every = job.spacing(stream.name, self._samples)
        for batch in subscription:
            job.frames(stream.name, batch, every)
            subscription.acknowledge(batch.stop)

    def run_stopped(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Look back, and have the processing run end."""
        job = self._jobs.pop(start["uid"], None)
        if job is not None:
            job.look(lambda examiner: examiner.end())
            job.end()
            self._submit(job.close)

    def detached(self, error: BaseException) -> None:
        """Watch the runs no more that go on without this."""
        super().detached(error)
        for uid in list(self._jobs):
            job = self._jobs.pop(uid)
            job.cancel()
            self._submit(job.close)

    def raise_later(self, job: WatchedRun, work: Later) -> None:
        """Do work that takes long, and act on the alarms that it gives."""

        def do() -> None:
            for alarm in job.found(work):
                job.act(alarm)  # First: it happens even if it cannot be recorded.
                job.record(alarm)

        self._submit(do)

    def raise_alarm(self, job: WatchedRun, alarm: Alarm) -> None:
        """Act on an alarm; called by any thread."""
        self._submit(lambda: job.record(alarm))
        job.act(alarm)

    def pause(
        self, run: str, reason: str, since_s: float | None = None, *, until_resumed: bool = True
    ) -> PauseTicket | None:
        """Have a run pause, if that is possible."""
        if self.hold is None:
            LOG.warning("the scan cannot be paused: no PauseRequest was given to %s", self.name)
            return None
        try:
            return self.hold.request(
                reason,
                since_s,
                owner=f"the alarm {self.name!r}",
                run=run,
                until_resumed=until_resumed,
            )
        except SessionError as error:  # What only looks never costs a scan.
            LOG.warning("%s", error)
            return None

    def open_record(self, stack: ExitStack, start: Mapping[str, Any]) -> ProcessingRun | None:
        """Open the processing run of a run."""
        limits = {type(check).__name__: _limits(check) for check in self.checks}
        run = stack.enter_context(
            stored_processing_run(
                start, "alarms", limits,
                name=self.name, directory=self._directory, callbacks=self._callbacks,
            )
        )  # fmt: skip
        self._last_directory = None if run is None else run.directory
        return run

    def _submit(self, work: Callable[[], None]) -> None:
        self._pending = [p for p in self._pending if not p.done() or p.exception() is not None]
        self._pending.append(self._recorder.submit(work))


def _limits(check: Check) -> dict[str, Any]:
    """Return the settings of a check, JSON-safe."""
    return {
        name: value
        if isinstance(value, (int, float, str, tuple, type(None)))
        else str(value.name if isinstance(value, HasName) else value)
        for name, value in vars(check).items()
    }
