"""What the computer's processors have to spare."""

from __future__ import annotations


def processor_times() -> tuple[float, float] | None:
    """Return the time that all processors idled and the time there was; None where unknown."""
    try:
        with open("/proc/stat") as stat:
            times = [float(value) for value in stat.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    return times[3] + times[4], sum(times)
