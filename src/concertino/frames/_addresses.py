"""Where a frame stream is found: one kind of address, whoever subscribes from wherever."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from concertino._errors import FrameStreamError

_SCHEME = "tcp://"


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
    return Address(host, port, path, key)
