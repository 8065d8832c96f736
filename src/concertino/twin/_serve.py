"""Serves the twin by one or more protocols until the process is ended."""

import asyncio
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from concertino import ParameterError, SessionError
from concertino._extras import extra
from concertino.devices import SimulatedBeamline

from ._camera import CameraDriver
from ._host import TwinHost
from ._record import Record

_BEGINS_S = 60.0
_CA = {
    "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
    "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
}


@dataclass(frozen=True)
class TwinOptions:
    """By what a twin is served; at least one of the first three.

    Parameters
    ----------
    epics : str
        Prefix of records by Channel Access, such as ``"TWIN:"``; with the frames by PV Access.
    pva : str
        Prefix of the same records by PV Access, with the frames.
    tango : int
        Port of a Tango server without a database; 0 for none.
    truth : Path, optional
        File that gets a line of JSON for each exposure: its begin and end, and the true angles and positions.
    readback_hz : float
        How often motor records tell where they are while they move, in Hz.
    """

    epics: str = ""
    pva: str = ""
    tango: int = 0
    truth: Path | None = None
    readback_hz: float = 10.0

    def __post_init__(self) -> None:
        if not (self.epics or self.pva or self.tango):
            raise ParameterError(
                "A twin was to be served by no protocol; give a prefix for EPICS or PV Access, or a port for Tango."
            )
        if not 0 <= self.tango < 65536:
            raise ParameterError(f"tango: {self.tango} was given; give a port, 1 to 65535.")
        if not (math.isfinite(self.readback_hz) and self.readback_hz > 0):
            raise ParameterError(f"readback_hz: {self.readback_hz} was given; give more than 0 Hz.")


def serve_twin(
    beamline: SimulatedBeamline,
    options: TwinOptions,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a twin until the process gets SIGINT or SIGTERM, on this computer only; in the main thread.

    Ports are those of the variables ``EPICS_CA_SERVER_PORT``, ``EPICS_PVAS_SERVER_PORT`` and ``EPICS_PVAS_BROADCAST_PORT``.

    Parameters
    ----------
    beamline : SimulatedBeamline
        The twin.
    options : TwinOptions
        By what.
    say : callable
        Gets lines to print: what a session needs to find the twin, and ``ready``.

    Raises
    ------
    MissingExtraError
        If a protocol's package is not installed: of the extra ``twin``, or of ``tango``.
    SessionError
        If a port is taken.
    """
    _need_packages(options)
    for name, value in _CA.items():
        os.environ.setdefault(name, value)
    host = TwinHost(beamline, truth=options.truth, readback_hz=options.readback_hz)
    host.start()
    closed = _serve_records(host, options, say) if options.epics or options.pva else None
    if options.tango:
        with extra("tango", "The twin by Tango"):
            from ._tango_devices import serve_devices
        serve_devices(host, options.tango, say)
        os._exit(0)  # Tango took the signal.
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    say("ready")
    while not ended.wait(0.5):
        if closed is not None and closed.done():
            raise SessionError(
                f"The twin's server by EPICS ended: {closed.exception()}. Start it again."
            )
    sys.stdout.flush()
    # Servers in other threads would be told one by one, and hold nothing that must be kept.
    os._exit(0)


def _need_packages(options: TwinOptions) -> None:
    """See that what serves is installed, before the twin is made."""
    if options.epics or options.pva:
        with extra("twin", "The twin by EPICS"):
            import caproto  # noqa: F401
            import p4p  # noqa: F401
    if options.tango:
        with extra("tango", "The twin by Tango"):
            import tango  # noqa: F401


def _serve_records(
    host: TwinHost, options: TwinOptions, say: Callable[[str], None]
) -> "Future[None] | None":
    """Serve the records; return what ends when the server by Channel Access does."""
    with extra("twin", "The twin by EPICS"):
        from ._pv_access import ImagePV, pva_server, search_port

    async def begin() -> tuple[list[Record], CameraDriver, object]:
        records, driver = host.records()
        image = ImagePV()
        driver.images.append(image.post)
        served: dict[str, list[Record]] = {options.epics: []} if options.epics else {}
        if options.pva:
            served[options.pva] = records
        return records, driver, pva_server(served, image)

    records, *kept = asyncio.run_coroutine_threadsafe(begin(), host.loop).result(_BEGINS_S)
    host.kept = list(kept)
    for line in _told(options, search_port(kept[1])):
        say(line)
    if not options.epics:
        return None
    with extra("twin", "The twin by EPICS"):
        from ._channel_access import serve_channels
    ready = threading.Event()
    served = asyncio.run_coroutine_threadsafe(
        serve_channels(options.epics, records, ready.set), host.loop
    )
    while not ready.wait(0.05):
        with suppress(TimeoutError):
            served.result(0.0)
            break
    if served.done():
        port = os.environ.get("EPICS_CA_SERVER_PORT", "5064")
        raise SessionError(
            f"The twin was to answer searches by Channel Access at port {port}, and could not: {served.exception()}. End who "
            "has the port, or set EPICS_CA_SERVER_PORT to another one."
        )
    return served


def _told(options: TwinOptions, port: int) -> list[str]:
    """Return what a session's shell needs to find the twin."""
    lines = ["# In the shell of the session:"]
    if options.epics:
        told = os.environ.get("EPICS_CA_SERVER_PORT", "5064")
        lines.append(f"export EPICS_CA_ADDR_LIST=127.0.0.1:{told} EPICS_CA_AUTO_ADDR_LIST=NO")
    lines.append(f"export EPICS_PVA_ADDR_LIST=127.0.0.1:{port} EPICS_PVA_AUTO_ADDR_LIST=NO")
    return lines
