"""Where a frame stream is found: one kind of address, whoever subscribes from wherever."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from ipaddress import ip_address

from concertino._errors import FrameStreamError

_SCHEME = "tcp://"
_LAST_PORT = 65535


@dataclass(frozen=True)
class Address:
    """``tcp://host:port/path#key``: where the publisher listens, and which stream is meant there.

    Parameters
    ----------
    host, port : str
        Of the publisher; port ``"0"`` takes a free one.
    path : str
        What a subscriber must say; empty if nothing.
    key : str
        The publisher's public key, 64 hexadecimal digits; empty if the stream is not encrypted.
    """

    host: str
    port: str
    path: str = ""
    key: str = ""

    @property
    def endpoint(self) -> str:
        """What ZeroMQ listens at or connects to."""
        return f"{_SCHEME}{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it is reached on the publisher's own computer only."""
        try:
            return self.host == "localhost" or ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def is_known(self) -> bool:
        """Whether the host's name has an address."""
        return _resolved(self.host) != []

    @property
    def leads_here_only(self) -> bool:
        """Whether the host is a name that stands for this computer within this computer only."""
        found = _resolved(self.host)
        return bool(found) and not self.is_local and all(ip_address(at).is_loopback for at in found)

    def __str__(self) -> str:
        path = f"/{self.path}" if self.path else ""
        return self.endpoint + path + (f"#{self.key}" if self.key else "")


def parse_address(address: str) -> Address:
    """Take an address apart; ``tcp://`` alone is a free port for this computer only.

    Raises
    ------
    FrameStreamError
        If it is no address of a frame stream.
    """
    if not isinstance(address, str):
        raise FrameStreamError(
            f"The frame stream address {address!r} is no text; write tcp://host:port/name."
        )
    scheme, separator, rest = address.partition("://")
    if f"{scheme}{separator}" != _SCHEME:
        raise FrameStreamError(
            f"The frame stream address {address!r} is of no known kind; write tcp://host:port/name."
        )
    rest, _, key = rest.partition("#")
    place, _, path = (rest or "127.0.0.1:0").partition("/")
    if not all(c.isalnum() or c in "-_.:*[]/" for c in rest):
        raise FrameStreamError(
            f"The frame stream address {address!r} is malformed: beside letters and digits it may "
            "have - _ . : * [ ] and /. Write tcp://host:port/name."
        )
    host, colon, port = place.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise FrameStreamError(
            f"The frame stream address {address!r} is malformed; write tcp://host:port/name."
        )
    if not port.isascii() or int(port) > _LAST_PORT:
        raise FrameStreamError(
            f"The frame stream address {address!r} has the port {port}; give one from 1 to {_LAST_PORT}, or 0 for a "
            "free one."
        )
    return Address(host, port, path, key)


def address_beside(address: str, number: int) -> str:
    """Return the address for one of several streams at the same time: of a fixed port, the next ones.

    Raises
    ------
    FrameStreamError
        If there is no such port.
    """
    where = parse_address(address)
    if not number or where.port == "0":
        return address
    return str(parse_address(str(replace(where, port=str(int(where.port) + number)))))


def _resolved(host: str) -> list[str]:
    """Return the addresses of a host; those of all interfaces are themselves."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]).partition("%")[0] for entry in found]
