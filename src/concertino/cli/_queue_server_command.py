"""What ``concertino queueserver`` does."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any

from concertino import ParameterError, SessionError, units
from concertino._extras import extra
from concertino.runtime._ending import ending_signals
from concertino.runtime._last_words import say
from concertino.runtime._plan_end import PLAN_END_S

_REDIS_S = 5.0
#: bluesky's name of the process that answers requests; the other one runs the plans.
_MANAGER = "RE Manager Process"
_CLOSE_S = 30.0
#: By which method the manager asks its worker for the plans and devices, and how long an answer may take.
_ASKED = "_worker_request_plans_and_devices_list"
_PLANS_S = 60.0


def serve_queue(
    directory: Path,
    *,
    redis: str,
    control_port: int,
    info_port: int,
    module: str,
    permissions: Path | None = None,
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
    permissions : Path, optional
        Which group of users may use which plans and devices, as the queue server's documentation says; by default
        those of the group ``primary`` may use all.

    Raises
    ------
    MissingExtraError
        If the queue server is not installed.
    SessionError
        If Redis does not answer.
    ParameterError
        If the address of Redis is none, or the permissions cannot be read.
    """
    with extra("queueserver", "The queue server"):
        from bluesky_queueserver.manager import start_manager
        from bluesky_queueserver.manager.manager import RunEngineManager
    if permissions is None:
        permissions = Path(str(files("concertino") / "queueserver_permissions.yaml"))
    _check_permissions(permissions)
    _check_redis(redis)
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["CONCERTINO_DIRECTORY"] = str(directory.absolute())
    sys.argv = [
        "start-re-manager",
        "--startup-module", module,
        "--existing-plans-devices", str((directory / "plans_and_devices.yaml").absolute()),
        "--user-group-permissions", str(permissions.absolute()),
        "--redis-addr", redis,
        "--zmq-control-addr", f"tcp://127.0.0.1:{control_port}",
        "--zmq-info-addr", f"tcp://127.0.0.1:{info_port}",
        "--keep-re",
        "--use-ipython-kernel", "OFF",
    ]  # fmt: skip
    # Its own answer to SIGTERM is to kill the worker, beam as it is.
    vars(start_manager)["AtTerm"] = _NothingAtTerm
    patient = type("PatientManager", (RunEngineManager,), {_ASKED: _ask_for_plans})
    vars(start_manager)["WatchdogProcess"] = partial(
        start_manager.WatchdogProcess, cls_run_engine_manager=patient
    )
    # The manager, which is forked from this process, needs it for the first plan that is added.
    units.parse("1 mm")
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


async def _ask_for_plans(manager: Any) -> tuple[Any, str]:
    """Ask the worker for its plans and devices, and wait until it has answered.

    The manager's own method waits for half a second. The worker, when its answer is late, takes it for given: every
    plan would be refused until the environment is opened again.
    """
    try:
        found = await manager._comm_to_worker.send_msg(
            "request_plans_and_devices_list", timeout=_PLANS_S
        )
    except TimeoutError:
        return None, f"The worker did not tell its plans within {_PLANS_S:g} s."
    return found, ""


def _check_permissions(path: Path) -> None:
    """Have bluesky read the permissions, whose server would start without any.

    Raises
    ------
    ParameterError
        If it cannot.
    """
    with extra("queueserver", "The queue server"):
        from bluesky_queueserver.manager.profile_ops import load_user_group_permissions
    try:
        load_user_group_permissions(str(path))
    except Exception as error:
        raise ParameterError(
            f"permissions: {path} cannot be read ({error.__cause__ or error}). Write user_groups with root and each "
            "group in it, as bluesky-queueserver's documentation says."
        ) from error


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
