"""Becomes ``concertino`` again and again: imports once what its servers need, which takes seconds, then forks for each.

A line of JSON on standard input, ``{"arguments": […], "directory": …, "out": …, "path": sys.path}``, starts one; its number comes as a line on
standard output. Nobody waits for it, so that its number stays its own.
"""

import importlib
import json
import os
import select
import sys
from contextlib import suppress

for name in (
    "tango", "concertino.cli", "concertino._tango_command", "concertino.servers", "concertino.callbacks.remote",
    "concertino.devices", "concertino.reconstruction", "concertino.storage", "numba", "scipy.ndimage", "pyarrow",
):  # fmt: skip
    with suppress(ImportError):
        importlib.import_module(name)


def become(line: str) -> None:
    """Be a process of one's own that runs the command."""
    case = json.loads(line)
    os.setsid()
    os.chdir(case["directory"])
    sys.path[:] = case["path"]
    out = os.open(case["out"], os.O_WRONLY | os.O_CREAT)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from concertino.cli import main

    main(case["arguments"])


def serve() -> str | None:
    """Fork for each line; return the line in the child, None in the parent after the last."""
    while True:
        select.select([0], [], [])
        line = sys.stdin.readline()
        if not line:
            return None
        pid = os.fork()
        if pid == 0:
            return line
        print(pid, flush=True)


if (given := serve()) is not None:
    become(given)
