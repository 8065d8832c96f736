"""What a guard process did, as files: for the next session, and in the directory of the run that was cut off."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

_FOLDER = ".guard"
_IN_RUN = "beam_guard.json"
_TOLD = ".told"


@dataclass(frozen=True)
class SwitchedBeam:
    """What became of one beam.

    Attributes
    ----------
    name : str
        Name of the beam.
    how : str
        What was switched.
    off : bool
        Whether it was done.
    after_s : float
        Seconds from when the end of the session was noticed until it was done, or given up.
    said : str
        What was found afterwards, or what went wrong.
    """

    name: str
    how: str
    off: bool
    after_s: float
    said: str = ""


@dataclass(frozen=True)
class GuardReport:
    """What the guard did when its session died or fell silent.

    Attributes
    ----------
    session : str
        Who the session was.
    why : str
        What happened to it: a part of a sentence, such as ``"died"``.
    time : float
        When that was noticed, in seconds since the epoch.
    runs : tuple of str
        Directories of the runs that were being recorded.
    beams : tuple of SwitchedBeam
        What became of each beam.
    done : bool
        False while beams are still being switched.
    directory : str
        The data directory of the session, as that said.
    uid : str
        Tells reports apart.
    """

    session: str
    why: str
    time: float
    runs: tuple[str, ...] = ()
    beams: tuple[SwitchedBeam, ...] = field(default=())
    done: bool = True
    directory: str = ""
    uid: str = ""

    @property
    def outcome(self) -> str:
        """What became of the beams, as a part of a sentence."""
        return "; ".join(map(_outcome, self.beams)) or "there was no beam to switch off"

    def sentence(self) -> str:
        """Return all of it, for people."""
        runs = ", ".join(Path(run).name for run in self.runs)
        during = f" during {runs}" if runs else ""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.time))
        still = "" if self.done else " is still at work"
        return f"The session of {self.session} {self.why} at {when}{during}. Its guard{still}: {self.outcome}."

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the report that was written down."""
        beams = tuple(SwitchedBeam(**beam) for beam in data["beams"])
        return replace(cls(**{**data, "beams": beams}), runs=tuple(data["runs"]))


def _outcome(beam: SwitchedBeam) -> str:
    said = f" ({beam.said})" if beam.said else ""
    if beam.off:
        return f"{beam.name} was switched off by {beam.how}, {beam.after_s:.1f} s later{said}"
    return (
        f"{beam.name} could not be switched off by {beam.how} within {beam.after_s:.0f} s{said}: "
        "THE BEAM MAY BE ON"
    )


def write_report(report: GuardReport, directory: Path, *, in_runs: bool) -> None:
    """Write a report into the data directory and into the runs' directories; what fails is left out.

    Parameters
    ----------
    report : GuardReport
        What happened; written again with the same uid, it replaces the first.
    directory : Path
        The data directory.
    in_runs : bool
        Whether the runs' directories are on this computer, and said by somebody who is believed.
    """
    for run in report.runs if in_runs else ():
        _write(report, Path(run) / _IN_RUN)
    with suppress(OSError):
        (directory / _FOLDER).mkdir(exist_ok=True)
    _write(report, file_of_report(report, directory))


def file_of_report(report: GuardReport, directory: Path) -> Path:
    """Return where a report is kept until somebody has been told."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(report.time))
    return directory / _FOLDER / f"{stamp}-{report.uid}.json"


def add_to_runs(report: GuardReport, directory: Path) -> None:
    """Write what a guard elsewhere did into the runs that it did it to, beside what one here wrote there.

    Parameters
    ----------
    report : GuardReport
        As it came over the network: runs outside of the data directory are left alone.
    directory : Path
        The data directory.
    """
    for run in map(Path, report.runs):
        with suppress(OSError, ValueError):
            if not (run.is_dir() and run.resolve().is_relative_to(directory.resolve())):
                continue
            known = report_of_run(run)
            if known is None or known.uid == report.uid:
                _write(report, run / _IN_RUN)
            else:
                more = tuple(beam for beam in report.beams if beam not in known.beams)
                _write(replace(known, beams=known.beams + more), run / _IN_RUN)


def _write(report: GuardReport, place: Path) -> None:
    with suppress(OSError):
        fresh = place.with_name(f"{place.name}.{os.getpid()}")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(json.dumps(report.to_json(), indent=1))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)


def report_of_run(run_directory: Path) -> GuardReport | None:
    """Return what the guard did to the run in this directory; None when it did nothing."""
    return _read(run_directory / _IN_RUN)


def untold_reports(directory: Path) -> list[GuardReport]:
    """Return what guards did since this was asked last in a data directory, the oldest first.

    A report that is not finished is returned now, and once more when it is.
    """
    found = []
    for path in sorted((directory / _FOLDER).glob("*.json")):
        report = _read(path)
        if report is not None:
            found.append(report)
        if report is None or report.done:
            mark_told(path)
    return found


def mark_told(path: Path) -> None:
    """Have a report not be told again."""
    with suppress(OSError):
        path.replace(path.with_name(path.name + _TOLD))


def kept_reports(directory: Path) -> list[GuardReport]:
    """Return the reports in a directory that nobody has been told, and leave them so."""
    found = (_read(path) for path in sorted((directory / _FOLDER).glob("*.json")))
    return [report for report in found if report is not None]


def _read(path: Path) -> GuardReport | None:
    try:
        return GuardReport.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None
