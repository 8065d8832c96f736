"""Threads that make way for others."""

import os
import sys
import threading
from contextlib import suppress


def make_way(steps: int) -> None:
    """Have the calling thread get less of the processor than others when they want it too; it cannot be undone.

    The threads that it begins inherit that. Each step takes about a fifth of its share. Where the system knows
    no priorities of threads, nothing happens.

    Parameters
    ----------
    steps : int
        Added to its niceness, which ends at 19.
    """
    if sys.platform == "linux":  # elsewhere the niceness is that of the whole process
        thread = threading.get_native_id()
        with suppress(OSError):
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(19, now + steps))
