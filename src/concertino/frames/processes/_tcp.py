"""Where a stream listens for subscribers of other processes, and how those reach it."""

from __future__ import annotations

import logging
import secrets
import socket as sockets
from dataclasses import replace
from typing import TYPE_CHECKING

import zmq

from concertino._errors import FrameStreamError
from concertino.frames.core._batch import Delivery
from concertino.frames.core._channel import Channel
from concertino.frames.core._shared_ring import this_computer
from concertino.frames.sockets._addresses import Address, parse_address
from concertino.frames.sockets._keys import KEYS_VARIABLE, Keys, process_keys
from concertino.frames.sockets._sockets import bind_router, connect_dealer

from ._hello import Hello
from ._remote import enter
from ._stream_server import StreamServer

if TYPE_CHECKING:
    from concertino.frames.core._published import PublishedStream

#: Enough to keep a fast line busy during its delay.
_MESSAGES_UNDER_WAY = 8
#: Within this computer there is none: what is under way shall fit into the processor's cache, where the
#: receiver finds it.
_MESSAGES_WITHIN = 4
_SEND_BUFFER_WITHIN_BYTES = 192 * 2**10
_LOG = logging.getLogger(__name__)
_warned_of: set[str] = set()
_ANYWHERE = ("*", "0.0.0.0", "[::]")


def serve(stream: PublishedStream, address: str) -> StreamServer:
    """Have subscribers of other processes reach a stream.

    When the environment variable CONCERTINO_KEYS names a folder of keys, streams are encrypted, and their
    addresses end in ``#`` and the publisher's public key. A path ``*``, or none at a free port, becomes one
    that nobody guesses.

    Raises
    ------
    FrameStreamError
        If the address is malformed or taken, or cannot be had.
    """
    where = parse_address(address)
    if where.path == "*" or (where.port == "0" and not where.path):
        where = replace(where, path=secrets.token_hex(8))
    keys = process_keys()
    here_only = where.host not in _ANYWHERE and where.leads_here_only
    if here_only and where.host not in _warned_of:
        _warned_of.add(where.host)
        _LOG.warning(
            "Frame streams at %s are reached from this computer only: here that name is a loopback address (see "
            "/etc/hosts). For other computers give this one's IP address, or tcp://*:0 for all its interfaces.",
            where.host,
        )
    if keys is None and not (here_only or where.is_local) and where.host not in _warned_of:
        _warned_of.add(where.host)
        _LOG.warning(
            "Frame streams at %s can be read by anybody who reaches this computer and knows their "
            "address. Set %s to a folder of keys to have them encrypted.",
            where.host,
            KEYS_VARIABLE,
        )
    buffer_bytes = _SEND_BUFFER_WITHIN_BYTES if where.is_local else -1
    socket, door = bind_router(where.endpoint, str(where), keys, buffer_bytes)
    where = replace(
        where,
        host=sockets.gethostname() if where.host in _ANYWHERE else where.host,
        port=socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2],
        key="" if keys is None else keys.fingerprint,
    )
    return StreamServer(stream, socket, door, str(where), where.path)


def connect(
    address: str,
    *,
    name: str,
    delivery: Delivery,
    resume: bool,
    timeout_s: float | None,
    necessary: bool,
) -> Channel:
    """Connect a subscriber to a stream of another process.

    Raises
    ------
    FrameStreamError
        If there is no stream at the address, or it cannot serve this subscriber.
    """
    where = parse_address(address)
    if where.port == "0":
        raise FrameStreamError(
            f"The frame stream address {address!r} has no port; use the one in the descriptor."
        )
    connection = connect_dealer(where.endpoint, address, _keys_for(where), where.key)
    messages = _MESSAGES_WITHIN if where.is_local else _MESSAGES_UNDER_WAY
    hello = Hello(address, where.path, name, delivery, messages, this_computer(), necessary)
    return enter(connection, hello, resume, timeout_s)


def _keys_for(where: Address) -> Keys | None:
    """Return the keys to reach a publisher with; None when nothing is encrypted."""
    keys = process_keys()
    if where.key and keys is None:
        raise FrameStreamError(
            f"The frame stream at {where} is encrypted. Set the environment variable {KEYS_VARIABLE} to a "
            "folder of keys that its publisher allows; concertino keys make FOLDER makes one."
        )
    if keys is not None and not where.key and not where.is_local:
        raise FrameStreamError(
            f"The frame stream at {where} is not encrypted, and {KEYS_VARIABLE} asks for that beyond this "
            f"computer. Set {KEYS_VARIABLE} for its publisher, too, and use the address it then shows."
        )
    return keys
