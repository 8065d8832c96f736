"""What ``concertino queueserver`` does."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from types import FrameType

from concertino import ParameterError, SessionError
from concertino._extras import extra
from concertino.runtime._ending import ending_signals
from concertino.runtime._last_words import say
from concertino.runtime._plan_end import PLAN_END_S

_REDIS_S = 5.0
#: bluesky's name of the process that answers requests; the other one runs the plans.
_MANAGER = "RE Manager Process"
_CLOSE_S = 30.0


def serve_queue(
    directory: Path, *, redis: str, control_port: int, info_port: int, module: str
) -> None:
    """Become bluesky's queue server, until a signal or a request ends it.

    Parameters
    ----------
    directory : Path
        Data directory; the server's list of plans and devices is kept in it.
    redis : str
        Address of Redis, ``host:port``.
    control_port, info_port : int
        Ports of the server; on this computer only.
    module : str
        With the plans and devices, such as `concertino.queueserver`.

    Raises
    ------
    MissingExtraError
        If the queue server is not installed.
    SessionError
        If Redis does not answer.
    ParameterError
        If the address of Redis is none.
    """
    with extra("queueserver", "The queue server"):
        from bluesky_queueserver.manager import start_manager
    _check_redis(redis)
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["CONCERTINO_DIRECTORY"] = str(directory.absolute())
    sys.argv = [
        "start-re-manager",
        "--startup-module", module,
        "--existing-plans-devices", str((directory / "plans_and_devices.yaml").absolute()),
        "--user-group-permissions", str(files("concertino") / "queueserver_permissions.yaml"),
        "--redis-addr", redis,
        "--zmq-control-addr", f"tcp://127.0.0.1:{control_port}",
        "--zmq-info-addr", f"tcp://127.0.0.1:{info_port}",
        "--keep-re",
        "--use-ipython-kernel", "OFF",
    ]  # fmt: skip
    # Its own answer to SIGTERM is to kill the worker, beam as it is.
    vars(start_manager)["AtTerm"] = _NothingAtTerm
    ending = _WorkerFirst()
    with ending_signals(instead=ending.hear), suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, ending.end)
        start_manager.start_manager()


class _NothingAtTerm:
    def replace_sigterm_handler(self) -> None:
        """Leave the signals alone."""

    def register(self, function: object) -> None:
        """Do nothing: the server has it done when Python ends, too."""


class _WorkerFirst:
    """Has the worker end its plan before a signal ends the server, with exit code 0."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._number = signal.SIGTERM
        self._ends = False

    def hear(self, number: int) -> None:
        """Take SIGTERM or SIGHUP, in any thread."""
        self._number = signal.Signals(number)
        # While the main thread waits, the server does not start anew what the signal ended, too.
        signal.pthread_kill(int(threading.main_thread().ident or 0), signal.SIGINT)

    def end(self, number: int, frame: FrameType | None) -> None:
        """End the worker, then the server."""
        if os.getpid() != self._pid:  # in the server's other processes, which are forked
            signal.default_int_handler(number, frame)
        if self._ends:
            return
        self._ends = True
        for process in multiprocessing.active_children():
            if process.name != _MANAGER and process.pid is not None:
                say(
                    "The queue server ends when its worker has: the beam goes off, then the run ends."
                )
                os.kill(process.pid, self._number)
                process.join(PLAN_END_S + _CLOSE_S)
                if process.is_alive():
                    say("The worker does not end: THE BEAM MAY BE ON. Switch it off by hand.")
        raise KeyboardInterrupt  # The server ends itself then.


def _check_redis(address: str) -> None:
    """Ask Redis whether it is there: without it the queue server neither works nor ends.

    Raises
    ------
    ParameterError
        If the address is none.
    SessionError
        If Redis does not answer there.
    """
    host, _, port = address.partition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ParameterError(f"redis: {address!r} is no address; write HOST:PORT.")
    try:
        with socket.create_connection((host, int(port)), _REDIS_S) as connection:
            connection.sendall(b"PING\r\n")
            # One that wants a password says so; that is for the queue server to tell.
            answer = connection.recv(64)
    except OSError as error:
        raise SessionError(
            f"Redis, in which the queue server keeps its queue, does not answer at {address}: {error}. "
            "Start it (apt install redis-server), or say where it is with --redis HOST:PORT."
        ) from error
    if not answer.startswith((b"+", b"-")):
        raise SessionError(
            f"What listens at {address} is not Redis: it answered {answer[:16]!r}. Say where Redis is "
            "with --redis HOST:PORT."
        )
