"""The growing file of one run's documents."""

import errno
import fcntl
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from concertino.storage.disk._disk import sync_path
from concertino.storage.disk._space import storage_error

from ._document_file import DOCUMENTS

_RESERVE = ".documents.reserve"
_RESERVE_BYTES = 256 * 1024


class Record:
    """Append lines durably to ``documents.jsonl`` in `directory`.

    A small file beside it keeps space in reserve until the run ends, so that a run which filled the disk
    can still say so in its stop document.

    Raises
    ------
    StorageError
        When the file exists or cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / DOCUMENTS
        self._reserve = directory / _RESERVE
        self._syncing: Future[None] | None = None
        self._size = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o666)
            with suppress(OSError):  # for is_recorded; some network file systems have no locks
                fcntl.flock(self._file, fcntl.LOCK_EX)
            with self._reserve.open("wb") as reserve:
                os.posix_fallocate(reserve.fileno(), 0, _RESERVE_BYTES)
        except OSError as error:
            raise storage_error(error, f"record a run in {self.path}") from error

    def append(self, line: bytes) -> None:
        """Hand `line` to the operating system, whole or not at all."""
        try:
            try:
                self._write(line)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._reserve.exists():
                    raise
                self._reserve.unlink()
                self._write(line)
        except OSError as error:
            raise storage_error(error, f"record a document in {self.path}") from error

    def sync_soon(self, executor: ThreadPoolExecutor) -> None:
        """Sync the file in the background; `check` raises what went wrong."""
        self._syncing = executor.submit(self._sync)

    def check(self) -> None:
        """Raise what an earlier sync in the background met."""
        if self._syncing is None or not self._syncing.done():
            return
        error, self._syncing = self._syncing.exception(), None
        if isinstance(error, OSError):
            raise storage_error(error, f"sync {self.path} to disk") from error

    def close(self, *, sync: bool = False) -> None:
        """Give up the reserve, sync if asked, and close the file."""
        if self._syncing is not None:
            self._syncing.exception()
        try:
            with suppress(FileNotFoundError):
                self._reserve.unlink()
            if sync:
                self._sync()
        except OSError as error:
            raise storage_error(error, f"sync {self.path} to disk") from error
        finally:
            os.close(self._file)

    def discard(self) -> None:
        """Close and delete the file of a run that never started."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _sync(self) -> None:
        os.fsync(self._file)
        sync_path(self.path.parent)

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, memoryview(line)[written:])
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += written


def is_recorded(path: Path) -> bool:
    """Tell whether a living process, on this machine, is recording to this file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
