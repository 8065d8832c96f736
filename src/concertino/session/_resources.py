"""What this computer has for a scan, told to whoever rehearses one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from concertino._memory import free_memory
from concertino.storage import WriteRate, find_runs, free_space, measured_write_rate

_LOOKED_AT = 20


class ComputerResources:
    """What this computer has for a scan: memory, and the disk of a data directory.

    Parameters
    ----------
    directory : str or Path, optional
        The data directory. Its speed is measured with a short write the first time it is asked for, and then
        kept in it. Without one only the memory is known.

    Examples
    --------
    >>> from concertino.session import ComputerResources
    >>> ComputerResources().disk_free_bytes() is None
    True
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self._directory = None if directory is None else Path(directory)

    @property
    def place(self) -> str:
        """The data directory as an absolute path; empty when there is none."""
        return "" if self._directory is None else str(self._directory.absolute())

    def disk_free_bytes(self) -> int | None:
        """Return the space in the data directory, in bytes; None without one."""
        return None if self._directory is None else free_space(self._directory)

    def memory_free_bytes(self) -> int | None:
        """Return the memory that can be had without swapping, in bytes; None if unknown."""
        return free_memory()

    def write_rate(self, shape: tuple[int, int]) -> WriteRate | None:
        """Return how fast the data directory takes frames of a shape (height, width); None without one.

        Raises
        ------
        StorageError
            If the directory cannot be written to.
        """
        return None if self._directory is None else measured_write_rate(self._directory, shape)

    def past_runs(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield the start and stop documents of the directory's runs that went to their end, the newest first."""
        if self._directory is None or not self._directory.is_dir():
            return
        for run in find_runs(self._directory)[:_LOOKED_AT]:
            if run.exit_status == "success" and run.stop is not None:
                yield run.start, run.stop
