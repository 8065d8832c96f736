"""Ports for servers that tests start, and start again."""

import itertools
import os
import random
import socket
from contextlib import suppress

#: Below those that the system gives to connections, so that no connection takes the port of a server that is down
#: for a moment; each of xdist's workers has its own thousand.
_FIRST, _EACH, _WORKERS = 10_000, 1_000, 20
_ours = _FIRST + _EACH * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _WORKERS)
_next = itertools.count(random.SystemRandom().randrange(_EACH))


def free_port() -> int:
    """Return a port of this computer that is free for TCP and for UDP, and was not given by this process before."""
    for number in itertools.islice(_next, _EACH):
        port = _ours + number % _EACH
        with (
            suppress(OSError),
            socket.socket() as tcp,
            socket.socket(type=socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"No port from {_ours} to {_ours + _EACH - 1} of 127.0.0.1 is free.")
