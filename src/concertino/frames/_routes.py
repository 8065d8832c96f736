"""By which way this process reaches publishers of other networks."""

from __future__ import annotations

import threading
from dataclasses import replace

from concertino._errors import FrameStreamError

from ._addresses import parse_address

_lock = threading.Lock()
_routes: dict[str, str] = {}


def add_route(publisher: str, way: str) -> None:
    """Have this process reach the streams at one place by way of another, where a tunnel to it begins.

    Parameters
    ----------
    publisher : str
        Where the publisher listens, as its addresses say it: ``tcp://host:port``.
    way : str
        Where the tunnel listens that leads there: ``tcp://host:port``.

    Raises
    ------
    FrameStreamError
        If one of them is no such address.

    Examples
    --------
    >>> from concertino.frames import add_route
    >>> add_route("tcp://detector:5555", "tcp://gateway:6666")
    """
    place, other = (_network_place(address) for address in (publisher, way))
    with _lock:
        _routes[place] = other


def routed(address: str) -> str:
    """Return the address by which this process reaches a stream."""
    if not _routes or not address.startswith(("tcp://", "any://")):
        return address
    where = parse_address(address)
    with _lock:
        way = _routes.get(where.place)
    return address if way is None else str(replace(where, scheme="tcp", place=way))


def _network_place(address: str) -> str:
    """Return ``host:port`` of an address.

    Raises
    ------
    FrameStreamError
        If it is no address of a network, or has no port.
    """
    where = parse_address(address)
    host, _, port = where.place.rpartition(":")
    if where.scheme not in ("tcp", "any") or not host or not port.isdigit() or port == "0":
        raise FrameStreamError(
            f"The address {address!r} names no place to go; write tcp://HOST:PORT with the port that the "
            "publisher, or the tunnel to it, listens at."
        )
    return where.place
