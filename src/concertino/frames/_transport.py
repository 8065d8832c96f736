"""How a subscriber reaches a publisher: one transport for each kind of address."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from concertino._errors import FrameStreamError

from ._batch import Claim, Delivery, FrameBatch

if TYPE_CHECKING:
    from ._stream import FrameStream


class Channel(ABC):
    """A subscriber's end of its connection to a publisher.

    Attributes
    ----------
    shape : tuple of int
        Frame shape (height, width) in pixels.
    dtype : dtype
        Type of a pixel.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @abstractmethod
    def receive(self, max_frames: int | None, timeout_s: float | None) -> FrameBatch | None:
        """Return the next frames, or None when the stream ended and all were taken.

        Raises
        ------
        TimeoutError
            If nothing came within `timeout_s`.
        FrameStreamError
            If the stream failed and all that was published before has been taken.
        """

    @abstractmethod
    def acknowledge(self, stop: int) -> None:
        """Declare frames ``[0, stop)`` safe."""

    @abstractmethod
    def claim(self, claim: Claim) -> None:
        """Say where the frames can be read back."""

    @abstractmethod
    def fail(self, reason: str) -> None:
        """Tell the publisher that this subscriber failed."""

    @abstractmethod
    def finish(self) -> None:
        """Tell the publisher that this subscriber has done all it had to."""

    @abstractmethod
    def alive(self) -> None:
        """Tell the publisher that this subscriber is busy, not dead."""


class Transport(ABC):
    """Connects subscribers to the streams of one kind of address."""

    @abstractmethod
    def serve(self, stream: FrameStream, address: str) -> str:
        """Make the stream reachable at `address` and return the address it has."""

    @abstractmethod
    def withdraw(self, stream: FrameStream) -> None:
        """Make the stream unreachable."""

    @abstractmethod
    def connect(
        self, address: str, *, name: str, delivery: Delivery, timeout_s: float | None
    ) -> Channel:
        """Connect a subscriber.

        Raises
        ------
        FrameStreamError
            If there is no stream at the address, or it cannot serve this subscriber.
        """


_TRANSPORTS: dict[str, Transport] = {}
_BUILT_IN = {"inproc": "concertino.frames._inproc"}


def register_transport(scheme: str, transport: Transport) -> None:
    """Make a transport serve the addresses that begin with ``scheme://``."""
    _TRANSPORTS[scheme] = transport


def transport_for(address: str) -> Transport:
    """Return the transport that serves an address.

    Raises
    ------
    FrameStreamError
        If no transport serves its scheme.
    """
    scheme, separator, _ = address.partition("://")
    if separator and scheme not in _TRANSPORTS and scheme in _BUILT_IN:
        import_module(_BUILT_IN[scheme])
    if not separator or scheme not in _TRANSPORTS:
        known = ", ".join(f"{name}://…" for name in sorted(_BUILT_IN | _TRANSPORTS))
        raise FrameStreamError(
            f"The frame stream address {address!r} is of no known kind; known are {known}."
        )
    return _TRANSPORTS[scheme]
