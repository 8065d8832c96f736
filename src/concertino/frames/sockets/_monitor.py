"""A socket's own news: who came, who was lost, whose handshake failed."""

from __future__ import annotations

import uuid

import zmq


def monitor(socket: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
    """Return a socket on which another one's events come; `disable_monitor` of that one ends them.

    ZeroMQ's own thread hands the events over, and waits for room: where nobody reads them, as of a connection
    that is made again and again in vain, it would stand still, and every socket of the process with it. So
    there is always room.

    Parameters
    ----------
    socket : zmq.Socket
        What is watched.
    events : int
        Which events.
    """
    address = f"inproc://monitor-{uuid.uuid4().hex}"
    socket.monitor(address, events)
    listener: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
    listener.rcvhwm = 0  # without limit, which over inproc counts for both sides
    listener.linger = 0
    listener.connect(address)
    return listener
