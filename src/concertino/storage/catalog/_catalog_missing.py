"""What a catalogue has not, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NAMED = 5


@dataclass(frozen=True)
class MissingRun:
    """A run in the data directory that the catalogue has not.

    Attributes
    ----------
    directory
        The run's directory.
    reason
        Why it is missing.
    """

    directory: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.directory.name} ({self.reason})"


@dataclass(frozen=True)
class Refused:
    """Why a run could not be taken in."""

    size: int  # of the record, in bytes
    reason: str
    by_run: bool  # not by a disk or database that may do it later


def named(directories: Sequence[Path]) -> str:
    """Return the names of directories, the first few."""
    names = [directory.name for directory in directories[:_NAMED]]
    return ", ".join([*names, "…"] if len(directories) > _NAMED else names)
