"""Close many things, each within a deadline, whatever becomes of the others."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from concertino import SessionError
from concertino.callbacks import Closes, WorksOn, name_of
from concertino.documents import DocumentCallback
from concertino.runtime._ending import closing, ended, leave
from concertino.runtime._last_words import say
from concertino.runtime._plan_end import PLAN_END_S, end_plan
from concertino.storage import Recorder

if TYPE_CHECKING:
    from bluesky import RunEngine

    from concertino.storage import Catalog, CatalogWriter

LOG = logging.getLogger(__name__)

_LOOK_S = 0.05
_CLOSE_S = 120.0
_CATALOGUE_S = 2.0  # an index of what is stored: what it lacks it takes in later
_LEAVE_S = 10.0
_MORE_S = 5.0  # for a sentence of who is waited for


class Closing:
    """Does one thing after the other; what fails or hangs keeps none of the others from being done.

    Attributes
    ----------
    errors : list of Exception
        What went wrong.
    """

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Wait no more for what is not needed for a safe end."""
        self._given_up.set()

    def do(
        self,
        what: str,
        function: Callable[[], object],
        timeout_s: float,
        *,
        needed: bool = True,
        costs: bool = True,
        advice: str = "",
    ) -> None:
        """Do one thing in a thread of its own, and wait for it within a deadline.

        Parameters
        ----------
        what : str
            Subject of the sentence that says that it did not end.
        function : callable
            Does it.
        timeout_s : float
            How long it may take, in seconds.
        needed : bool
            False: not waited for when the user or a signal is in a hurry.
        costs : bool
            False: nothing is lost when it fails or is late, which is told in the log and is no error.
        advice : str
            What to do when it did not end.
        """
        done = threading.Event()

        def run() -> None:
            try:
                function()
            except Exception as error:
                if costs:
                    self.errors.append(error)
                else:
                    LOG.warning("%s: %s: %s. %s", what, type(error).__name__, error, advice)
            finally:
                done.set()

        threading.Thread(target=run, name=f"closing: {what}", daemon=True).start()
        begun_s = time.monotonic()
        while not done.wait(_LOOK_S):
            if not needed and (self._given_up.is_set() or ended()):
                self._late(f"{what} was not waited for any more.", advice, costs)
                return
            if time.monotonic() - begun_s > timeout_s:
                self._late(f"{what} did not end within {timeout_s:g} s.", advice, costs)
                return

    def finish(self, pending: BaseException | None = None) -> None:
        """Say what went wrong: as the first error, or beside what ends the program anyway.

        Parameters
        ----------
        pending : BaseException, optional
            What is on its way already; the errors become notes of it.

        Raises
        ------
        Exception
            The first error, with the others as notes.
        KeyboardInterrupt
            If there was a Ctrl-C meanwhile.
        EndedBySignal
            If there was another signal meanwhile.
        """
        on_its_way = pending or (KeyboardInterrupt() if self._given_up.is_set() else None)
        untold = isinstance(on_its_way, (SystemExit, KeyboardInterrupt)) or ended()
        for error in self.errors[0 if on_its_way is not None else 1 :]:
            (on_its_way or self.errors[0]).add_note(
                f"While closing the session: {type(error).__name__}: {error}"
            )
        for error in self.errors if untold else ():
            say(f"While closing the session: {error}")  # Nobody prints the notes of these.
        if pending is None:
            leave()
            if on_its_way is not None:
                raise on_its_way
            if self.errors:
                raise self.errors[0]

    def _late(self, sentence: str, advice: str, costs: bool) -> None:
        told = f"{sentence} {advice}".strip()
        if costs:
            self.errors.append(SessionError(told))
        else:
            LOG.warning("%s", told)


@contextmanager
def uninterrupted(close: Closing) -> Iterator[None]:
    """Have signals wait until all is closed; a Ctrl-C only gives up what need not be waited for."""

    def note(number: int, frame: FrameType | None) -> None:
        close.give_up()
        say("\nClosing the session; what need not be waited for is given up.")

    main = threading.current_thread() is threading.main_thread()
    previous: Any = signal.getsignal(signal.SIGINT)
    takes = main and previous not in (None, signal.SIG_IGN)
    if takes:
        signal.signal(signal.SIGINT, note)
    try:
        with closing():
            yield
    finally:
        if takes and not ended():
            signal.signal(signal.SIGINT, previous)


def close_plan(close: Closing, run_engine: "RunEngine", directory: Path) -> None:
    """Abort what a RunEngine runs or has paused, beam off first."""
    state = str(run_engine.state)
    if state == "idle":
        return
    say(f"The session in {directory} is closed while a plan is {state}: the plan is aborted.")
    if not end_plan(run_engine, f"the session was closed while the plan was {state}"):
        close.errors.append(
            SessionError(
                f"The plan was {state} when its session was closed, and has not cleaned up within "
                f"{PLAN_END_S:g} s: THE BEAM MAY BE ON. Switch it off by hand."
            )
        )


def close_callbacks(
    close: Closing, callbacks: Sequence[DocumentCallback], timeout_s: float
) -> None:
    """Wait for the callbacks that are busy, then close all."""
    for callback in callbacks:

        def wait(callback: DocumentCallback = callback) -> None:
            if isinstance(callback, WorksOn) and callback.busy:
                callback.wait(timeout_s)

        # Also the question whether it works on is asked in time: of a process, it may hang.
        close.do(
            f"The {name_of(callback)}", wait, timeout_s + _MORE_S,
            needed=False, advice="Reconstruct the stored run with concertino reconstruct.",
        )  # fmt: skip
    for callback in callbacks:
        if isinstance(callback, Closes):
            close.do(f"Closing {callback!r}", callback.close, _CLOSE_S)


def close_storage(
    close: Closing,
    recorder: Recorder,
    writer: "CatalogWriter | None",
    catalog: "Catalog | None",
) -> None:
    """Have what is stored of the runs on the disk, and close its files."""
    close.do("The recorder", recorder.close, _CLOSE_S, advice="Look after the disk.")
    if writer is None and catalog is None:
        return

    def close_catalogue() -> None:
        try:
            if writer is not None:
                writer.close()
        finally:
            if catalog is not None:
                catalog.close()

    close.do(
        "Closing the catalogue", close_catalogue, _CATALOGUE_S, needed=False, costs=False,
        advice="The next session, or catalog.catch_up(), takes in the runs that it lacks.",
    )  # fmt: skip


def close_all(
    close: Closing,
    guard: Closes,
    gate: Closes,
    callbacks: Sequence[DocumentCallback],
    recorder: Recorder,
    writer: "CatalogWriter | None",
    catalog: "Catalog | None",
    timeout_s: float,
) -> None:
    """Close the parts of a session whose plan has ended: the guard first."""
    close.do("The guard", guard.close, _LEAVE_S)
    close.do("Leaving the suspenders", gate.close, _LEAVE_S)
    close_callbacks(close, callbacks, timeout_s)
    close_storage(close, recorder, writer, catalog)
