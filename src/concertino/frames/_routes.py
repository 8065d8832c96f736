"""By which way this process reaches publishers of other networks."""

from __future__ import annotations

import threading
from dataclasses import replace

from concertino._errors import FrameStreamError

from ._addresses import parse_address

_lock = threading.Lock()
_routes: dict[str, str] = {}


def add_route(publisher: str, relay: str) -> None:
    """Have this process reach the streams at one place by way of another, where a relay listens.

    Parameters
    ----------
    publisher : str
        Where the publisher listens, as its addresses say it: ``tcp://host:port``.
    relay : str
        Where the `Relay` to it listens: ``tcp://host:port``.

    Raises
    ------
    FrameStreamError
        If one of them is no such address.

    Examples
    --------
    >>> from concertino.frames import add_route
    >>> add_route("tcp://detector:5555", "tcp://gateway:6666")
    """
    place, way = (network_place(address) for address in (publisher, relay))
    with _lock:
        _routes[place] = way


def routed(address: str) -> str:
    """Return the address by which this process reaches a stream."""
    if not _routes or not address.startswith(("tcp://", "any://")):
        return address
    where = parse_address(address)
    with _lock:
        way = _routes.get(where.place)
    return address if way is None else str(replace(where, scheme="tcp", place=way))


def network_place(address: str) -> str:
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
            f"The address {address!r} cannot be relayed; write tcp://HOST:PORT with the port that the "
            "publisher or relay listens at."
        )
    return where.place
