"""A beam that is a file: each switching is a line with the time, whoever did it."""

import os
import time
from pathlib import Path
from typing import Any


def write(path: str | Path, value: object) -> None:
    """Switch, and write down when."""
    with Path(path).open("a") as file:
        file.write(f"{time.time()!r} {int(bool(value))} {os.getpid()}\n")


def switch_off(path: str) -> str:
    """What the guard calls."""
    write(path, False)
    return "closed"


def fail(path: str) -> None:
    """A guard's function that can do nothing."""
    raise OSError(f"{path} is stuck")


class FileBeam:
    """Tells how another process switches it off."""

    parent = None
    is_beam = True

    def __init__(self, path: Path, function: str = "switch_off") -> None:
        self.name = "beam"
        self.path = path
        self.function = function

    def guard_switch(self) -> dict[str, Any]:
        return {
            "function": f"file_beam:{self.function}", "arguments": {"path": str(self.path)},
        }  # fmt: skip

    def set(self, value: bool) -> Any:
        # Not above: it takes the guard's process seconds, which has no use for it.
        from ophyd_async.core import AsyncStatus

        async def turn() -> None:
            write(self.path, value)

        return AsyncStatus(turn())
