"""Space on the disk that is sure before a library writes that cannot fail half-way."""

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

_KEEP_SIZE = 1


@cache
def _library() -> Any | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "fallocate"):
        return None
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return library


def reserve_space(file: int, position: int, size: int) -> None:
    """Make sure that bytes of a file can be written; its size stays as it is.

    Where the file system cannot reserve, it is asked whether there is as much space now.

    Parameters
    ----------
    file
        File descriptor, open for writing.
    position, size
        Where the bytes are, and how many.

    Raises
    ------
    OSError
        ENOSPC or EDQUOT when there is no space.
    """
    library = _library()
    if library is not None and library.fallocate(file, _KEEP_SIZE, position, size) == 0:
        return
    number = ctypes.get_errno() if library is not None else errno.EOPNOTSUPP
    if number not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINTR):
        raise OSError(number, os.strerror(number))
    space = os.fstatvfs(file)
    if space.f_bavail * space.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
