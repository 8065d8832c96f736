"""Programs in processes of their own, forked from one that has imported what they need.

To start Python, and to import what a session needs, takes a program three seconds of a processor; so it is done
once for all. In the tests' process `Programs` starts it, asks it for one program after the other, and hears how each
ended; in the other one `serve` forks them.
"""

import gc
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

WAIT_S = 240.0


class Programs:
    """Programs in processes of their own, started by one that has imported what they need."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(program)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        self._starting = threading.Lock()
        self._started: queue.Queue[int] = queue.Queue()
        self._pids: list[int] = []
        self._codes: dict[int, int] = {}
        self._told = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if "started" in said:
                    self._started.put(said["started"])
                else:
                    with self._told:
                        self._codes[said["pid"]] = said["code"]
                        self._told.notify_all()

    def start(self, case: dict[str, Any]) -> int:
        """Start a program; return the number of its process."""
        assert self._process.stdin is not None
        with self._starting:
            self._process.stdin.write(json.dumps(case) + "\n")
            self._process.stdin.flush()
            self._pids.append(self._started.get(timeout=WAIT_S))
            return self._pids[-1]

    def code(self, pid: int) -> int | None:
        """Return the exit code of a program that has ended, negative for a signal that killed it."""
        return self._codes.get(pid)

    def wait(self, pid: int, timeout_s: float = WAIT_S) -> int:
        """Return the exit code of a program, when it has ended."""
        with self._told:
            assert self._told.wait_for(lambda: pid in self._codes, timeout_s), "it did not end"
        return self._codes[pid]

    def close(self) -> None:
        """End them, also those that a test which failed has left."""
        assert self._process.stdin is not None
        for pid in self._pids:
            if pid not in self._codes:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(WAIT_S)


def serve() -> dict[str, Any]:
    """Fork for each line of JSON on standard input; return what it says in the child, a session leader.

    Lines of JSON on standard output tell the number of each child and, later, its exit code. The parent ends
    after the last line and the last child.
    """
    # A child that looked for garbage in all that was imported would copy it: half of what it costs.
    gc.collect()
    gc.freeze()
    waiting: set[int] = set()
    open_input = True
    while open_input or waiting:
        ready, _, _ = select.select([0] if open_input else [], [], [], 0.02)
        if ready:
            line = sys.stdin.readline()
            open_input = bool(line)
            if line:
                pid = os.fork()
                if pid == 0:
                    os.setsid()
                    return dict(json.loads(line))
                waiting.add(pid)
                print(json.dumps({"started": pid}), flush=True)
        for pid in list(waiting):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                waiting.remove(pid)
                code = os.waitstatus_to_exitcode(status)
                print(json.dumps({"pid": pid, "code": code}), flush=True)
    sys.exit(0)
