"""The directory of each run, and scan ids that survive restarts."""

import fcntl
import os
import re
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concertino._errors import ParameterError, StorageError
from concertino.storage.disk._places import check_name, check_place, place_in
from concertino.storage.disk._space import check_directory, check_space, storage_error

_COUNTER = ".scan_id"


@dataclass(frozen=True)
class RunDirectory:
    """One run's directory, made and empty.

    Attributes
    ----------
    path
        Absolute path.
    scan_id
        Number of the run, unique in its data directory.
    """

    path: Path
    scan_id: int

    @property
    def name(self) -> str:
        """Name of the scan, such as ``"scan_0001"``."""
        return self.path.name

    def metadata(self) -> dict[str, Any]:
        """Return what the run's start document says about it."""
        return {"scan_id": self.scan_id, "scan_name": self.name, "run_directory": str(self.path)}


class RunDirectories:
    """Make a new directory for each run: ``scan_0001``, ``scan_0002``, ...

    A directory that exists is never used again, and a number is never given twice, not even after its
    directory was deleted, after a restart, or when several processes share the data directory: the last
    number is kept in the file ``.scan_id``, under a lock.

    Parameters
    ----------
    root
        The data directory; made when it does not exist.
    pattern
        Name of a run's directory with one field for the scan id, as for `str.format`.
    separate_scans
        When false, `root` itself is the run's directory: for one run only, a second one is refused.

    Raises
    ------
    StorageError
        When `root` is a file or cannot be written to.
    ParameterError
        When `pattern` has not exactly one field, or makes names that no directory should have: see
        `check_name`.

    Examples
    --------
    >>> import tempfile
    >>> directories = RunDirectories(tempfile.mkdtemp())
    >>> directories.new().name, directories.new().name
    ('scan_0001', 'scan_0002')
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        pattern: str = "scan_{:04d}",
        *,
        separate_scans: bool = True,
    ) -> None:
        self._expression = name_expression(pattern)
        self.pattern = pattern
        self.separate_scans = separate_scans
        self.root = check_directory(root)

    def new(self, *, bytes_needed: int = 0) -> RunDirectory:
        """Make the next run's directory.

        Parameters
        ----------
        bytes_needed
            Size of the frames announced, in bytes; nothing is made when they do not fit.

        Raises
        ------
        StorageError
            When there is too little space, the directory cannot be made, or it has a run already
            (with ``separate_scans=False``).
        """
        check_space(self.root, bytes_needed)
        try:
            with self._counter() as counter:
                scan_id = max(_number(counter), self._highest_existing()) + 1
                path, scan_id = self._make(scan_id)
                os.pwrite(counter, f"{scan_id}\n".encode(), 0)
                os.fsync(counter)
        except StorageError:
            raise
        except OSError as error:
            raise storage_error(error, f"make a run directory in {self.root}") from error
        return RunDirectory(path, scan_id)

    def __call__(self, start: Mapping[str, Any]) -> Path:
        """Return the directory that a start document names, or a new one when it names none.

        Raises
        ------
        StorageError
            When it names one outside the data directory.
        """
        named = start.get("run_directory")
        if not named:
            return self.new().path
        hint = "Leave run_directory out of the metadata: each run gets a directory of its own."
        return check_place(str(named), [self.root], hint)

    def _make(self, scan_id: int) -> tuple[Path, int]:
        if not self.separate_scans:
            if (self.root / "documents.jsonl").exists():
                raise StorageError(
                    f"{self.root} has a run already and separate_scans is off; choose another data "
                    "directory or switch separate_scans on."
                )
            return self.root, scan_id
        while True:
            path = place_in(self.root, self.pattern.format(scan_id), what="scan name")
            try:
                path.mkdir()
            except FileExistsError:  # a file of that name, or a pattern that cuts digits off
                scan_id += 1
            else:
                return path, scan_id

    def _highest_existing(self) -> int:
        with os.scandir(self.root) as entries:
            matches = (self._expression.fullmatch(entry.name) for entry in entries)
            return max((int(match[1]) for match in matches if match), default=0)

    @contextmanager
    def _counter(self) -> Iterator[int]:
        descriptor = os.open(self.root / _COUNTER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with suppress(OSError):  # some network file systems have no locks; mkdir is exclusive
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _number(counter: int) -> int:
    text = os.pread(counter, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def name_expression(pattern: str) -> re.Pattern[str]:
    """Return the expression that names made from a pattern match, the scan id as its group.

    Parameters
    ----------
    pattern
        A name with one field for the scan id, such as ``"scan_{:04d}"``.

    Returns
    -------
    re.Pattern
        Matches the names of that pattern's run directories.

    Raises
    ------
    ParameterError
        When it has not exactly one field, or makes names that no directory should have.

    Examples
    --------
    >>> name_expression("scan_{:04d}").fullmatch("scan_0012").group(1)
    '12'
    """
    try:
        pieces = list(string.Formatter().parse(pattern))
        check_name(pattern.format(1), "scan name")
    except (ValueError, IndexError, KeyError, AttributeError, StorageError) as error:
        raise ParameterError(
            f"pattern: {pattern!r} does not make a name of a scan id ({error}); use one field, such "
            "as 'scan_{:04d}'."
        ) from error
    if sum(field is not None for _, field, _, _ in pieces) != 1 or "/" in pattern:
        raise ParameterError(
            f"pattern: {pattern!r} was given; give one with exactly one field for the scan id and "
            "no path separator, such as 'scan_{:04d}'."
        )
    expression = "".join(
        re.escape(text) + ("" if field is None else r"0*(\d+)") for text, field, _, _ in pieces
    )
    return re.compile(expression)
