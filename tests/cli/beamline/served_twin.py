"""The command, and the twin as control system, in processes of their own."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

from tests.ports import free_port

WAIT_S = 240.0


def concertino(
    *arguments: str, cwd: Path, code: int = 0, environment: dict[str, str] | None = None
) -> tuple[str, str]:
    """Run the command; return what it printed, and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "concertino.cli", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=WAIT_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environment or {})},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


class ServedTwin:
    """``concertino twin`` by EPICS and Tango.

    Attributes
    ----------
    environment : dict of str to str
        What a client's environment must have to find it.
    tango : int
        Port of its Tango server.
    """

    def __init__(self, folder: Path) -> None:
        ca, pva, self.tango = free_port(), free_port(), free_port()
        self.environment = {
            "EPICS_CA_ADDR_LIST": f"127.0.0.1:{ca}",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_REPEATER_PORT": str(free_port()),
            "EPICS_PVA_ADDR_LIST": f"127.0.0.1:{pva}",
            "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        }
        server = {
            "EPICS_CA_SERVER_PORT": str(ca),
            "EPICS_PVAS_SERVER_PORT": "0",
            "EPICS_PVAS_BROADCAST_PORT": str(pva),
        }
        self._log = folder / "twin.log"
        with self._log.open("w") as errors:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "concertino.cli", "twin", "--epics", "TWIN:", "--tango", str(self.tango),
                    "--shape", "32x64", "--no-noise",
                ],
                env={**os.environ, **self.environment, **server, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdout=subprocess.PIPE, stderr=errors, bufsize=0,
            )  # fmt: skip
        until_s = time.monotonic() + WAIT_S
        while self._line(until_s - time.monotonic()) != "ready":
            pass

    def _line(self, within_s: float) -> str:
        lines = self._process.stdout
        assert lines is not None
        told, _, _ = select.select([lines], [], [], max(0.0, within_s))
        line = lines.readline().decode() if told else ""
        assert line, f"nothing from the twin; {self._log.read_text()[-2000:]}"
        return line.strip()

    def put(self, record: str, value: float) -> None:
        """Put a value into a record by a client of caproto's, and wait until that is done."""
        text = f"from caproto.sync.client import write; write('TWIN:{record}', {value}, notify=True, timeout=60)"
        subprocess.run(
            [sys.executable, "-c", text], env={**os.environ, **self.environment}, check=True, timeout=WAIT_S
        )  # fmt: skip

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
