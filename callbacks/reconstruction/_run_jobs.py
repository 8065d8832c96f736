"""The base of callbacks that make something of a run: its frames come, and when all have, it is made."""

import copy
import logging
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from concertino import FrameStreamError, ReconstructionError
from concertino.consumers._consumer import told
from concertino.consumers._frame_callback import AnnouncedStream, FrameCallback
from concertino.documents import DocumentCallback, TomoBlock
from concertino.frames import Subscription
from concertino.processing._processing_run import ProcessingRun, stored_processing_run

from ._frame_completion import FrameCompletion

LOG = logging.getLogger(__name__)

_SIGN_S = 1.0

Result = TypeVar("Result")


class RunJob(Generic[Result]):
    """What is made of one run.

    Parameters
    ----------
    start : mapping
        Start document of the run.
    tomo : TomoBlock
        Its geometry, for one camera.

    Attributes
    ----------
    completion : FrameCompletion
        The frames that are still to come.
    result : Future
        Pending while frames come, running while it is made of them.
    before : Future or None
        What was made before frames were taken again.
    failure : BaseException or None
        Why not all frames were taken.
    directory : Path or None
        Of the processing run.
    lock : Lock
        Whoever holds it sees whether all has come.
    """

    def __init__(self, start: Mapping[str, Any], tomo: TomoBlock) -> None:
        self.start = start
        self.tomo = tomo
        self.completion = FrameCompletion(start, tomo)
        self.result: Future[Result] = Future()
        self.before: Future[Result] | None = None
        self.failure: BaseException | None = None
        self.directory: Path | None = None
        self.lock = threading.Lock()

    @property
    def pending(self) -> bool:
        """Whether it still takes frames."""
        return not (self.result.running() or self.result.done())

    @property
    def complete(self) -> bool:
        """Whether all has come."""
        return self.completion.nothing

    def anew(self) -> Self:
        """Return a job that begins with all that this one has, to make another result of it."""
        other = copy.copy(self)
        other.result, other.before = Future(), self.result
        return other

    def takes(self, stream: str) -> bool:
        """Whether it wants the frames of a stream."""
        return self.tomo.kind(stream) is not None

    def ended(self, stop: Mapping[str, Any]) -> None:
        """Note how the run ended."""

    def check(self) -> None:
        """Raise `ReconstructionError` if frames were not taken, with the reason."""
        if self.failure is not None:
            raise ReconstructionError(
                f"Run {self.start['uid']} cannot be reconstructed live: {told(self.failure)}. If "
                "its frames are stored, replay the run to this callback."
            ) from self.failure


Job = TypeVar("Job", bound=RunJob[Any])


class OfRun(Generic[Result]):
    """What is made of one run, for who waits for it though others may have followed. Made by `RunJobs.of_run`.

    Parameters
    ----------
    job : RunJob
        Of the run; what it has of frames is not kept.
    name : str
        Who makes it, for messages.
    """

    def __init__(self, job: RunJob[Result], name: str) -> None:
        self._name = name
        self.turn_to(job)

    def turn_to(self, job: RunJob[Result]) -> None:
        """Wait for what another job of the same run makes: frames are taken again."""
        self._run, self._result = str(job.start["uid"]), job.result

    def wait(self, timeout_s: float | None = None) -> Result:
        """Wait for it.

        Parameters
        ----------
        timeout_s : float, optional
            How long, in seconds; as long as it takes by default.

        Raises
        ------
        ReconstructionError
            If it took too long.
        ConcertinoError
            What made it fail.
        """
        result = self._result
        if wait([result], timeout_s).not_done:
            raise ReconstructionError(
                f"{self._name} of run {self._run} did not finish within {timeout_s:g} s. Wait "
                "again, with a longer time-out."
            )
        return result.result()


class RunJobs(FrameCallback, Generic[Job, Result]):
    """Makes something of each run, in a thread, when its last frame has come or the run has ended.

    Subclasses write `begin`, `add` and `make`.

    Parameters
    ----------
    name : str
        Name as a subscriber.
    directory : str or Path, optional
        Where the directories of the processing runs are made; beside the raw run's by default.
    callbacks : sequence of callable
        Take the documents of the processing runs.
    necessary : bool
        Whether a run fails with it.
    """

    #: What kind of runs, for who waits without one.
    _RUNS: ClassVar[str]

    def __init__(
        self,
        name: str,
        directory: str | Path | None,
        callbacks: Sequence[DocumentCallback],
        *,
        necessary: bool,
    ) -> None:
        super().__init__(name, necessary=necessary)
        self._directory = None if directory is None else Path(directory)
        self._callbacks = list(callbacks)
        self._job: Job | None = None
        self._jobs: dict[str, Job] = {}
        self._waited_for: dict[str, OfRun[Result]] = {}  # of the runs that go on

    @abstractmethod
    def begin(self, start: Mapping[str, Any]) -> Job | None:
        """Return the job of a run that starts; None: it is left alone."""

    @abstractmethod
    def add(self, job: Job, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Take the frames of a stream to its end."""

    @abstractmethod
    def make(self, job: Job) -> Result:
        """Make the result of what came."""

    def add_callback(self, callback: DocumentCallback) -> None:
        """Give the documents of the processing runs to one more callback."""
        self._callbacks.append(callback)

    @property
    def busy(self) -> bool:
        """Whether something is still made of a run."""
        return self._job is not None and not self._job.result.done()

    @property
    def run_directory(self) -> Path | None:
        """Directory of the last processing run."""
        return None if self._job is None else self._job.directory

    def wait(self, timeout_s: float | None = None) -> Result:
        """Wait for what is made of the last run.

        Parameters
        ----------
        timeout_s : float, optional
            How long, in seconds; as long as it takes by default.

        Raises
        ------
        ReconstructionError
            If there was no such run, or it took too long.
        ConcertinoError
            What made it fail.
        """
        job = self._job
        if job is None and self.error is not None:
            raise ReconstructionError(
                f"The last run cannot be reconstructed live: {told(self.error)}"
            ) from self.error
        if job is None:
            raise ReconstructionError(
                f"There is nothing to wait for: no {self._RUNS} run has started since "
                f"{type(self).__name__} was subscribed. Start one first."
            )
        result: Result = OfRun(job, self.name).wait(timeout_s)
        return result

    def of_run(self, uid: str) -> OfRun[Result] | None:
        """Return what is made of a run that goes on; None when nothing is.

        Whoever has it keeps the result, whatever runs follow.

        Parameters
        ----------
        uid : str
            Of the run, whose start document this has.
        """
        job = self._jobs.get(uid)
        return None if job is None else self._waited_for.setdefault(uid, OfRun(job, self.name))

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until every stream was read, and until what is being made is there."""
        super().settle(timeout_s)
        if self._job is not None and not self._job.pending:
            wait([self._job.result], timeout_s)

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Begin a job, unless the run is left alone."""
        job = self.begin(start)
        if job is not None:
            self._jobs[start["uid"]] = self._job = job

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Subscribe to streams of which something is made."""
        job = self._jobs.get(stream.start["uid"])
        if job is not None and job.takes(stream.name):
            super().stream_started(stream)

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream, every frame."""
        uid = stream.start["uid"]
        job = self._jobs[uid]
        with job.lock:
            job.completion.expect(stream.name)
            again = not job.pending  # Frames are taken once more after all had come.
        if again:
            self._jobs[uid] = job.anew()
            if self._job is job:
                self._job = self._jobs[uid]
            if uid in self._waited_for:
                self._waited_for[uid].turn_to(self._jobs[uid])
        return super().subscribe(stream)

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Add the frames to the job; the last stream's end finishes it."""
        job = self._jobs[stream.start["uid"]]
        while job.before is not None and wait([job.before], _SIGN_S).not_done:
            subscription.alive()
        try:
            self.add(job, stream, subscription)
        except Exception as error:
            # A stream that failed is not ours: something is made of what came when the run stops.
            if subscription.given_up or not isinstance(error, FrameStreamError):
                job.failure = job.failure or error
            raise
        subscription.finish()
        with job.lock:
            job.completion.ended(stream.name)
        self._finish_if_all_came(job)

    def run_stopped(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Finish with what is there, when the run did not get to its last stream."""
        self._waited_for.pop(start["uid"], None)
        job = self._jobs.pop(start["uid"], None)
        if job is not None:
            job.ended(stop)
            self._finish(job)

    def detached(self, error: BaseException) -> None:
        """Finish the jobs of the runs that go on without this: `wait` raises why."""
        super().detached(error)
        if not self._jobs:
            self._job = None  # What there is belongs to a run before.
        self._waited_for.clear()
        for uid in list(self._jobs):
            job = self._jobs.pop(uid)
            job.failure = job.failure or error
            self._finish(job)

    def given_up(self, stream: str, error: FrameStreamError) -> None:
        """Note that frames were not taken: `wait` raises why."""
        super().given_up(stream, error)
        for job in self._jobs.values():
            job.failure = job.failure or error

    def stored(
        self, raw: Mapping[str, Any], kind: str, parameters: Mapping[str, Any], **more: Any
    ) -> AbstractContextManager[ProcessingRun | None]:
        """Open the processing run of a run; see `stored_processing_run`."""
        return stored_processing_run(
            raw, kind, parameters,
            name=self.name, directory=self._directory, callbacks=self._callbacks, **more,
        )  # fmt: skip

    def _finish_if_all_came(self, job: Job) -> None:
        with job.lock:
            last = job.complete
        if last:
            self._finish(job)

    def _finish(self, job: Job) -> None:
        with job.lock:
            if not job.pending:
                return
            job.result.set_running_or_notify_cancel()
        threading.Thread(
            target=self._make, args=(job,), name=f"{self.name} finish", daemon=True
        ).start()

    def _make(self, job: Job) -> None:
        try:
            job.result.set_result(self.make(job))
        except BaseException as error:
            # A process that is leaving has said that it does not wait for this.
            level = logging.WARNING if threading.main_thread().is_alive() else logging.DEBUG
            LOG.log(level, "%s of run %s: %s", self.name, job.start["uid"], error)
            job.result.set_exception(error)
