"""A signal at IPython's prompt and in a kernel, which both take a cell's SystemExit for a mistake and go on."""

import os
import signal
import time
from pathlib import Path

from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from concertino.storage import open_run
from tests.session.prompt.terminals import PROGRAM, WAIT_S, Prompt

LIT = """
import time
while run.progress.stream != 'projections': time.sleep(0.01)
print('be', 'am', line.shutter.is_open)
"""


def program(directory: Path) -> str:
    # IPython forgets its user's names, and what it has set of others, before Python calls what is to be done at exit.
    kept = PROGRAM.replace("lambda: Path(", "lambda Path=Path, line=line: Path(")
    for number, name in enumerate(("data", "beam"), 1):
        kept = kept.replace(f"sys.argv[{number}]", repr(str(directory / name)))
    return kept + LIT


def check_end(directory: Path) -> None:
    stop = open_run("scan_0001", directory / "data").stop
    assert stop is not None
    assert (stop["exit_status"], stop["reason"]) == ("abort", "ended by SIGTERM")
    assert (directory / "beam").read_text() == "False"


def test_sigterm_in_a_cell_ends_ipython_and_leaves_the_terminal_in_order(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(program(tmp_path))
    prompt = Prompt(
        command=("-m", "IPython", "-i", str(script)), TERM="xterm", IPYTHONDIR=str(tmp_path / "ipython")
    )  # fmt: skip
    try:
        prompt.until(lambda seen: "be am True" in seen and "In [" in seen)
        prompt.types("print('wai', 'ting') or run.wait()\r")
        prompt.until(lambda seen: "wai ting" in seen)
        os.kill(prompt.process.pid, signal.SIGTERM)
        took_s = prompt.ends()
        print("TOOK", took_s)
        assert prompt.process.returncode == 128 + signal.SIGTERM
        assert "ended by SIGTERM" in prompt.seen
        assert prompt.echoes, prompt.seen[
            -3000:
        ]  # The end by force, after 15 s, leaves it as IPython's prompt has it.
    finally:
        prompt.close()
    check_end(tmp_path)


def test_sigterm_in_a_cell_ends_a_kernel(tmp_path: Path) -> None:
    manager = KernelManager(transport="ipc", ip=str(tmp_path / "kernel"))
    manager.start_kernel(env=dict(os.environ))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(WAIT_S)
        said: list[str] = []
        reply = client.execute_interactive(
            program(tmp_path), timeout=WAIT_S, output_hook=lambda message: said.append(str(message["content"]))
        )  # fmt: skip
        assert reply["content"]["status"] == "ok", said
        assert any("be am True" in each for each in said)
        client.execute("run.wait()")
        time.sleep(0.5)
        provisioner = manager.provisioner
        assert isinstance(provisioner, LocalProvisioner)
        process = provisioner.process
        assert process is not None
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(WAIT_S) == 128 + signal.SIGTERM
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    check_end(tmp_path)
