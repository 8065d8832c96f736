"""What SIGTERM and SIGHUP do: plans end safely, then the process does."""

import atexit
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, Self
from weakref import WeakSet

from ._last_words import outlive_the_terminal, say
from ._plan_end import PLAN_END_S, end_plan

if TYPE_CHECKING:
    from bluesky import RunEngine


LOG = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_WAKE = signal.SIGURG  # says nothing, and is ignored where nobody has taken it
_LEAVE_S = 15.0
_WORKER_LEAVES_S = 1.0  # so that it can tell its server what became of the plan
_LOOK_S = 0.1
_WAITS_S = 0.3
#: What is called, in which package, as long as IPython waits for a line, and a kernel for a message.
_PROMPTS = (("interact", "terminal"), ("start", "ipykernel"))


class EndedBySignal(SystemExit):
    """A signal has ended this process, whose exit code is 128 and the signal's number.

    Parameters
    ----------
    number : int
        Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class _Closable(Protocol):
    RE: Any

    def close(self) -> None: ...


class _Ending:
    """The one state of this: a signal is sent to a process, not to a session."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.sessions: WeakSet[Any] = WeakSet()
        self.closing = 0
        self.instead: Callable[[int], object] | None = None
        self.interrupted: Callable[[], object] | None = None
        self._handled = False
        self._inside = 0  # calls of a RunEngine in the main thread
        self._told = self._again = False
        self._blocks = 0
        self._previous: dict[int, Any] = {}
        self._wakeup: socket.socket | None = None
        self._previous_wakeup = -1

    def install(self) -> bool:
        """Take the signals, which only the main thread can; tells whether they are taken."""
        if self._previous or not _in_main_thread():
            return bool(self._previous)
        for number in _SIGNALS:
            known = signal.getsignal(number)
            # Under nohup a closed terminal is no reason to end; C code's handlers are its own.
            if known is not signal.SIG_IGN and known is not None:
                self._previous[number] = signal.signal(number, self._handle)
        if self._previous:
            if signal.getsignal(_WAKE) in (signal.SIG_DFL, signal.SIG_IGN):  # Else it is taken.
                self._previous[_WAKE] = signal.signal(_WAKE, _nothing)
            self._listen()
        return True

    def uninstall(self) -> None:
        """Give the signals back when nobody needs them; a process that is ending keeps them."""
        if self.sessions or self._blocks or self.number is not None or not _in_main_thread():
            return
        self._give_back()

    def forget(self) -> None:
        """Be nothing any more in a process that was forked: what is open is the parent's."""
        self._give_back()
        self.__init__()  # type: ignore[misc]

    @contextmanager
    def block(self) -> Iterator[None]:
        """Take the signals as long as the block lasts."""
        self.install()
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
            self.uninstall()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Hold the end of the process back while the main thread waits for a RunEngine."""
        if not _in_main_thread():
            yield
            return
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def leave(self) -> None:
        """End the main thread if a signal says so and nothing is going on that has to end before."""
        if self.number is None or not _in_main_thread() or self._inside or self.closing:
            return
        number, known = self.number, self._previous.get(self.number)
        if callable(known) and known is not signal.default_int_handler:
            self.number, self._told, self._handled = None, False, False
            known(number, None)  # Who took the signal before decides what becomes of the process.
            return
        if not self._told:
            self._told = True
            signal.signal(signal.SIGINT, self._handle)  # Nor does Ctrl-C hurry what follows.
            raise EndedBySignal(number)

    def check(self) -> None:
        """Let nothing begin in a process that is ending."""
        if self.number is not None:
            raise EndedBySignal(self.number)

    def _give_back(self) -> None:
        if not self._previous:
            return
        for number, known in self._previous.items():
            if signal.getsignal(number) in (self._handle, _nothing):
                signal.signal(number, known)
        self._previous = {}
        signal.set_wakeup_fd(self._previous_wakeup, warn_on_full_buffer=False)
        if self._wakeup is not None:
            self._wakeup.close()  # The thread that listens ends.
            self._wakeup = None

    def _listen(self) -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._previous_wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._wakeup = theirs
        threading.Thread(
            target=self._take_signals,
            args=(ours, self._previous_wakeup),
            name="signals",
            daemon=True,
        ).start()

    def _take_signals(self, ours: socket.socket, others: int) -> None:
        # The main thread may be in C code for long, or wait while another got the signal; it runs no
        # handler meanwhile.
        with ours:
            while said := ours.recv(64):
                if others >= 0:
                    with suppress(OSError):
                        os.write(others, said)
                for number in said:
                    main = int(threading.main_thread().ident or 0)
                    if number in _SIGNALS and number in self._previous and self._note(number):
                        signal.pthread_kill(main, number)
                    if number == signal.SIGINT and _WAKE in self._previous:
                        signal.pthread_kill(main, _WAKE)  # It may wait, and not know of its Ctrl-C.
                    if number == signal.SIGINT and (interrupted := self.interrupted) is not None:
                        interrupted()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal in the main thread."""
        if self._again:
            self._again = self._told = False
            self.leave()
            return
        self._note(number)
        if self.instead is not None:
            return
        if self._handled:
            say("The clean-up goes on; it cannot be hurried.")
        self._handled = True
        self.leave()

    def _note(self, number: int) -> bool:
        if self.number is not None:
            return False
        self.number = number
        if self.instead is not None:
            self.instead(number)
            return True
        threading.Thread(target=self._end, args=(number,), name="ending", daemon=True).start()
        return True

    def _end(self, number: int) -> None:
        name = signal.Signals(number).name
        outlive_the_terminal()
        busy = [session.RE for session in self.sessions if str(session.RE.state) != "idle"]
        if busy:
            say(f"\n{name}: the beam goes off, then the run ends, then this process.")
        ends = [
            threading.Thread(target=_end_or_warn, args=(engine, f"ended by {name}"), daemon=True)
            for engine in busy
        ]
        for end in ends:
            end.start()
        for end in ends:
            end.join(PLAN_END_S + 1)
        if callable(self._previous.get(number)):
            return
        self._end_by_force(number)

    def _end_by_force(self, number: int) -> None:
        """End a process whose main thread does not: it is in C code, or caught the exception."""
        until_s = time.monotonic() + (_WORKER_LEAVES_S if _is_queue_worker() else _LEAVE_S)
        waits_since_s = float("inf")
        while time.monotonic() < until_s or self.closing:
            time.sleep(_LOOK_S)
            if self.closing or not _waits_at_ipython():
                waits_since_s = float("inf")
            else:
                waits_since_s = min(waits_since_s, time.monotonic())
            if time.monotonic() - waits_since_s > _WAITS_S:
                # A cell's SystemExit ends no IPython and no kernel; where they wait it does, and leaves the terminal in order.
                self._again, waits_since_s = True, float("inf")
                signal.pthread_kill(int(threading.main_thread().ident or 0), number)
        _close_all()
        logging.shutdown()
        os._exit(128 + number)


class LeaveWhenEnded:
    """Context manager of a RunEngine: after a SIGTERM or SIGHUP the call ends with `EndedBySignal`.

    Parameters
    ----------
    run_engine : RunEngine
        Runs the plan.
    """

    def __init__(self, run_engine: "RunEngine") -> None:
        self._held = _ENDING.inside()

    def __enter__(self) -> Self:
        _ENDING.check()
        self._held.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._held.__exit__(None, None, None)
        _ENDING.leave()


_ENDING = _Ending()
# A child's signal must neither reach the parent through what both listen to, nor end its sessions.
os.register_at_fork(after_in_child=_ENDING.forget)


def end_safely(session: _Closable) -> None:
    """Have SIGTERM and SIGHUP abort what a session runs, and end the process after it.

    Only Python's main thread can take signals: of a session that another thread opens, a signal ends
    the process at once, unless the main thread has a session, too.
    """
    _close_at_exit()
    if not _ENDING.install():
        LOG.warning(
            "This session was opened in the thread %r, which cannot take signals: SIGTERM and SIGHUP "
            "will end the process at once, beam as it is. Open a session in the main thread first.",
            threading.current_thread().name,
        )
    _ENDING.sessions.add(session)


def end_no_more(session: _Closable) -> None:
    """Leave the signals alone, if this was the last session."""
    if session in _ENDING.sessions:
        _ENDING.sessions.discard(session)
        _ENDING.uninstall()


def open_sessions() -> list[Any]:
    """Return the sessions of this process that are open."""
    return list(_ENDING.sessions)


def ended() -> bool:
    """Whether a signal is ending this process."""
    return _ENDING.number is not None


@contextmanager
def ending_signals(instead: Callable[[int], object] | None = None) -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the block as an exception: what it opened is closed.

    Parameters
    ----------
    instead : callable, optional
        Takes the first signal's number and ends the process itself, in any thread.
    """
    with _ENDING.block():
        _ENDING.instead = instead
        try:
            yield
        finally:
            _ENDING.instead = None


@contextmanager
def on_interrupt(function: Callable[[], object]) -> Iterator[None]:
    """Call a function, in another thread, when there is a SIGINT that the main thread may not hear."""
    known, _ENDING.interrupted = _ENDING.interrupted, function
    try:
        yield
    finally:
        _ENDING.interrupted = known


@contextmanager
def closing() -> Iterator[None]:
    """Let no signal end the process before a session is closed."""
    _ENDING.closing += 1
    try:
        yield
    finally:
        _ENDING.closing -= 1


def leave() -> None:
    """End the main thread after a signal, if it waits for nothing else."""
    _ENDING.leave()


@cache
def _close_at_exit() -> None:
    # Before Python's own threads end, which write documents: atexit is too late for that.
    with suppress(RuntimeError):  # The main thread has ended; this is the work of another.
        getattr(threading, "_register_atexit", atexit.register)(_close_all)


def _close_all() -> None:
    for session in open_sessions():
        try:
            session.close()
        except Exception as error:
            say(f"{type(error).__name__}: {error}")


def _is_queue_worker() -> bool:
    """Whether this is a queue server's worker, which takes our exception for one of its plan's, and goes on."""
    server = sys.modules.get("bluesky_queueserver")
    return server is not None and bool(server.is_re_worker_active())


def _waits_at_ipython() -> bool:
    """Whether the main thread is IPython's, or a kernel's, and runs no cell: it waits for somebody to type."""
    if "IPython" not in sys.modules:
        return False
    frame, waits = sys._current_frames().get(int(threading.main_thread().ident or 0)), False
    while frame is not None:
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        if function == "run_cell":
            return False
        waits = waits or (function, Path(file).parent.name) in _PROMPTS
        frame = frame.f_back
    return waits


def _nothing(number: int, frame: FrameType | None) -> None:
    """Wake the main thread, which then runs what other signals' handlers it has."""


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _end_or_warn(run_engine: "RunEngine", reason: str) -> None:
    run_engine.waiting_hook = None  # Progress bars fail on a terminal that is gone.
    if not end_plan(run_engine, reason):
        say(
            f"The plan, {reason}, has not cleaned up within {PLAN_END_S:g} s: THE BEAM MAY BE ON. "
            "Switch it off by hand."
        )
