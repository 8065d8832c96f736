"""How much memory this computer has to give."""

from pathlib import Path

_TABLE = Path("/proc/meminfo")


def free_memory() -> int | None:
    """Return the memory that can be had without swapping, in bytes, or None if unknown."""
    try:
        lines = dict(line.split(":", 1) for line in _TABLE.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
