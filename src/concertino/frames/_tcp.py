"""Frame streams between computers, over TCP."""

from __future__ import annotations

import secrets
import socket as sockets
from dataclasses import replace
from typing import TYPE_CHECKING

import zmq

from concertino._errors import FrameStreamError

from ._addresses import Address, parse_address
from ._batch import Delivery
from ._connection import Connection
from ._gate import Gate
from ._hello import Hello
from ._remote import enter
from ._sockets import bind_router, connect_dealer
from ._transport import Channel, Endpoint, Transport, register_transport

if TYPE_CHECKING:
    from ._stream import FrameStream

#: Enough to keep a fast line busy during its delay.
_MESSAGES_UNDER_WAY = 8
_HEARTBEAT_S = 2.0
_ANYWHERE = ("*", "0.0.0.0", "[::]")


class TcpTransport(Transport):
    """Serves ``tcp://host:port``; ``tcp://`` alone is a free port on this computer's loopback."""

    verifies = True

    def serve(self, stream: FrameStream, address: str) -> Endpoint:
        where = parse_address(address)
        host, port = _host_and_port(where, default_port="0")
        if port == "0" and not where.path:
            where = replace(where, path=secrets.token_hex(8))
        endpoint = f"tcp://{host}:{port}"
        socket = bind_router(endpoint, str(where), _HEARTBEAT_S)
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
        shown = sockets.gethostname() if host in _ANYWHERE else host
        where = replace(where, place=f"{shown}:{bound}")
        return Gate(stream, socket, str(where), where.path, None)

    def connect(
        self,
        address: str,
        *,
        name: str,
        delivery: Delivery,
        resume: bool,
        timeout_s: float | None,
    ) -> Channel:
        where = parse_address(address)
        host, port = _host_and_port(where, default_port="")
        connection = Connection(connect_dealer(f"tcp://{host}:{port}", address, _HEARTBEAT_S))
        hello = Hello(address, where.path, name, delivery, _MESSAGES_UNDER_WAY)
        return enter(connection, hello, resume, timeout_s)


def _host_and_port(where: Address, default_port: str) -> tuple[str, str]:
    host, colon, port = where.place.rpartition(":")
    if not where.place and default_port:
        return "127.0.0.1", default_port
    if not colon or not host or not port.isdigit():
        raise FrameStreamError(
            f"The frame stream address {str(where)!r} is malformed; write tcp://host:port/name."
        )
    return host, port


register_transport("tcp", TcpTransport())
