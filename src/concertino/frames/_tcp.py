"""Frame streams between computers, over TCP."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket as sockets
from dataclasses import replace
from typing import TYPE_CHECKING

import zmq

from concertino._errors import FrameStreamError

from ._addresses import Address, parse_address
from ._batch import Delivery
from ._gate import Gate
from ._hello import Hello
from ._keys import KEYS_VARIABLE, Keys, process_keys
from ._remote import enter
from ._shared_ring import SharedRing
from ._sockets import bind_router, connect_dealer
from ._transport import Channel, Endpoint, Transport, register_transport

if TYPE_CHECKING:
    from ._stream import FrameStream

#: Enough to keep a fast line busy during its delay.
_MESSAGES_UNDER_WAY = 8
#: Within this computer there is none: what is under way shall fit into the processor's cache, where the
#: receiver finds it.
_MESSAGES_WITHIN = 4
_SEND_BUFFER_WITHIN_BYTES = 192 * 2**10
_HEARTBEAT_S = 2.0
_LOG = logging.getLogger(__name__)
_warned_of: set[str] = set()
_ANYWHERE = ("*", "0.0.0.0", "[::]")


class TcpTransport(Transport):
    """Serves ``tcp://host:port``; ``tcp://`` alone is a free port on this computer's loopback.

    When the environment variable CONCERTINO_KEYS names a folder of keys, streams are encrypted, and their
    addresses end in ``#`` and the publisher's public key. A path ``*`` becomes one that nobody guesses.
    """

    def computer(self) -> str:
        """Return the name of the computer with which frames lie in shared memory; empty for none."""
        return ""

    def serve(self, stream: FrameStream, address: str) -> Endpoint:
        where = parse_address(address)
        host, port = _host_and_port(where, default_port="0")
        if where.path == "*" or (port == "0" and not where.path):
            where = replace(where, path=secrets.token_hex(8))
        endpoint = f"tcp://{host}:{port}"
        keys = process_keys()
        if keys is None and not _is_loopback(host) and host not in _warned_of:
            _warned_of.add(host)
            _LOG.warning(
                "Frame streams at %s can be read by anybody who reaches this computer and knows their "
                "address. Set %s to a folder of keys to have them encrypted.",
                host,
                KEYS_VARIABLE,
            )
        buffer_bytes = _SEND_BUFFER_WITHIN_BYTES if _is_loopback(host) else -1
        socket, door = bind_router(endpoint, str(where), _HEARTBEAT_S, keys, buffer_bytes)
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
        shown = sockets.gethostname() if host in _ANYWHERE else host
        key = "" if keys is None else keys.fingerprint
        where = replace(where, place=f"{shown}:{bound}", key=key)
        if isinstance(stream.ring, SharedRing):
            memory, computer = stream.ring.memory, self.computer()
            return Gate(stream, socket, door, str(where), where.path, memory, computer)
        return Gate(stream, socket, door, str(where), where.path, None)

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
        host, port = _host_and_port(where, default_port="")
        keys = _keys_for(where, host)
        connection = connect_dealer(f"tcp://{host}:{port}", address, _HEARTBEAT_S, keys, where.key)
        messages = _MESSAGES_WITHIN if _is_loopback(host) else _MESSAGES_UNDER_WAY
        computer = self.computer()
        hello = Hello(address, where.path, name, delivery, messages, computer, necessary)
        return enter(connection, hello, resume, timeout_s)


def _keys_for(where: Address, host: str) -> Keys | None:
    """Return the keys to reach a publisher with; None when nothing is encrypted."""
    keys = process_keys()
    if where.key and keys is None:
        raise FrameStreamError(
            f"The frame stream at {where} is encrypted. Set the environment variable {KEYS_VARIABLE} to a "
            "folder of keys that its publisher allows; concertino keys make FOLDER makes one."
        )
    if keys is not None and not where.key and not _is_loopback(host):
        raise FrameStreamError(
            f"The frame stream at {where} is not encrypted, and {KEYS_VARIABLE} asks for that beyond this "
            f"computer. Set {KEYS_VARIABLE} for its publisher, too, and use the address it then shows."
        )
    return keys


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_and_port(where: Address, default_port: str) -> tuple[str, str]:
    host, colon, port = where.place.rpartition(":")
    if not where.place and default_port:
        return "127.0.0.1", default_port
    if not colon or not host or not port.isdigit():
        raise FrameStreamError(
            f"The frame stream address {str(where)!r} is malformed; write {where.scheme}://host:port/name."
        )
    return host, port


register_transport("tcp", TcpTransport())
