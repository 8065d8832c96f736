"""A real ``python -i`` at a real terminal, with a scan in the background: Ctrl-C and the ways out leave no beam."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from concertino.storage import open_run
from tests.session.prompt.terminals import Prompt

#: What the how-to says of a process that is left with a scan in the background, in seconds.
LEAVES_S = 30.0


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
    # A key pressed before Python reads the next line is told of only with that line.
    prompt.until(lambda seen: seen.endswith(">>> "))
    time.sleep(0.3)


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
