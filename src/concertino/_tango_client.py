"""Calls of Concertino's Tango servers: JSON in, JSON out, our errors, and no call that lasts."""

import getpass
import itertools
import json
import os
import socket
import time
from typing import Any
from uuid import uuid4

from concertino import _errors
from concertino._errors import ConcertinoError, DeviceError, SessionError
from concertino._extras import extra

#: What is not heard of for so long is lost, in seconds; servers give up a session after 10 s.
LOST_S = 8.0
_FIRST_PAUSE_S = 0.002
_TRIED_AGAIN_S = 1.1  # Tango connects once a second at most.
_LONGEST_PAUSE_S = 0.05
_serial = itertools.count(1)


def device_address(address: str, kind: str) -> str:
    """Return the whole Tango address for ``host:port``, or what is one already.

    Examples
    --------
    >>> device_address("127.0.0.1:7001", "writer")
    'tango://127.0.0.1:7001/concertino/writer/1#dbase=no'
    """
    if "/" in address:
        return address
    return f"tango://{address}/concertino/{kind}/1#dbase=no"


def session_name() -> str:
    """Return who this session is, for those who are refused because of it."""
    who = f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"
    return f"{who}, {next(_serial)} ({uuid4().hex[:8]})"


class TangoClient:
    """One Tango device of ours, as a session sees it.

    Parameters
    ----------
    address : str
        ``host:port`` or a whole Tango address.
    kind : {"camera", "writer", "reconstruction", "benchmark"}
        What it is.
    timeout_s : float
        How long a single call may take, in seconds; what takes longer is asked for again.

    Raises
    ------
    MissingExtraError
        If PyTango is not installed.
    DeviceError
        If the server does not answer.
    """

    def __init__(self, address: str, kind: str, *, timeout_s: float = 3.0) -> None:
        with extra("tango", f"The {kind} at {address}"):
            import tango
        self._tango = tango
        self.address = device_address(address, kind)
        self.kind = kind
        self.session = session_name()
        try:
            self._proxy = tango.DeviceProxy(self.address)
            self._proxy.set_timeout_millis(int(timeout_s * 1000))
            self._ping()
        except tango.DevFailed as error:
            raise self._unreachable(error) from error

    def _ping(self) -> None:
        try:
            self._proxy.ping()
        except self._tango.DevFailed as error:
            if "delayed" not in error.args[0].desc:
                raise
            # It has just been tried, and what kept it from connecting is told at the next try only.
            time.sleep(_TRIED_AGAIN_S)
            self._proxy.ping()

    def call(self, command: str, **arguments: Any) -> Any:
        """Call a command that answers at once.

        Raises
        ------
        ConcertinoError
            What the server raised.
        DeviceError
            If it does not answer.
        """
        said = json.dumps({"session": self.session, **arguments})
        try:
            return json.loads(self._proxy.command_inout(command, said))
        except self._tango.DevFailed as error:
            raise self._unreachable(error) from error

    def ask(self, command: str, timeout_s: float | None = None, **arguments: Any) -> Any:
        """Have a command done that may take long, and return its answer.

        Raises
        ------
        SessionError
            If it was not done within `timeout_s`.
        ConcertinoError
            What the server raised.
        """
        return self.answer(command, self.call(command, **arguments)["ticket"], timeout_s)

    def answer(self, command: str, ticket: int, timeout_s: float | None = None) -> Any:
        """Wait for the answer to what a ticket was given for, as `ask` does."""
        heard_s = time.monotonic()
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                answer = self.call("Answer", ticket=ticket)
                heard_s = time.monotonic()
            except DeviceError:
                if time.monotonic() - heard_s > LOST_S:
                    raise
                answer = {}  # A server that is busy, or a line that is full, is heard again.
            if "error" in answer:
                raise error_of(answer["error"], answer["message"])
            if "value" in answer:
                return answer["value"]
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise SessionError(
                    f"{self.kind} at {self.address} has not done {command} within {timeout_s:g} s. "
                    "See in its server's log what it waits for, or start it again."
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def state(self) -> str:
        """Return the Tango state, such as ``"STANDBY"``."""
        try:
            return str(self._proxy.state())
        except self._tango.DevFailed as error:
            raise self._unreachable(error) from error

    def attribute(self, name: str) -> Any:
        """Read an attribute."""
        try:
            return self._proxy.read_attribute(name).value
        except self._tango.DevFailed as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Any) -> ConcertinoError:
        ours = [one for one in error.args if one.reason.startswith("concertino.")]
        if ours:
            return error_of(ours[0].reason.partition(".")[2], ours[0].desc)
        # The first is what caused the others.
        told = dict.fromkeys(" ".join(one.desc.split()).rstrip(".") for one in error.args[::-1])
        return DeviceError(
            f"{self.kind} at {self.address} does not answer: {'; '.join(told)}. See whether "
            f"'concertino tango {self.kind}' runs there, or start it."
        )


def error_of(name: str, message: str) -> ConcertinoError:
    """Return the error of ours that has this class name, or the base of all."""
    kind = getattr(_errors, name, None)
    if isinstance(kind, type) and issubclass(kind, ConcertinoError):
        return kind(message)
    return ConcertinoError(f"{name}: {message}")
