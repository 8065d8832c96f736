"""The guard on another computer: it watches sessions over the network, and knows its beams by itself."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from concertino._errors import SessionError

from ._holder import Holder
from ._link import host_and_port
from ._switches import SwitchOff
from ._untold import UntoldReports
from ._watch import Watch

_MOST = 16
_KEEP_ALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}


def serve_guard(
    address: str,
    beams: Mapping[str, SwitchOff],
    directory: Path | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Watch the sessions that call, and switch the beams off when one dies or is silent; for ever.

    Parameters
    ----------
    address : str
        Where to listen, ``tcp://host:port``; port 0 takes a free one.
    beams : mapping
        How to switch each beam off, by its name.
    directory : Path, optional
        Where reports are kept until the sessions of their data directories have been told, also when this process ends
        meanwhile.
    show : callable
        Called with what people are to read.

    Raises
    ------
    ParameterError
        If the address has not this form.
    SessionError
        If nobody can listen there.
    """
    try:
        server = socket.create_server(host_and_port(address))
    except OSError as error:
        raise SessionError(
            f"The guard was to listen at {address}: {error}. Give an address of this computer and a port "
            "that is free."
        ) from error
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    host, port = server.getsockname()[:2]
    show(f"guards {', '.join(beams)} for sessions that call tcp://{host}:{port}")

    def tell(name: str, wrong: str) -> None:
        show(f"{name}: {wrong or 'connected'} ({beams[name]})")

    for name, switch in beams.items():
        Holder(name, switch, tell)
    places, untold = threading.BoundedSemaphore(_MOST), UntoldReports(directory)
    with server:
        while True:
            caller, _ = server.accept()
            if not places.acquire(blocking=False):
                caller.close()
                continue
            # Of a computer that is gone nothing else would ever tell.
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEP_ALIVE.items():
                caller.setsockopt(socket.IPPROTO_TCP, option, value)
            descriptor = caller.detach()
            threading.Thread(
                target=_watch, args=(descriptor, beams, untold, show, places), daemon=True
            ).start()


def _watch(
    descriptor: int,
    beams: Mapping[str, SwitchOff],
    untold: UntoldReports,
    show: Callable[[str], None],
    places: threading.BoundedSemaphore,
) -> None:
    try:
        Watch(descriptor, descriptor, beams=beams, untold=untold, show=show).run()
    finally:
        with suppress(OSError):
            os.close(descriptor)
        places.release()
