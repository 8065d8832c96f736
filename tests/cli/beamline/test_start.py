"""``concertino start`` at a real terminal, from nothing to the first slice: three commands, and no Python file."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from concertino.beamline import template
from concertino.storage import open_run

from .served_twin import concertino

WAIT_S = 200.0
#: What a terminal is told besides text: colours, where the cursor goes, titles.
CONTROLS = re.compile(r"\x1b\][^\x07]*\x07|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>()][A-B0-2]?|\r")
SMALL = (
    'concertino init && sed -i \'s/256, 256/32, 48/; s/"100 Hz"/"200 Hz"/; s/"5 ms"/"2 ms"/\' beamline.toml && '
    "concertino check-config && concertino start --quiet; echo CODE $?\n"
)


class Shell:
    """A shell at a pseudo-terminal, as somebody sees it who types."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = os.openpty()
        binaries = str(Path(sys.executable).parent)
        self._process = subprocess.Popen(
            ["/bin/sh"], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={
                **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TERM": "xterm", "PS1": "$ ",
                "PATH": f"{binaries}:{os.environ['PATH']}", "IPYTHONDIR": str(folder / "ipython"), "COLUMNS": "200",
            },
        )  # fmt: skip
        os.close(theirs)
        self._ours, self.seen = ours, ""

    def types(self, text: str) -> None:
        """Type something; what is seen from now on is kept."""
        self.seen = ""
        os.write(self._ours, text.encode())

    def until(self, pattern: str) -> re.Match[str]:
        """Read what is shown, until that is there."""
        until_s = time.monotonic() + WAIT_S
        while True:
            shown = CONTROLS.sub("", self.seen)
            if found := re.search(pattern, shown, re.MULTILINE):
                return found
            assert time.monotonic() < until_s, f"{pattern} has not come; seen: {shown[-3000:]}"
            if select.select([self._ours], [], [], 0.1)[0]:
                with suppress(OSError):  # The other end was closed.
                    self.seen += os.read(self._ours, 65536).decode(errors="replace")
            if "\x1b[6n" in self.seen:  # A terminal says where its cursor is when it is asked.
                self.seen = self.seen.replace("\x1b[6n", "")
                os.write(self._ours, b"\x1b[1;1R")

    def close(self) -> None:
        """End it."""
        os.close(self._ours)
        os.killpg(self._process.pid, signal.SIGKILL)  # what it has started, too
        self._process.wait(WAIT_S)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_three_commands_to_the_first_slice(shell: Shell, tmp_path: Path) -> None:
    shell.types(SMALL)
    shell.until(r"^In \[1\]: ")
    shell.types("RE(continuous_tomography(num_projections=60, num_darks=3, num_flats=3))\r")
    shell.until(r"^In \[2\]: ")
    shell.types("slices = beamline.reconstruction.wait(60).volume.shape; print('SLICE', slices)\r")
    assert shell.until(r"^SLICE (\(.*\))$")[1] == "(1, 48, 48)"

    # In one line: what is awaited in the RunEngine's loop, and a plan, which waits for that loop.
    shell.until(r"^In \[3\]: ")
    shell.types(
        "print('AT', (await rotation.locate())['readback'], RE(radiography(num_projections=2)))\r"
    )
    shell.until(r"^AT [\d.e-]+ \('[0-9a-f-]{36}',\)$")
    shell.until(r"^In \[4\]: ")
    shell.types(
        "run = start(radiography(num_projections=3)); print('ENDED', (await run).exit_status)\r"
    )
    shell.until(r"^ENDED success$")
    shell.until(r"^In \[5\]: ")
    shell.types("async with q: pass\r\r")
    shell.until(r"'async for' and 'async with' are for functions here\. Write an async function")
    shell.types("exit\r")
    assert shell.until(r"^CODE (\d+)$")[1] == "0"

    run = open_run(1, tmp_path / "data")
    assert {name: len(run.frames(name)) for name in run.streams if run[name].frame_keys} == {
        "darks": 3, "flats": 3, "projections": 60,
    }  # fmt: skip
    assert run.start["beamline"] == "twin"


def test_a_line_that_fails_is_shown_and_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "beamline.toml").write_text(template("twin"))
    done = concertino(
        "start", "--quiet", "-c", "RE(radiography(num_flats=0))", cwd=tmp_path, code=1
    )
    assert "ParameterError: num_flats: 0 is too small" in done[0]
    assert done[1].endswith(
        "concertino: The command failed, as is shown above. Mend it, and give it again.\n"
    )
