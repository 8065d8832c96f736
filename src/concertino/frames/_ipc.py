"""Frame streams between processes of one computer: the pixels stay in shared memory."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from numpy.typing import DTypeLike

from concertino._errors import FrameStreamError

from ._addresses import Address, parse_address
from ._batch import Delivery
from ._gate import Gate
from ._hello import Hello
from ._remote import enter
from ._ring import Ring
from ._shared_ring import SharedRing
from ._sockets import bind_router, connect_dealer
from ._transport import Channel, Endpoint, Transport, register_transport

if TYPE_CHECKING:
    from ._stream import FrameStream

#: For publishers of other make that share no memory.
_MESSAGES_UNDER_WAY = 2


class IpcTransport(Transport):
    """Serves ``ipc://name``; ``ipc://`` alone makes a name that nobody guesses.

    The name is that of an abstract Unix socket, of which nothing is left when its process ends.
    """

    def ring(
        self, shape: tuple[int, int], dtype: DTypeLike, max_bytes: int, old: Ring | None = None
    ) -> Ring:
        if isinstance(old, SharedRing) and old.fits(shape, dtype, max_bytes):
            return old
        return SharedRing(shape, dtype, max_bytes)

    def serve(self, stream: FrameStream, address: str) -> Endpoint:
        where = parse_address(address)
        if not where.place:
            name = f"{os.getpid()}-{secrets.token_hex(4)}"
            where = replace(where, place=name, path=where.path or secrets.token_hex(8))
        assert isinstance(stream.ring, SharedRing)
        socket, door = bind_router(_endpoint(where), str(where))
        return Gate(stream, socket, door, str(where), where.path, stream.ring.memory)

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
        where = parse_address(address)
        if not where.place:
            raise FrameStreamError(
                f"The frame stream address {address!r} has no name; use the one in the descriptor."
            )
        connection = connect_dealer(_endpoint(where), address)
        hello = Hello(address, where.path, name, delivery, _MESSAGES_UNDER_WAY, necessary=necessary)
        return enter(connection, hello, resume, timeout_s)


def _endpoint(where: Address) -> str:
    return f"ipc://@concertino/{where.place}"


register_transport("ipc", IpcTransport())
