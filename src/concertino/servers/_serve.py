"""Starts a device server without a Tango database."""

import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tango.server import run

from concertino import ParameterError
from concertino.devices import FrameSource
from concertino.runtime._ending import ending_signals
from concertino.storage import check_directory

from ._callback_server import Benchmark, CallbackServer, Writer
from ._camera_server import CameraServer
from ._reconstruction_server import Reconstruction

_CALLBACK_SERVERS: dict[str, type[CallbackServer]] = {
    "writer": Writer,
    "reconstruction": Reconstruction,
    "benchmark": Benchmark,
}


def serve_callback(
    kind: str,
    *,
    port: int,
    host: str,
    directory: Path,
    lease_s: float,
    log: Path | None,
    roots: Sequence[Path] = (),
) -> None:
    """Serve a callback until the process is ended.

    Sessions have files read and written in `directory` and in `roots` only.

    Raises
    ------
    StorageError
        If the directory cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    served = _CALLBACK_SERVERS[kind]
    values = {
        "directory": str(directory.absolute()),
        "roots": [str(check_directory(root)) for root in roots],
        "host": host,
        "lease_seconds": lease_s,
    }
    _serve(_with_properties(served, values), port, host, log)


def serve_camera(
    make_source: Callable[[], FrameSource],
    *,
    port: int,
    host: str,
    stream_address: str,
    lease_s: float,
    log: Path | None,
) -> None:
    """Serve a camera until the process is ended."""
    values = {"host": host, "stream_address": stream_address, "lease_seconds": lease_s}
    served = _with_properties(CameraServer, values)
    served.make_source = staticmethod(make_source)
    _serve(served, port, host, log)


def _with_properties(served: Any, values: dict[str, Any]) -> Any:
    """Return the class with other values of its properties, which no database could give it."""
    from tango.server import device_property

    kinds: dict[type, Any] = {str: str, float: float, int: int, list: (str,)}
    changed = {
        name: device_property(dtype=kinds[type(value)], default_value=value)
        for name, value in values.items()
    }
    return type(served)(served.__name__, (served,), changed)


def _serve(served: Any, port: int, host: str, log: Path | None) -> None:
    if not 0 < port < 65536:
        raise ParameterError(f"port: {port} was given; give 1 to 65535.")
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        filename=log,
    )
    name = f"concertino/{served.KIND}/1"
    print(f"{served.KIND:14} tango://{host}:{port}/{name}#dbase=no", flush=True)
    arguments = [served.KIND, "1", "-nodb", "-host", host, "-port", str(port), "-dlist", name]

    def end(number: int) -> None:
        if number != signal.SIGHUP:
            os._exit(0)  # Tango has not begun yet: later it takes these itself.
        served.hung_up = True
        os.kill(os.getpid(), signal.SIGTERM)

    with ending_signals(instead=end):
        run((served,), args=arguments, msg_stream=_Told())


class _Told:
    """Where Tango says that it is ready: at once, also where the output is a file."""

    def write(self, text: str) -> None:
        print(text, end="", flush=True)
