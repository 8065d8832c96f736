"""How a subscriber reaches a publisher: one transport for each kind of address."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from concertino._errors import FrameStreamError

from ._batch import Claim, Delivery, FrameBatch
from ._ring import Ring

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
    verifies : bool
        Whether the bytes of each frame are compared with its checksum unless told not to.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    verifies = False

    @property
    @abstractmethod
    def given_up(self) -> bool:
        """Whether the publisher has said that it counts on this subscriber no more."""

    @property
    def intact(self) -> bool:
        """Whether nothing was written over frames that were received and not acknowledged."""
        return True

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


class Endpoint(ABC):
    """Where subscribers reach one stream.

    Attributes
    ----------
    address : str
        The address that it has.
    """

    address: str

    @abstractmethod
    def wake(self) -> None:
        """Take note that the publisher did something, or waits: frames, credit, the end."""

    @abstractmethod
    def close(self) -> None:
        """Tell subscribers what they have not been told, and become unreachable."""


class Transport(ABC):
    """Connects subscribers to the streams of one kind of address."""

    def ring(
        self, shape: tuple[int, int], dtype: DTypeLike, max_bytes: int, old: Ring | None = None
    ) -> Ring:
        """Return a ring for the frames of a stream: `old` if it serves, else a new one.

        Raises
        ------
        FrameStreamError
            If there cannot be one.
        """
        if old is not None and type(old) is Ring and old.fits(shape, dtype, max_bytes):
            return old
        return Ring(shape, dtype, max_bytes)

    @abstractmethod
    def serve(self, stream: FrameStream, address: str) -> Endpoint:
        """Make the stream reachable at `address`.

        Raises
        ------
        FrameStreamError
            If the address is taken or cannot be had.
        """

    @abstractmethod
    def connect(
        self,
        address: str,
        *,
        name: str,
        delivery: Delivery,
        resume: bool,
        timeout_s: float | None,
        necessary: bool = True,
    ) -> Channel:
        """Connect a subscriber.

        Raises
        ------
        FrameStreamError
            If there is no stream at the address, or it cannot serve this subscriber.
        """


_TRANSPORTS: dict[str, Transport] = {}
_BUILT_IN = {
    "inproc": "concertino.frames._inproc",
    "ipc": "concertino.frames._ipc",
    "tcp": "concertino.frames._tcp",
    "any": "concertino.frames._any",
}


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
