"""The database of a queue server, and requests to one."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest
import zmq

from tests.ports import free_port

ENDS_S = 90.0


@contextmanager
def redis() -> Iterator[str]:
    """Serve a database for a queue server, and give its address."""
    port = free_port()
    if (program := shutil.which("redis-server")) is not None:
        server = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        try:
            until_listening(port)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(ENDS_S)
        return
    fakeredis = pytest.importorskip("fakeredis")
    fake = fakeredis.TcpFakeServer(("127.0.0.1", port), server_type="redis")
    threading.Thread(target=fake.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        fake.shutdown()
        fake.server_close()


def until_listening(port: int) -> None:
    """Wait until a process that was just started takes connections."""
    until_s = time.monotonic() + ENDS_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), ENDS_S).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.02)


class Requests:
    """Requests to a queue server at a port; `log` returns what it has said, for messages."""

    def __init__(self, port: int, log: Callable[[], str]) -> None:
        self._address, self._log = f"tcp://127.0.0.1:{port}", log
        self._context = zmq.Context()

    def ask(self, method: str, *, quietly: bool = False, **params: Any) -> dict[str, Any]:
        """Return the answer; an empty one, `quietly`, if there is none soon."""
        with self._context.socket(zmq.REQ) as asking:
            asking.linger = 0
            asking.connect(self._address)
            asking.send_json({"method": method, "params": params})
            if asking.poll(500 if quietly else 60_000):
                answer: Any = asking.recv_json()
                return dict(answer)
        assert quietly, f"no answer to {method}: {self._log()}"
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._context.term()
