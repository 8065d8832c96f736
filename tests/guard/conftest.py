"""Sessions in processes of their own, beams that outlive them, and what a bystander sees of both."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

HERE = Path(__file__).parent
#: For whatever has to come, on a busy machine.
PATIENCE_S = 90.0


def eventually(what: Callable[[], Any], said: str) -> Any:
    """Wait until something is true, and return it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline_s, said
        time.sleep(0.02)
    return found


class Journal:
    """What happened to a beam, as the beam wrote it down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[tuple[float, bool, int]]:
        """Return the time, whether there was beam from then on, and who served the order."""
        if not self.path.exists():
            return []
        parts = [line.split() for line in self.path.read_text().splitlines()]
        return [(float(when), on == "1", int(pid)) for when, on, pid in parts]

    @property
    def is_on(self) -> bool:
        lines = self.lines()
        return bool(lines) and lines[-1][1]

    def wait(self, on: bool) -> float:
        """Wait until there is beam, or none any more; return since when."""

        def turned() -> float | None:
            lines = self.lines()
            return lines[-1][0] if lines and lines[-1][1] == on else None

        return float(eventually(turned, f"the beam has not been switched to {on}"))


class Subject:
    """A session's process."""

    def __init__(self, settings: dict[str, Any], environment: dict[str, str]) -> None:
        self.directory = Path(settings["directory"])
        errors = self.directory.parent / f"{self.directory.name}_stderr.txt"
        self._errors = errors
        with errors.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "subject.py"), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment,
                start_new_session=True,
            )
        self.pid = self.process.pid
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.guard: psutil.Process | None = None

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def said(self, word: str) -> str:
        """Wait until it says something, and return the rest of the line."""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise AssertionError(f"{word!r} was not said: {self.errors}") from None
            first, _, rest = line.strip().partition(" ")
            if first == word:
                return rest

    def meet_guard(self) -> psutil.Process:
        """Wait until it says who its guard is."""
        self.guard = psutil.Process(int(self.said("guard")))
        return self.guard

    @property
    def errors(self) -> str:
        """What it wrote on standard error."""
        return self._errors.read_text()

    def signal(self, number: int) -> float:
        """Send it a signal, and return when."""
        os.kill(self.pid, number)
        return time.time()

    def end(self) -> None:
        """End it, whatever it does."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(1)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError, ValueError):
                pipe.close()
        if self.guard is not None:
            with suppress(psutil.Error):
                self.guard.kill()


class Bench:
    """Makes beams and sessions, and clears them away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = dict(os.environ)
        self._subjects: list[Subject] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        self._port = 0
        self._last: tuple[str, ...] = ()

    def journal(self) -> Journal:
        return Journal(self.root / "journal.txt")

    def beam(self, kind: str) -> tuple[str, str]:
        """Make a beam of a kind; return that and where it is."""
        path = str(self.journal().path)
        if kind in ("file", "stuck"):
            return kind, path
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self._port = int(taken.getsockname()[1])
        if kind == "tango":
            self._serve("tango_beam.py", str(self._port), path)
            return kind, f"tango://127.0.0.1:{self._port}/test/shutter/1/open#dbase=no"
        self.environment.update(
            EPICS_CA_SERVER_PORT=str(self._port),
            EPICS_CA_ADDR_LIST=f"127.0.0.1:{self._port}",
            EPICS_CA_AUTO_ADDR_LIST="NO",
        )
        self._serve("epics_beam.py", path)
        return kind, "ca://TEST:SHUTTER"

    def _serve(self, *command: str) -> None:
        server = subprocess.Popen(
            [sys.executable, str(HERE / command[0]), *command[1:]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
            start_new_session=True,
        )
        self._servers.append(server)
        self._last = command
        if command[0].startswith("tango"):
            eventually(self._listens, "the server does not listen")

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False

    def start_pva(self) -> "subprocess.Popen[bytes]":
        """Serve the beam by PV Access, on this computer only."""
        ports = []
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as taken:
                taken.bind(("127.0.0.1", 0))
                ports.append(str(taken.getsockname()[1]))
        self.environment.update(
            EPICS_PVAS_INTF_ADDR_LIST="127.0.0.1", EPICS_PVAS_SERVER_PORT=ports[0],
            EPICS_PVAS_BROADCAST_PORT=ports[1], EPICS_PVAS_AUTO_BEACON_ADDR_LIST="NO",
            EPICS_PVA_ADDR_LIST="127.0.0.1", EPICS_PVA_AUTO_ADDR_LIST="NO",
            EPICS_PVA_BROADCAST_PORT=ports[1],
        )  # fmt: skip
        self._serve("pva_beam.py", str(self.journal().path))
        return self._servers[-1]

    def stop_servers(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
        self._servers.clear()

    def start_again(self) -> None:
        """Start the last server anew, at the same place."""
        self._serve(*self._last)

    def subject(self, beam: tuple[str, str], name: str = "data", **settings: Any) -> Subject:
        directory = str(self.root / name)
        made = Subject({"directory": directory, "beam": beam, **settings}, self.environment)
        self._subjects.append(made)
        return made

    def close(self) -> None:
        for subject in self._subjects:
            subject.end()
        self.stop_servers()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Return what makes beams and sessions."""
    made = Bench(tmp_path)
    yield made
    made.close()
