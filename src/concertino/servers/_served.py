"""The base of the Tango device servers: JSON commands, tickets for what takes long, one session."""

import json
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, cast

from tango import AttrWriteType, DevState, Except
from tango.server import Device, attribute, command, device_property

from concertino import ConcertinoError, SessionError

from ._lease import Lease

LOG = logging.getLogger(__name__)
_KEPT_ANSWERS = 1000
_END_S = 20.0
_SESSION_CHARACTERS = 500

JsonCommand = Callable[[Any, dict[str, Any]], Any]


def json_command(function: JsonCommand) -> Any:
    """Make a method of one mapping a Tango command of a JSON text, whose errors cross as our own."""

    @wraps(function)
    def called(self: Any, text: str) -> str:
        try:
            return json.dumps(function(self, _asked(text)))
        except Exception as error:
            LOG.info("%s: %s", function.__name__, error)
            name = type(error).__name__
            Except.throw_exception(f"concertino.{name}", str(error), function.__name__)
            raise

    called.__annotations__ = {}
    return command(dtype_in=str, dtype_out=str, doc_in="JSON", doc_out="JSON")(called)


def _asked(text: str) -> dict[str, Any]:
    """Return what a session asks for; what its keys hold is the command's affair."""
    asked = json.loads(text)
    session = asked.get("session", "") if isinstance(asked, dict) else None
    if not isinstance(session, str) or len(session) > _SESSION_CHARACTERS:
        raise SessionError(
            f"A command was called with {text[:80]!r}; it takes a JSON object with a text 'session'."
        )
    return cast(dict[str, Any], asked)


class Served(Device):
    """A device that serves one session at a time and does what takes long in a thread."""

    KIND: ClassVar[str] = "device"
    hung_up: ClassVar[bool] = False
    _ended_by: str | None = None
    lease_seconds = device_property(
        dtype=float, default_value=10.0, doc="How long a session may be silent, in s."
    )

    def init_device(self) -> None:
        """Become ready."""
        super().init_device()
        self._answers: dict[int, dict[str, Any]] = {}
        self._work: queue.SimpleQueue[tuple[int, Callable[[], Any]]] = queue.SimpleQueue()
        self._ticket = 0
        self._error = self._stuck = ""
        if self._ended_by is None:  # not at a later Init
            self._ended_by = ""
            for number in (signal.SIGTERM, signal.SIGINT):
                self.register_signal(number)
            if threading.current_thread() is threading.main_thread():
                # Tango takes SIGHUP, too, and makes nothing of it.
                signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.lease = Lease(
            f"The {self.KIND} server {self.get_name()}", self.lease_seconds, self._session_lost
        )
        threading.Thread(target=self._do_work, name=f"{self.KIND} work", daemon=True).start()
        self.set_state(DevState.STANDBY)
        self.set_status(f"The {self.KIND} server is ready.")

    def signal_handler(self, signo: int) -> None:
        """Note which signal ends the server; Tango calls it before `delete_device`."""
        hung_up = type(self).hung_up
        self._ended_by = f"by {'SIGHUP' if hung_up else signal.Signals(signo).name}"

    def delete_device(self) -> None:
        """End what goes on; Tango calls it when the server is ended."""
        done = threading.Event()

        def end() -> None:
            try:
                self.ended(f"the server was ended {self._ended_by or ''}".strip())
            finally:
                done.set()

        self.hurry(f"the server was ended {self._ended_by or ''}".strip())
        self._work.put((0, end))
        if not done.wait(_END_S):
            LOG.error("%s: what went on did not end within %g s", self.get_name(), _END_S)
        super().delete_device()
        if self._ended_by:
            # From here on Tango lets the next signal kill the process, as if it had not ended well.
            logging.shutdown()
            os._exit(0)

    def hurry(self, reason: str) -> None:
        """Have the work that goes on end soon."""

    def ended(self, reason: str) -> None:
        """End what goes on, in the working thread."""

    @attribute(dtype=str, access=AttrWriteType.READ, doc="The session that is served, if any.")
    def session(self) -> str:
        """The session that is served."""
        return str(self.lease.holder)

    @attribute(dtype=str, access=AttrWriteType.READ, doc="What went wrong last.")
    def error(self) -> str:
        """What went wrong last."""
        return self._error

    @json_command
    def KeepAlive(self, asked: dict[str, Any]) -> None:
        """Note that the session lives."""
        self.lease.renew(asked["session"])

    @json_command
    def Release(self, asked: dict[str, Any]) -> None:
        """Serve others."""
        self.lease.release(asked["session"])

    @json_command
    def Answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to what a ticket was given for: ``value`` or ``error``, or nothing yet."""
        self.lease.renew(asked["session"])
        return self._answers.get(asked["ticket"], {})

    def take_lease(self, session: str) -> None:
        """Serve a session from now on, or note that it lives.

        Raises
        ------
        SessionError
            If another one is served, or the work of one that was lost hangs.
        """
        if self._stuck:
            raise SessionError(self._stuck)
        self.lease.take(session)

    def submit(self, work: Callable[[], Any]) -> dict[str, int]:
        """Do something in the working thread, in order; return a ticket for its answer.

        Raises
        ------
        SessionError
            If it hangs in the work of a session that was lost.
        """
        if self._stuck:
            raise SessionError(self._stuck)
        self._ticket += 1
        self._work.put((self._ticket, work))
        return {"ticket": self._ticket}

    def submit_aside(self, work: Callable[[], Any]) -> dict[str, int]:
        """Do something that waits for the working thread; return a ticket for its answer."""
        self._ticket += 1
        ticket = self._ticket
        threading.Thread(
            target=lambda: self._do(ticket, work), name=f"{self.KIND} waits", daemon=True
        ).start()
        return {"ticket": ticket}

    def session_lost(self, session: str) -> None:
        """Become idle after a session was silent for too long."""

    def _session_lost(self, session: str) -> None:
        LOG.warning("%s has not been heard of for %g s", session, self.lease_seconds)
        done = threading.Event()

        def become_idle() -> None:
            try:
                self.session_lost(session)
            finally:
                done.set()
                self._stuck = ""

        self._work.put((0, become_idle))  # also when earlier work hangs
        if done.wait(_END_S):
            return
        self.hurry(f"the session was not heard of for {self.lease_seconds:g} s: {session}")
        if done.wait(_END_S):
            return
        # The lease ends nevertheless: the next client is told what hangs, and not that it is being ended.
        self._stuck = self._error = (
            f"The {self.KIND} server {self.get_name()} still works for {session}, which it lost, and that has "
            f"not ended within {2 * _END_S:g} s: a disk, a camera or a callback hangs. Check them, or restart "
            "the server."
        )
        LOG.error("%s", self._stuck)
        if done.is_set():  # just now
            self._stuck = ""

    def _do_work(self) -> None:
        while True:
            self._do(*self._work.get())

    def _do(self, ticket: int, work: Callable[[], Any]) -> None:
        try:
            answer: dict[str, Any] = {"value": work()}
        except Exception as error:
            if not isinstance(error, ConcertinoError):
                LOG.exception("unexpected")
            self._error = str(error)
            answer = {"error": type(error).__name__, "message": str(error)}
        self._answers[ticket] = answer
        self._answers.pop(ticket - _KEPT_ANSWERS, None)
