"""Runs a callback in a process of its own."""

import logging
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Self

from concertino import ConcertinoError, ParameterError
from concertino.consumers._capabilities import WorksOn, is_necessary, name_of
from concertino.consumers._consumer import Consumer, stores_frames
from concertino.documents import DocumentCallback

from ._hosted import Answer, Call, Emitted

LOG = logging.getLogger(__name__)

_PROGRAM = "concertino.callbacks.hosting._child_main"
_STARTED_S = 60.0
_ENDED_S = 30.0
_LOOK_S = 1.0
_MARGIN_S = 2.0
_HUNG_S = 2.0  # for one that has not answered in time


class ChildProcess(Consumer):
    """Runs a callback in a process of its own, with its own interpreter and its own memory.

    The callback is the same as in the session: it is given the documents of the run, takes the frames by
    itself through shared memory, and fails the run with its own reason if it is necessary. Nothing else can
    keep it from working, and nothing that it does keeps the session from working. The process starts here,
    so that it is ready before the first run; it ends with `close`, or when the session's process ends,
    after its files are closed.

    Parameters
    ----------
    callback : callable
        Any callback that can be pickled, such as ``ImageWriter()``. Use it through this object only.
    timeout_s : float
        How long the process may take for a start, descriptor or stop document, in seconds; one that is
        not necessary has 10 s at most.
    necessary : bool, optional
        Whether a run fails with it; by default as the callback says, and not if it says nothing.

    Attributes
    ----------
    pid : int
        Of the process.

    Raises
    ------
    ParameterError
        If the callback cannot be handed to another process.
    ConcertinoError
        If the process did not start.

    Examples
    --------
    >>> from concertino.callbacks import ChildProcess, ImageWriter
    >>> with ChildProcess(ImageWriter()) as writer:
    ...     writer.alive
    True
    """

    def __init__(
        self,
        callback: DocumentCallback,
        *,
        timeout_s: float = 60.0,
        necessary: bool | None = None,
    ) -> None:
        if necessary is not None and isinstance(callback, Consumer):
            callback.necessary = necessary
        super().__init__(
            name_of(callback),
            necessary=is_necessary(callback) if necessary is None else necessary,
        )
        self.stores_frames = stores_frames(callback)
        self.patience_s = min(self.patience_s, timeout_s) + _MARGIN_S
        self._timeout_s = timeout_s
        self._callbacks: list[DocumentCallback] = []
        self._calls: dict[int, Future[Any]] = {}
        self._calling = threading.Lock()
        self._number = 0
        self._closed = False
        self._hangs = False
        pickled = self._pickled(callback)
        self._process, self._socket = _start(self.name)
        self._connection: Connection[Any, Any] = Connection(os.dup(self._socket.fileno()))
        self.pid = self._process.pid
        ready = self._calls[0] = Future()
        threading.Thread(target=self._listen, name=f"{self.name} process", daemon=True).start()
        self._send_bytes(pickled)
        try:
            self._capabilities: frozenset[str] = self._result(ready, "start", _STARTED_S)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def busy(self) -> bool:
        """Whether the callback still works on a run that is over."""
        if WorksOn.__name__ not in self._capabilities:
            return False
        # One that was detached may never answer.
        return self.error is None and self.alive and bool(self.call("busy"))

    def wait(self, timeout_s: float | None = None) -> Any:
        """Call the callback's `wait`, and return what it returns.

        Raises
        ------
        ConcertinoError
            What it raises, or that the process is gone.
        """
        return self._result(self._submit("wait", timeout_s), "wait", None)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the callback, or read an attribute, and return the value.

        Parameters
        ----------
        method : str
            Its name.
        *arguments
            What pickle can handle, as must be the value.
        """
        return self._result(self._submit(method, *arguments), method, self._timeout_s)

    def update(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> Any:
        """Call the callback's `update`, as of an `OnlineReconstruction`, and return what it returns.

        Raises
        ------
        ConcertinoError
            What it raises, or that the process is gone.
        """
        return self.call("update", {**(changes or {}), **more})

    def add_callback(self, callback: DocumentCallback) -> None:
        """Give the documents that the callback emits to one more callback, in a thread of this process."""
        self._callbacks.append(callback)

    def take_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Hand on one document.

        Raises
        ------
        ConcertinoError
            What the callback raises, or that the process is gone.
        """
        handed = self._submit("", name, dict(document))
        if name in self.WAITED_FOR:
            self._result(handed, f"the {name} document", self._timeout_s)
        elif handed.done():
            handed.result()

    def close(self) -> None:
        """End the process after it has closed its files; idempotent."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):  # the process may be gone
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        try:
            late = self._hangs or self.error is not None
            self._process.wait(_HUNG_S if late else _ENDED_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            try:
                self._process.wait(_ENDED_S)
            except subprocess.TimeoutExpired:
                LOG.warning("%s (process %d) does not end, not even killed.", self.name, self.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "alive" if self.alive else "ended"
        return f"<ChildProcess {self.name}, process {self.pid} {state}>"

    @staticmethod
    def _pickled(callback: DocumentCallback) -> bytes:
        try:
            return pickle.dumps(callback)
        except Exception as error:
            raise ParameterError(
                f"{callback!r} cannot be handed to a process of its own ({error}). Put functions "
                "that it is given into a module: those of a notebook, or of another function, "
                "cannot be found there."
            ) from error

    def _submit(self, method: str, *arguments: Any) -> "Future[Any]":
        answer: Future[Any] = Future()
        with self._calling:
            self._number += 1
            number = self._number
            self._calls[number] = answer
        self._send_bytes(pickle.dumps(Call(number, method, arguments)))
        return answer

    def _send_bytes(self, message: bytes) -> None:
        try:
            with self._calling:
                self._connection.send_bytes(message)
        except OSError as error:
            raise self._gone() from error

    def _result(self, answer: "Future[Any]", asked: str, timeout_s: float | None) -> Any:
        began_s, stands_still = time.monotonic(), False
        while True:
            waited_s = time.monotonic() - began_s
            left_s = math.inf if timeout_s is None else timeout_s - waited_s
            wait([answer], max(0.0, min(_LOOK_S, left_s)))
            if answer.done():
                return answer.result()
            if not stands_still and _is_stopped(self.pid):
                stands_still = True
                # Whoever has stopped it, as in a debugger, may let it go on: it is waited for nevertheless.
                LOG.warning(
                    "%s was asked for %s and stands still: %s", self.name, asked, self._how_to_go_on
                )
            if left_s <= _LOOK_S:
                self._hangs = True
                why = f" It stands still: {self._how_to_go_on}" if _is_stopped(self.pid) else ""
                raise ConcertinoError(
                    f"{self.name} (process {self.pid}) has not answered {asked} within {timeout_s:g} s.{why}"
                )

    @property
    def _how_to_go_on(self) -> str:
        return (
            f"process {self.pid} was stopped, as by SIGSTOP or a debugger, and answers when it goes on "
            f"(kill -CONT {self.pid})."
        )

    def _listen(self) -> None:
        try:
            while True:
                said = self._connection.recv()
                if isinstance(said, Emitted):
                    self._hand_on(said)
                else:
                    self._note(said)
        except (EOFError, OSError):
            self._connection.close()
            error = self._gone()
            with self._calling:
                waiting = list(self._calls.values())
                self._calls.clear()
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(error)

    def _hand_on(self, said: Emitted) -> None:
        for callback in self._callbacks:
            try:
                callback(said.name, said.document)
            except Exception as error:  # answers must still be heard
                LOG.warning("%r could not use a %s document: %s", callback, said.name, error)

    def _note(self, said: Answer) -> None:
        with self._calling:
            answer = self._calls.pop(said.number)
        if said.error is None:
            answer.set_result(said.value)
        else:
            answer.set_exception(said.error)

    def _gone(self) -> ConcertinoError:
        if self._closed:
            return ConcertinoError(f"{self.name} was closed; make a new one.")
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return ConcertinoError(
                f"{self.name} (process {self.pid}) does not listen any more; make a new one for the "
                "next run."
            )
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended ({status})"
        return ConcertinoError(
            f"The process of {self.name} ({self.pid}) {how}; make a new one for the next run."
        )


def _is_stopped(pid: int) -> bool:
    """Whether a process stands still, as far as the system tells."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "Tt"
    except (OSError, IndexError):
        return False


def _start(name: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # Ctrl-C in the terminal is for the plan.
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except OSError as error:
            ours.close()
            raise ConcertinoError(
                f"The process of {name} cannot be started: {error}. See whether this computer has "
                "memory and processes left."
            ) from error
    return process, ours
