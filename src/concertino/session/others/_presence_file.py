"""A file in the data directory that says that a session is there: true as long as its process holds a lock on it."""

import fcntl
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakSet

FOLDER = ".sessions"
#: For so long a file of another computer counts where locks are not seen from one computer to the other, in seconds.
LEASE_S = 60.0
_RENEW_S = 15.0


@dataclass(frozen=True)
class OtherSession:
    """A session that has the same data directory open.

    Attributes
    ----------
    user, host, program : str
        Who opened it, on which computer, in which program.
    pid : int
        Number of its process.
    since_s : float
        When, in seconds since the epoch.
    devices : tuple of str
        Names of its devices.
    moves : mapping of str to str
        Names of those that it can move, and their addresses; "" for one that tells none.
    certain : bool
        False where the file system has no locks, and its file alone says that it is there.
    key : str
        Tells it from all others.
    """

    user: str
    host: str
    program: str
    pid: int
    since_s: float
    devices: tuple[str, ...] = ()
    moves: Mapping[str, str] = field(default_factory=dict)
    certain: bool = True
    key: str = ""

    def row(self) -> tuple[str, ...]:
        """Return what a table shows of it."""
        since = datetime.fromtimestamp(self.since_s).strftime("%Y-%m-%d %H:%M")
        sure = "yes" if self.certain else "perhaps"
        return (
            self.user, self.host, f"{self.program} ({self.pid})", since, sure, ", ".join(self.devices),
        )  # fmt: skip

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_s).strftime("%Y-%m-%d %H:%M")
        return f"{self.user} on {self.host} ({self.program}, process {self.pid}), since {since}"


class PresenceFile:
    """Says in a data directory that a session is there, and sees who else is.

    The process holds a lock (``flock``) on the file, which ends with the process however that ends. A file of this
    computer without one is a leftover, and is removed. Where locks are not seen from one computer to the other (some
    network file systems), a file counts for `LEASE_S` after its process has renewed it, by the clock of the file server.

    Parameters
    ----------
    directory : Path
        The data directory.
    host : str
        Name of this computer.
    """

    def __init__(self, directory: Path, host: str) -> None:
        self._folder = directory / FOLDER
        self._host = host
        self.path = (
            self._folder
            / f"{re.sub(r'[^A-Za-z0-9-]', '_', host)}-{os.getpid()}-{uuid4().hex[:8]}.json"
        )
        self._descriptor = -1
        self._about = b""
        self._renewed_s = 0.0
        _FILES.add(self)

    def write(self, about: Mapping[str, Any]) -> None:
        """Say something of the session.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self._about = json.dumps(about).encode()
        self._make_folder()
        new = self.path.with_name(f".{self.path.name}")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            # Before it has its name: nobody takes it for a leftover.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, self._about)
            os.rename(new, self.path)
        except BaseException:
            os.close(descriptor)
            raise
        self.forget()
        self._descriptor = descriptor
        self._renewed_s = time.monotonic()

    def renew(self) -> None:
        """Have it count on, and be there again if somebody has tidied up."""
        if time.monotonic() - self._renewed_s < _RENEW_S and self.path.exists():
            return
        try:
            os.utime(self.path)
            self._renewed_s = time.monotonic()
        except FileNotFoundError:
            self.write(json.loads(self._about))

    def others(self) -> list[OtherSession]:
        """Return the other sessions that are there."""
        found = []
        with suppress(OSError):
            for path in sorted(self._folder.glob("[!.]*.json")):
                if path != self.path and (other := self._read(path)) is not None:
                    found.append(other)
        return found

    def forget(self) -> None:
        """Let go of the lock; in a process that was forked only of its part in it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Be there no more; the folder goes with the last session."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.forget()
        with suppress(OSError):
            self._folder.rmdir()

    def _make_folder(self) -> None:
        with suppress(FileExistsError):
            self._folder.mkdir()
            with suppress(
                OSError
            ):  # Who may write into the data directory may say that he is there.
                self._folder.chmod(self._folder.parent.stat().st_mode & 0o7777)

    def _read(self, path: Path) -> OtherSession | None:
        # It may go at this moment, be not for us, or be of another program.
        with (
            suppress(OSError, ValueError, KeyError, TypeError, AttributeError),
            path.open("rb") as file,
        ):
            held = _held(file.fileno())
            other = _told(json.loads(file.read()), held, path.name)
            seen = os.fstat(file.fileno())
            if held or self._may_be_there(other, held, seen.st_mtime):
                return other
            if other.host == self._host and os.stat(path).st_ino == seen.st_ino:
                path.unlink(missing_ok=True)
        return None

    def _may_be_there(self, other: OtherSession, held: bool | None, seen_s: float) -> bool:
        """Whether a session is there on whose file no lock is seen."""
        if other.host == self._host:
            return held is None and _lives(other.pid)
        # By the file server's clock, which has dated both files.
        now_s = os.stat(self.path).st_mtime + time.monotonic() - self._renewed_s
        return now_s - seen_s < LEASE_S


def _told(about: Mapping[str, Any], held: bool | None, key: str) -> OtherSession:
    return OtherSession(
        user=str(about["user"]), host=str(about["host"]), program=str(about["program"]),
        pid=int(about["pid"]), since_s=float(about["since_s"]),
        devices=tuple(map(str, about["devices"])),
        moves={str(name): str(where) for name, where in about["moves"].items()},
        certain=bool(held), key=key,
    )  # fmt: skip


def _held(descriptor: int) -> bool | None:
    """Return whether somebody holds a lock on a file; None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


_FILES: WeakSet[PresenceFile] = WeakSet()


def _forget_all() -> None:
    for file in list(_FILES):
        file.forget()


# A child that goes on would keep the lock of a parent that has died.
os.register_at_fork(after_in_child=_forget_all)
