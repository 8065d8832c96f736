"""A real ``python -i`` at a real terminal, with a scan in the background: Ctrl-C and the ways out leave no beam."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from concertino.storage import open_run

WAIT_S = 100.0
#: What the how-to says of a process that is left with a scan in the background, in seconds.
LEAVES_S = 30.0

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

    def __init__(self, *arguments: str) -> None:
        ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-i", "-c", PROGRAM, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=_have_terminal,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TERM": "dumb"},
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

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._ours)

    def _read(self, within_s: float) -> None:
        with suppress(OSError):  # The other end was closed.
            if select.select([self._ours], [], [], within_s)[0]:
                self.seen += os.read(self._ours, 65536).decode(errors="replace")


def _have_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def prompt(tmp_path: Path) -> Iterator[Prompt]:
    prompt = Prompt(str(tmp_path / "data"), str(tmp_path / "beam"))
    yield prompt
    prompt.close()


def lit(prompt: Prompt) -> None:
    """Wait for a prompt at which the scan takes projections."""
    prompt.until(lambda seen: ">>> " in seen)
    prompt.types(
        "import time\nwhile run.progress.stream != 'projections': time.sleep(0.01)\n\nprint('be', 'am', line.shutter.is_open)\n"
    )
    prompt.until(lambda seen: "be am True" in seen)


@pytest.mark.parametrize(
    "way",
    [
        "exit()\n",
        "\x04",
        "\x03exit()\n",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n",
    ],
)
def test_a_way_out_ends_the_scan_in_time(prompt: Prompt, way: str, tmp_path: Path) -> None:
    lit(prompt)
    for key in (way[0], way[1:]) if way.startswith("\x03") else (way,):
        prompt.types(key)
        if key == "\x03":
            prompt.until(lambda seen: "KeyboardInterrupt" in seen)
    took_s = prompt.ends()
    assert took_s < LEAVES_S
    assert (tmp_path / "beam").read_text() == "False"
    stop = open_run("scan_0001", tmp_path / "data").stop
    assert stop is not None
    assert stop["exit_status"] == "abort"


def test_ctrl_c_leaves_the_scan_alone_and_pauses_it_where_one_waits(
    prompt: Prompt, tmp_path: Path
) -> None:
    lit(prompt)
    prompt.types("\x03")
    prompt.until(lambda seen: "KeyboardInterrupt" in seen)
    prompt.types("print('sta', 'te', run.state)\n")
    prompt.until(lambda seen: "sta te running" in seen)
    prompt.types("print('wai', 'ting') or run.wait()\n")
    prompt.until(lambda seen: "wai ting" in seen)
    time.sleep(0.3)
    prompt.types("\x03")
    prompt.until(lambda seen: "Resume it with run.resume()" in seen)
    prompt.types("print('be', 'am now', line.shutter.is_open)\n")
    prompt.until(lambda seen: "be am now False" in seen)
    prompt.types("exit()\n")
    assert prompt.ends() < LEAVES_S
    stop = open_run("scan_0001", tmp_path / "data").stop
    assert stop is not None
    assert stop["exit_status"] == "abort"
