"""A queue server, its database, and requests to it."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import zmq

from tests.ports import free_port

ENDS_S = 90.0
WAIT_S = 240.0


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


class Manager(Requests):
    """A queue server's process and the requests to it; `address` is where it takes them."""

    def __init__(self, port: int, directory: Path) -> None:
        super().__init__(port, (directory / "manager.log").read_text)
        self.address = f"tcp://127.0.0.1:{port}"
        self.info_address = ""
        self.data = directory / "data"

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for something, and return it."""
        deadline = time.monotonic() + WAIT_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what} within {WAIT_S:g} s: {self._log()}"
            time.sleep(0.1)
        return found

    def wait_for(self, key: str, value: Any) -> dict[str, Any]:
        """Wait until its status says something, and return that."""
        deadline = time.monotonic() + WAIT_S
        while (status := self.ask("status"))[key] != value:
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
        return status

    def open_environment(self) -> None:
        """Have it start its worker."""
        assert self.ask("environment_open")["success"]
        self.wait_for("worker_environment_exists", True)
        self.wait_for("manager_state", "idle")
        # The worker is ready a moment before its plans are known.
        self.until(
            lambda: self.ask("plans_allowed", user_group="primary").get("plans_allowed"), "plans"
        )

    def call(self, name: str, *args: Any) -> Any:
        """Call a function in the worker; return what it returns."""
        item = {"item_type": "function", "name": name, "args": list(args)}
        answer = self.ask("function_execute", item=item, user="test", user_group="primary")
        assert answer["success"], answer

        def ended() -> Any:
            found = self.ask("task_result", task_uid=answer["task_uid"])
            return found if found["status"] == "completed" else None

        result = self.until(ended, f"the end of {name}")["result"]
        assert result["success"], result
        self.wait_for("manager_state", "idle")
        return result["return_value"]


@contextmanager
def served_queue(directory: Path, *options: str) -> Iterator[Manager]:
    """Serve a queue in a directory, its environment open, and end it."""
    control, info = free_port(), free_port()
    with redis() as address, (directory / "manager.log").open("w") as log:
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("concertino")), "queueserver",
                "--directory", str(directory / "data"), "--redis", address,
                "--control-port", str(control), "--info-port", str(info), *options,
            ],
            cwd=directory, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        try:
            with Manager(control, directory) as served:
                served.info_address = f"tcp://127.0.0.1:{info}"
                served.until(
                    lambda: process.poll() is not None or served.ask("status", quietly=True),
                    "it answers",
                )
                assert process.poll() is None, (directory / "manager.log").read_text()
                served.open_environment()
                yield served
                served.ask("environment_close")
                served.wait_for("worker_environment_exists", False)
                served.ask("manager_stop")
            process.wait(ENDS_S)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(ENDS_S)
