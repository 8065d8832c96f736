"""Addresses of this computer for servers whose ports are fixed."""

import itertools
import os
import random
import socket
from contextlib import suppress

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 100
_next = itertools.count(random.SystemRandom().randrange(200))


def free_host(*ports: int) -> str:
    """Return an address of this computer where some ports are free; each of xdist's workers has its own."""
    for number in itertools.islice(_next, 200):
        host = f"127.{100 + _worker}.0.{1 + number % 200}"
        with suppress(OSError):
            for port in ports:
                with socket.socket() as tried:
                    tried.bind((host, port))
            return host
    raise RuntimeError(f"Ports {ports} are free at no address of this computer.")
