"""The base of callbacks: documents in a thread of their own, so that nobody's work is the scan's."""

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any, ClassVar

from concertino import ConcertinoError, ParameterError, SessionError
from concertino.documents import DocumentCallback

from ._capabilities import StoresFrames, name_of

LOG = logging.getLogger(__name__)

_NECESSARY_S = 60.0
_UNNECESSARY_S = 10.0
_PENDING = 10_000
#: At the end of a run nothing but the next one waits.
_TIMES_AT_STOP = 3

Document = Mapping[str, Any]


class Consumer(ABC):
    """Takes the documents of runs, in a thread of its own that lives as long as a run is open.

    The RunEngine waits until a start, a descriptor or a stop document was taken, together with what still
    waits before it: 10 s at most, and 30 s for the stop document, after which no frames come. For other documents
    it does not wait. When a **necessary** consumer fails or takes longer, which is 60 s and 180 s for those, the run
    fails. One that is not necessary is detached then: a warning tells its name and the reason, it gets no more
    documents of that run, and the run goes on as if it were not there.

    Subclasses write `take_document`, and `detached` if somebody waits for what they do.

    Parameters
    ----------
    name : str
        Shown in messages.
    necessary : bool
        Whether a run cannot do without it.

    Attributes
    ----------
    name : str
        Shown in messages.
    patience_s : float
        How long it may take a document, with those that wait before it, in seconds: 60 s for what is
        necessary, else 10 s; three times as long for the stop document.
    stores_frames : bool or None
        Whether it stores the frames of runs; None when that is not known before they come.

    Examples
    --------
    >>> from concertino.callbacks import Consumer
    >>> class Count(Consumer):
    ...     documents = 0
    ...     def take_document(self, name, document):
    ...         self.documents += 1
    >>> Count("count").necessary
    False
    """

    #: What whoever emits documents waits for: after them frames come, or nothing does.
    WAITED_FOR: ClassVar[tuple[str, ...]] = ("start", "descriptor", "stop")

    stores_frames: bool | None = None

    def __init__(self, name: str, *, necessary: bool = False) -> None:
        self.name = name
        self._open: set[str] = set()
        self._told: list[BaseException] = []
        self._desk: _Desk | None = None
        self._detached: BaseException | None = None
        self._lock = threading.Lock()
        self.necessary = necessary

    @property
    def necessary(self) -> bool:
        """Whether a run cannot do without it; to be changed between runs only."""
        return self._necessary

    @necessary.setter
    def necessary(self, necessary: bool) -> None:
        self._necessary = necessary
        self.patience_s = _NECESSARY_S if necessary else _UNNECESSARY_S

    @property
    def error(self) -> BaseException | None:
        """Why the last run went on without it, or None."""
        return self._detached

    @property
    def _reads_only(self) -> bool:
        """Whether it is known to change no document, which are everybody's."""
        return _is_ours(self)

    @abstractmethod
    def take_document(self, name: str, document: Document) -> None:
        """Take one document, its own to change; documents come one after the other, in one thread."""

    def detached(self, error: BaseException) -> None:  # noqa: B027 not everybody is waited for
        """Take note that a run goes on without this, and why; in any thread, and it must be short."""

    def report(self, error: BaseException) -> None:
        """Have an error raised at the next document, to fail the run on purpose."""
        self._told.append(error)

    def __call__(self, name: str, document: Document) -> None:
        """Take one document.

        Raises
        ------
        ConcertinoError
            What was reported, or why a necessary consumer could not take a document.
        """
        try:
            if name == "start":
                self._begin(document)
            if self._detached is None:
                self._hand_over(name, document)
        finally:
            if name == "stop":
                self._end(document)
        if self._told:
            raise self._told.pop(0)

    def _begin(self, start: Document) -> None:
        with self._lock:
            first, desk = not self._open, self._desk
            self._open.add(start["uid"])
            if not first:
                return
            self._detached = None
            self._told.clear()
            if desk is None or desk.free:
                self._desk = None
                return
        self._fail(
            SessionError(
                f"{self.name} still works on a document of an earlier run, and takes none of run "
                f"{start['uid']}. Find out what it waits for, or unsubscribe it."
            )
        )

    def _end(self, stop: Document) -> None:
        with self._lock:
            self._open.discard(stop["run_start"])
            if not self._open and self._desk is not None:
                self._desk.close()

    def _hand_over(self, name: str, document: Document) -> None:
        with self._lock:
            if self._desk is None or self._desk.closed:
                self._desk = _Desk(self)
            desk = self._desk
        try:
            given = document if self._reads_only else _own(document)
            taken = desk.put(name, given)
            if name in self.WAITED_FOR or desk.taking_s > self.patience_s:
                times = _TIMES_AT_STOP if name == "stop" else 1
                self._wait(desk, name, taken, times * self.patience_s)
            desk.check()
        except Exception as error:
            desk.forget(error)
            self._fail(error)

    def _wait(self, desk: "_Desk", name: str, taken: "Future[None]", patience_s: float) -> None:
        """Wait until a document is taken, as long as those before it are, one after the other."""
        # Many documents that are slow one by one hold up no run's end for longer than one that hangs.
        most_s = max(patience_s, _NECESSARY_S) if self.necessary else patience_s
        until_s = time.monotonic() + most_s
        while True:
            # A hang is older than the document that it keeps from being taken.
            left_s = min(patience_s - desk.taking_s, until_s - time.monotonic())
            wait([taken], max(0.0, left_s))
            if taken.done():
                return taken.result()
            if left_s <= 0:
                raise SessionError(
                    f"{self.name} has not taken the {name} document within {patience_s:g} s. Find "
                    "out what it waits for, or unsubscribe it."
                )

    def _fail(self, error: BaseException) -> None:
        if self.necessary:
            raise error
        self._detached = error
        LOG.warning("%s was detached, and the run goes on without it: %s", self.name, told(error))
        if self._desk is not None:
            self._desk.close()
        self.detached(error)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_desk": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


class DocumentConsumer(Consumer):
    """Gives documents to a function, such as a callback of bluesky, in a thread of its own.

    Parameters
    ----------
    function : callable
        Takes (name, document).
    kind : str
        Kind of documents that it is given, such as ``"start"``; ``"all"`` by default.
    necessary : bool
        Whether a run cannot do without it.
    name : str, optional
        Shown in messages; the function's by default.

    Examples
    --------
    >>> from concertino.callbacks import DocumentConsumer
    >>> DocumentConsumer(print).name
    'print'
    """

    def __init__(
        self,
        function: Callable[[str, Document], Any],
        kind: str = "all",
        *,
        necessary: bool = False,
        name: str | None = None,
    ) -> None:
        if not callable(function):
            raise ParameterError(
                f"function: {function!r} cannot be called. Give a function of a name and a document."
            )
        super().__init__(name or name_of(function), necessary=necessary)
        self.stores_frames = stores_frames(function)
        self.function = function
        self._kind = kind

    @property
    def _reads_only(self) -> bool:
        return _is_ours(self.function)

    def take_document(self, name: str, document: Document) -> None:
        """Call the function."""
        if self._kind in ("all", name):
            self.function(name, document)


class _Desk:
    """Where documents wait for one consumer, and the thread that gives them to it."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._errors: list[BaseException] = []
        self._waiting: queue.SimpleQueue[tuple[str, Document, Future[None]] | None]
        self._waiting = queue.SimpleQueue()
        self._closed = threading.Event()
        self._taking_since_s: float | None = None
        threading.Thread(target=self._work, name=f"{consumer.name} documents", daemon=True).start()

    @property
    def closed(self) -> bool:
        """Whether no more documents are taken."""
        return self._closed.is_set()

    @property
    def free(self) -> bool:
        """Whether no document is being taken."""
        return self._taking_since_s is None

    @property
    def taking_s(self) -> float:
        """For how long the present document has been being taken, in seconds."""
        since_s = self._taking_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def check(self) -> None:
        """Raise what went wrong with a document that nobody waited for."""
        if self._errors:
            raise self._errors[0]

    def forget(self, error: BaseException) -> None:
        """Forget an error that was raised."""
        self._errors = [other for other in self._errors if other is not error]

    def put(self, name: str, document: Document) -> "Future[None]":
        """Leave a document."""
        if self._waiting.qsize() >= _PENDING:
            raise SessionError(
                f"{self._consumer.name} is {_PENDING} documents behind. Give it less to do in each."
            )
        taken: Future[None] = Future()
        self._waiting.put((name, document, taken))
        return taken

    def close(self) -> None:
        """Have the thread end, with the document that it is at."""
        self._closed.set()
        self._waiting.put(None)

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None and not self._closed.is_set():
            name, document, taken = item
            self._taking_since_s = time.monotonic()
            try:
                self._consumer.take_document(name, document)
            except BaseException as error:
                # What would end a process is no more than a failure here.
                failure = error if isinstance(error, Exception) else ConcertinoError(told(error))
                self._errors.append(failure)
                taken.set_exception(failure)
            else:
                taken.set_result(None)
            finally:
                self._taking_since_s = None


def told(error: BaseException) -> str:
    """Return what an error says, with its kind unless it is one of ours."""
    return str(error) if isinstance(error, ConcertinoError) else f"{type(error).__name__}: {error}"


def stores_frames(callback: DocumentCallback) -> bool | None:
    """Return whether a callback stores the frames of runs; None when that is not known.

    One of ours that does not say so does not.
    """
    said = callback.stores_frames if isinstance(callback, StoresFrames) else None
    return False if said is None and _is_ours(callback) else said


def _is_ours(callback: Any) -> bool:
    return type(callback).__module__.startswith("concertino.")


def _own(value: Any) -> Any:
    """Return a copy of a document, or of a part of it, that can be changed; arrays are not copied."""
    if type(value) is dict:
        return {key: _own(part) for key, part in value.items()}
    if type(value) is list:
        return [_own(part) for part in value]
    return value
