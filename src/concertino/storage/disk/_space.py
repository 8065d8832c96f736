"""Whether a directory can take what is about to be written, and what to say when it cannot."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from concertino._errors import StorageError

_HINTS = {
    errno.ENOSPC: "Free some space, or choose another data directory.",
    errno.EDQUOT: "The quota is used up: free some space, or choose another data directory.",
    errno.EACCES: "Change its permissions, or choose another data directory.",
    errno.EPERM: "Change its permissions, or choose another data directory.",
    errno.EROFS: "The file system is read-only: choose another data directory.",
    errno.EEXIST: "Files are never overwritten: choose another directory.",
    errno.EMFILE: "Too many files are open in this process: raise the limit (ulimit -n).",
}


def size_text(size: float) -> str:
    """Return `size` (bytes) as a short text with a decimal unit.

    Examples
    --------
    >>> size_text(1_500_000)
    '1.5 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def storage_error(error: OSError, asked: str) -> StorageError:
    """Return a `StorageError` which says what was asked, what the system answered and what to do.

    Parameters
    ----------
    error
        What the operating system raised.
    asked
        What was being done and to which file, such as ``"write frame 3 to /data/frame_000003.tif"``.
    """
    number = error.errno or 0
    reason = os.strerror(number) if number else str(error)
    hint = _HINTS.get(number, "See whether its disk is there and whole.")
    result = StorageError(f"Cannot {asked}: {reason}. {hint}")
    result.errno = error.errno
    return result


def _nearest_existing(path: Path) -> Path:
    for candidate in (path, *path.parents):
        if candidate.exists():
            return candidate
    return Path(path.anchor)


def free_space(directory: str | os.PathLike[str]) -> int:
    """Return the bytes that are free for this user where `directory` is or would be."""
    return shutil.disk_usage(_nearest_existing(Path(directory).absolute())).free


def check_directory(directory: str | os.PathLike[str]) -> Path:
    """Return `directory` as an absolute path after trying that it can be written to.

    The directory is made when it does not exist.

    Raises
    ------
    StorageError
        When it, or one of its parents, is a file, or it cannot be made or written to.
    """
    path = Path(directory).expanduser().absolute()
    existing = _nearest_existing(path)
    if not existing.is_dir():
        what = "it" if existing == path else str(existing)
        raise StorageError(
            f"Cannot use {path} as data directory: {what} is a file, not a directory; choose "
            "another data directory."
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise storage_error(error, f"write to the data directory {path}") from error
    return path


def check_space(directory: str | os.PathLike[str], bytes_needed: int) -> None:
    """Refuse when `bytes_needed` do not fit where `directory` is (or would be made).

    Raises
    ------
    StorageError
        Naming the directory, the bytes needed and the bytes free.
    """
    free = free_space(directory)
    if bytes_needed > free:
        error = StorageError(
            f"Not enough space in {Path(directory).absolute()}: {size_text(bytes_needed)} are "
            f"needed, {size_text(free)} are free. {_HINTS[errno.ENOSPC]}"
        )
        error.errno = errno.ENOSPC
        raise error
