"""What ``concertino queueserver`` does."""

import os
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from concertino import SessionError


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
        If the queue server is not installed.
    """
    command = shutil.which("start-re-manager", path=str(Path(sys.executable).parent)) or (
        shutil.which("start-re-manager")
    )
    if command is None:
        raise SessionError(
            "The queue server is not installed; install it with pip install "
            "'concertino[queueserver]'."
        )
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
