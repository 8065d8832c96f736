"""Addresses of streams that other processes reach."""

from __future__ import annotations

from dataclasses import dataclass

from concertino._errors import FrameStreamError


@dataclass(frozen=True)
class Address:
    """``scheme://place/path#key``: where the publisher listens, and which stream is meant there.

    Parameters
    ----------
    scheme : str
        ``ipc`` or ``tcp``.
    place : str
        A name, or ``host:port``.
    path : str
        What a subscriber must say; empty if nothing.
    key : str
        The publisher's public key, 64 hexadecimal digits; empty if the stream is not encrypted.
    """

    scheme: str
    place: str
    path: str
    key: str = ""

    def __str__(self) -> str:
        path = f"/{self.path}" if self.path else ""
        return f"{self.scheme}://{self.place}{path}" + (f"#{self.key}" if self.key else "")


def parse_address(address: str) -> Address:
    """Take an address apart.

    Raises
    ------
    FrameStreamError
        If it has spaces or other characters that addresses have not.
    """
    scheme, _, rest = address.partition("://")
    rest, _, key = rest.partition("#")
    place, _, path = rest.partition("/")
    if not all(c.isalnum() or c in "-_.:*[]/" for c in rest):
        raise FrameStreamError(
            f"The frame stream address {address!r} is malformed: beside letters and digits it may "
            "have - _ . : * [ ] and /."
        )
    return Address(scheme, place, path, key)
