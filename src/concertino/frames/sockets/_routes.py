"""By which way this process reaches publishers of other networks."""

from __future__ import annotations

from dataclasses import replace

from concertino._errors import FrameStreamError

from ._addresses import parse_address

_routes: dict[tuple[str, str], tuple[str, str]] = {}


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
    place, other = (_place(address) for address in (publisher, way))
    _routes[place] = other


def routed(address: str) -> str:
    """Return the address by which this process reaches a stream."""
    where = parse_address(address)
    way = _routes.get((where.host, where.port))
    return address if way is None else str(replace(where, host=way[0], port=way[1]))


def _place(address: str) -> tuple[str, str]:
    where = parse_address(address)
    if where.port == "0":
        raise FrameStreamError(
            f"The address {address!r} names no place to go; write tcp://HOST:PORT with the port that the "
            "publisher, or the tunnel to it, listens at."
        )
    return where.host, where.port
