"""What an ending process still says, also where nobody can hear it any more."""

import sys
from contextlib import suppress
from typing import Any, TextIO


def say(text: str) -> None:
    """Print to standard error, also from a signal handler, and also when that is gone."""
    with suppress(OSError, ValueError, RuntimeError):
        print(text, file=sys.stderr, flush=True)


class _Unbreakable:
    """Standard output that may be gone: a closed terminal, a pipe whose reader has ended."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_the_terminal() -> None:
    """Let what a RunEngine and plans print while they clean up go nowhere once the terminal is gone."""
    sys.stdout, sys.stderr = _unbreakable(sys.stdout), _unbreakable(sys.stderr)


def _unbreakable(stream: Any) -> Any:
    return stream if stream is None or isinstance(stream, _Unbreakable) else _Unbreakable(stream)
