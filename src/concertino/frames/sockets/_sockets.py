"""The ZeroMQ context and sockets that frame streams use."""

from __future__ import annotations

import atexit
import os
import threading
import time

import zmq
from zmq.auth.thread import ThreadAuthenticator

from concertino._errors import FrameStreamError
from concertino.frames.core._messages import MOST_UNDER_WAY, SUBSCRIBER_BYTES

from ._connection import Connection
from ._door import Door
from ._handshake import Peering
from ._keys import Keys

_EXIT_S = 1.0
_BIND_S = 0.5
_LINGER_MS = 2000
#: After so long without a word the system asks the other computer whether the connection is there, in seconds; it
#: gives one up that is not answered for as long as `_CUT_MS`.
_ASK_S = 2
_CUT_MS = 6000
#: Messages of one subscriber that wait to be heard, and for it that wait to leave: many more than an honest
#: one causes.
_UNHEARD = 1000
_UNSENT = 20 * MOST_UNDER_WAY
#: The largest message with frames that is taken: a frame of 65,536 × 16,384 pixels of 4 bytes.
_FRAMES_BYTES = 2**32
_contexts: dict[int, zmq.Context[zmq.Socket[bytes]]] = {}
_doorkeepers: dict[int, ThreadAuthenticator] = {}
_lock = threading.Lock()


def _context() -> zmq.Context[zmq.Socket[bytes]]:
    """Return the context of this process: a forked child must not use its parent's."""
    with _lock:
        pid = os.getpid()
        if pid not in _contexts:
            _contexts.clear()
            _doorkeepers.clear()
            _contexts[pid] = zmq.Context()
            atexit.register(_leave, pid)
        return _contexts[pid]


def _leave(pid: int) -> None:
    """Give the last messages a moment to leave when the process ends."""
    if pid == os.getpid() and pid in _contexts:
        if pid in _doorkeepers:
            _doorkeepers.pop(pid).stop()
        thread = threading.Thread(target=_contexts[pid].term, daemon=True)
        thread.start()
        thread.join(_EXIT_S)


def _admit(keys: Keys) -> None:
    """Let those whose keys are in the folder now through to the sockets that serve with them."""
    context = _context()
    with _lock:
        pid = os.getpid()
        if pid not in _doorkeepers:
            _doorkeepers[pid] = ThreadAuthenticator(context)
            _doorkeepers[pid].start()
        _doorkeepers[pid].configure_curve(str(keys.folder), keys.allowed_folder)


def _socket(kind: int) -> zmq.Socket[bytes]:
    socket = _context().socket(kind)
    # Credit bounds what is under way: ZeroMQ must neither drop nor block.
    socket.sndhwm = socket.rcvhwm = 0
    socket.linger = _LINGER_MS
    socket.ipv6 = True
    # A connection that is cut without a word is given up, and made again. The system sees to it: ZeroMQ's own
    # heartbeat ends the process when it falls due on a connection that was lost with messages unread (libzmq 4.3.5,
    # stream_engine_base.cpp: in out_event, "Assertion failed: !_io_error").
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle = socket.tcp_keepalive_intvl = _ASK_S
    socket.tcp_keepalive_cnt = _CUT_MS // 1000 // _ASK_S
    socket.tcp_maxrt = _CUT_MS
    return socket


def bind_router(
    endpoint: str,
    address: str,
    keys: Keys | None,
    send_buffer_bytes: int,
) -> tuple[zmq.Socket[bytes], Door]:
    """Return a ROUTER socket that listens, and its door; with keys only to those who are allowed.

    The system chooses the size of its send buffer when it is negative.

    Raises
    ------
    FrameStreamError
        If something listens there already, or nothing can.
    """
    socket = _socket(zmq.ROUTER)
    # Who sends more than a subscriber ever says is cut off before it is in memory; who says more than can
    # be heard waits; and who does not listen is told no more.
    socket.maxmsgsize = SUBSCRIBER_BYTES
    socket.rcvhwm, socket.sndhwm = _UNHEARD, _UNSENT
    socket.sndbuf = send_buffer_bytes
    if keys is not None:
        _admit(keys)
        keys.serve(socket)
    door = Door(socket)
    deadline = time.monotonic() + _BIND_S
    while True:
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            # A stream that was just closed takes a moment to give its address back.
            if error.errno == zmq.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(0.005)
                continue
            door.close()
            socket.close(0)
            if error.errno == zmq.EADDRINUSE:
                raise FrameStreamError(
                    f"A frame stream cannot be reached at {address}: another frame stream or program listens at "
                    "that port. Close it first, or give another port; 0 takes a free one."
                ) from error
            raise FrameStreamError(
                f"A frame stream cannot be reached at {address}: {error.strerror}. Give an address "
                "of this computer and a port that is free."
            ) from error
        return socket, door


def connect_dealer(
    endpoint: str,
    address: str,
    keys: Keys | None,
    server_key: str,
) -> Connection:
    """Return a connection by a DEALER socket, made as soon as something listens.

    With a server's key it speaks to nobody else.

    Raises
    ------
    FrameStreamError
        If the address is malformed, or the server's key is not allowed.
    """
    socket = _socket(zmq.DEALER)
    socket.maxmsgsize = _FRAMES_BYTES
    try:
        peering = Peering(address)
        if keys is not None and server_key:
            keys.connect(socket, server_key, address)
            peering = Peering(address, True, keys.refused(address))
        connection = Connection(socket, peering)
        socket.connect(endpoint)
    except FrameStreamError:
        socket.close(0)
        raise
    except zmq.ZMQError as error:
        socket.close(0)
        raise FrameStreamError(
            f"The frame stream address {address!r} is malformed: {error.strerror}. Write "
            "tcp://host:port/name."
        ) from error
    return connection
