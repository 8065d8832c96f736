"""What ``concertino queueserver`` does."""

import os
import shutil
import socket
import sys
from importlib.resources import files
from pathlib import Path

from concertino import ParameterError, SessionError

_REDIS_S = 5.0


def serve_queue(directory: Path, *, redis: str, control_port: int, info_port: int) -> None:
    """Become bluesky's queue server with the plans and devices of `concertino.queueserver`.

    Parameters
    ----------
    directory : Path
        Data directory; the server's list of plans and devices is kept in it.
    redis : str
        Address of Redis, ``host:port``.
    control_port, info_port : int
        Ports of the server; on this computer only.

    Raises
    ------
    SessionError
        If the queue server is not installed, or Redis does not answer.
    ParameterError
        If the address of Redis is none.
    """
    command = shutil.which("start-re-manager", path=str(Path(sys.executable).parent)) or (
        shutil.which("start-re-manager")
    )
    if command is None:
        raise SessionError(
            "The queue server is not installed; install it with pip install "
            "'concertino[queueserver]'."
        )
    _check_redis(redis)
    directory.mkdir(parents=True, exist_ok=True)
    arguments = [
        command,
        "--startup-module", "concertino.queueserver",
        "--existing-plans-devices", str((directory / "plans_and_devices.yaml").absolute()),
        "--user-group-permissions", str(files("concertino") / "queueserver_permissions.yaml"),
        "--redis-addr", redis,
        "--zmq-control-addr", f"tcp://127.0.0.1:{control_port}",
        "--zmq-info-addr", f"tcp://127.0.0.1:{info_port}",
        "--keep-re",
        "--use-ipython-kernel", "OFF",
    ]  # fmt: skip
    os.environ["CONCERTINO_DIRECTORY"] = str(directory.absolute())
    sys.stdout.flush()
    os.execv(command, arguments)


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
