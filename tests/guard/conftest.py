"""Sessions in processes of their own, beams that outlive them, and what a bystander sees of both."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.forked_programs import Programs
from tests.ports import free_port

HERE = Path(__file__).parent
#: For whatever has to come, on a busy machine.
PATIENCE_S = 240.0


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

    def __init__(
        self, programs: Programs, settings: dict[str, Any], environment: dict[str, str]
    ) -> None:
        self.directory = Path(settings["directory"])
        place = self.directory.parent
        self._out = place / f"{self.directory.name}_stdout.txt"
        self._errors = place / f"{self.directory.name}_stderr.txt"
        for file in (self._out, self._errors):
            file.touch()
        self._met = place / f"{self.directory.name}_met.txt"
        self._heard = 0
        self._programs = programs
        given = {"files": [str(self._out), str(self._errors)], "met": str(self._met)}
        self.pid = programs.start({**settings, **given, "environment": environment})
        self.guard: psutil.Process | None = None

    def said(self, word: str) -> str:
        """Wait until it says something, and return the rest of the line."""

        def heard() -> str | None:
            # Of lines that it has finished, those that nobody asked for before.
            lines = self._out.read_text().split("\n")[:-1]
            for number, line in enumerate(lines[self._heard :], self._heard + 1):
                first, _, rest = line.partition(" ")
                if first == word:
                    self._heard = number
                    return rest or " "
            return None

        return str(eventually(heard, f"{word!r} was not said: {self.errors}")).strip()

    def ended(self) -> int:
        """Wait until it has ended, and return its exit code."""
        return self._programs.wait(self.pid)

    def meet_guard(self) -> psutil.Process:
        """Wait until it says who its guard is; one that has only a beam does not close before."""
        self.guard = psutil.Process(int(self.said("guard")))
        self._met.touch()
        return self.guard

    @property
    def errors(self) -> str:
        """What it wrote on standard error."""
        return self._errors.read_text()

    def signal(self, number: int) -> float:
        """Send it a signal, and return when."""
        sent_s = time.time()
        os.kill(self.pid, number)
        return sent_s

    def end(self) -> None:
        """End it, whatever it does."""
        if self._programs.code(self.pid) is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.ended()
        if self.guard is not None:
            with suppress(psutil.Error):
                self.guard.kill()


class Bench:
    """Makes beams and sessions, and clears them away."""

    def __init__(self, root: Path, programs: Programs) -> None:
        self.root = root
        self.environment = dict(os.environ)
        self._programs = programs
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
        self._port = free_port()
        if kind.startswith("tango"):
            self._serve("tango_beam.py", str(self._port), path)
            attribute = "/open" if kind == "tango" else ""
            return kind, f"tango://127.0.0.1:{self._port}/test/shutter/1{attribute}#dbase=no"
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
        ports = [str(free_port()), str(free_port())]
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
        given = {"directory": directory, "beam": beam, **settings}
        made = Subject(self._programs, given, self.environment)
        self._subjects.append(made)
        return made

    def close(self) -> None:
        for subject in self._subjects:
            subject.end()
        self.stop_servers()


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    """Return what starts sessions in processes of their own."""
    started = Programs(HERE / "subject.py")
    yield started
    started.close()


@pytest.fixture
def bench(tmp_path: Path, programs: Programs) -> Iterator[Bench]:
    """Return what makes beams and sessions."""
    made = Bench(tmp_path, programs)
    yield made
    made.close()
