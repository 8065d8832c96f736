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
    """

    session: str
    why: str
    time: float
    runs: tuple[str, ...] = ()
    beams: tuple[SwitchedBeam, ...] = field(default=())
    done: bool = True

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


def write_report(report: GuardReport, directory: Path, number: int) -> None:
    """Write a report into the data directory and into the runs' directories; what fails is left out.

    Parameters
    ----------
    report : GuardReport
        What happened; written again under the same number, it replaces the first.
    directory : Path
        The data directory.
    number : int
        Tells the reports of one guard apart.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(report.time))
    places = [Path(run) / _IN_RUN for run in report.runs]
    places.append(directory / _FOLDER / f"{stamp}-{os.getpid()}-{number}.json")
    text = json.dumps(report.to_json(), indent=1)
    for place in places:
        with suppress(OSError):
            if place.parent.name == _FOLDER:
                place.parent.mkdir(exist_ok=True)
            fresh = place.with_name(f"{place.name}.{os.getpid()}")
            with fresh.open("w", encoding="utf-8") as file:
                file.write(text)
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
            with suppress(OSError):
                path.replace(path.with_name(path.name + _TOLD))
    return found


def _read(path: Path) -> GuardReport | None:
    try:
        return GuardReport.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None
