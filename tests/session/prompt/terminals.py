"""A program at a pseudo-terminal, with a scan in the background."""

import fcntl
import os
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress

WAIT_S = 100.0

PROGRAM = """
import atexit, sys
from pathlib import Path
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.session import open_session
line = SimulatedBeamline(shape=(16, 24), exposure=0.0, frame_rate=100.0)
session = open_session(sys.argv[1], progress=False, catalog=False)
session.subscribe(ImageWriter())
atexit.register(lambda: Path(sys.argv[2]).write_text(str(line.shutter.is_open)))
run = session.start(continuous_tomography(
    line.camera, line.rotation, line.beam, line.sample_stage, radio_position=0, flat_position=1,
    num_darks=2, num_flats=2, num_projections=6000, angular_range="90 deg"))
"""


class Prompt:
    """A program at a pseudo-terminal, as somebody sees it who types."""

    def __init__(
        self, *arguments: str, command: tuple[str, ...] = ("-i", "-c", PROGRAM), **environment: str
    ) -> None:
        ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=_have_terminal,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TERM": "dumb", **environment},
        )  # fmt: skip
        os.close(theirs)
        self._ours, self.seen = ours, ""

    def types(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def until(self, holds: Callable[[str], bool], within_s: float = WAIT_S) -> None:
        """Read what it writes, until that holds."""
        until_s = time.monotonic() + within_s
        while not holds(self.seen):
            assert time.monotonic() < until_s, f"it has not come to pass; seen: {self.seen[-2000:]}"
            self._read(0.05)

    def ends(self) -> float:
        """Return how long it took to end, in seconds."""
        begun_s = time.monotonic()
        while self.process.poll() is None:
            assert time.monotonic() - begun_s < WAIT_S, f"it did not end: {self.seen[-2000:]}"
            self._read(0.05)
        return time.monotonic() - begun_s

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as a shell needs it."""
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._ours)

    def _read(self, within_s: float) -> None:
        with suppress(OSError):  # The other end was closed.
            if select.select([self._ours], [], [], within_s)[0]:
                text = os.read(self._ours, 65536).decode(errors="replace")
                self.seen += text
                for _ in range(
                    text.count("\x1b[6n")
                ):  # Where the cursor is, as any terminal is asked.
                    self.types("\x1b[1;1R")


def _have_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
