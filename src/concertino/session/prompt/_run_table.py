"""The last runs of a data directory, as a table."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from concertino import ParameterError, StorageError
from concertino.storage import Run, find_runs
from concertino.terminal._shown import shown_in_line
from concertino.terminal._table import Table


@dataclass(frozen=True)
class RunLine:
    """What a table shows of a run.

    Attributes
    ----------
    uid : str
        Whole; the table shows its beginning, by which ``open_run`` finds it.
    scan_id : int or None
        Number of the scan, when it has one.
    plan, sample : str
        As its start document says.
    started_s : float
        When, in seconds since the epoch.
    exit_status, reason : str
        How it ended, and why if not as planned; ``running``, ``incomplete`` and ``damaged`` as `Run` says them.
    frames : int or None
        How many are documented, of all cameras; None when its documents do not tell.
    """

    uid: str
    scan_id: int | None
    plan: str
    started_s: float
    exit_status: str
    frames: int | None
    sample: str = ""
    reason: str = ""

    def row(self) -> tuple[str, ...]:
        """Return its cells."""
        return (
            self.uid[:8], "" if self.scan_id is None else str(self.scan_id), shown_in_line(self.plan),
            datetime.fromtimestamp(self.started_s).strftime("%Y-%m-%d %H:%M:%S"), self.exit_status,
            "?" if self.frames is None else str(self.frames), shown_in_line(self.sample),
        )  # fmt: skip


class RunTable(Table[RunLine]):
    """Runs, the newest first, shown as a table."""

    __slots__ = ()

    HEADINGS = ("uid", "scan", "plan", "started", "status", "frames", "sample")
    EMPTY = "No run has been taken in this data directory."


def last_runs(directory: Path, number: int) -> RunTable:
    """Return the last experiments of a data directory; runs that were computed from others do not count."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ParameterError(f"number: {number!r} was given; give how many runs, 1 or more.")
    found = [run for run in find_runs(directory) if not run.is_processing]
    return RunTable(map(_line, found[:number]))


def _line(run: Run) -> RunLine:
    return RunLine(
        uid=run.uid, scan_id=run.scan_id, plan=str(run.start.get("plan_name", "")),
        started_s=float(run.start["time"]), exit_status=run.exit_status, frames=_frames(run),
        sample=str(run.start.get("sample", "")), reason=run.reason,
    )  # fmt: skip


def _frames(run: Run) -> int | None:
    try:
        return sum(
            len(run.frames(name, key)) for name in run.streams for key in run[name].frame_keys
        )
    except StorageError:
        return None
