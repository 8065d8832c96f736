"""What ``concertino runs`` and ``show`` print."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from concertino import StorageError
from concertino.storage import Run, find_runs, open_run
from concertino.terminal._shown import shown_in_line


def choose_run(directory: Path, name: str) -> Run:
    """Return the run that a user named.

    Parameters
    ----------
    directory : Path
        The data directory.
    name : str
        Scan id, name or path of a run directory, uid or the beginning of one, or ``last``, ``-1``,
        ``-2``, … for the newest experiments (processing runs do not count).

    Raises
    ------
    StorageError
        If there is no such run, or no such directory.
    """
    name = "-1" if name == "last" else name
    if os.sep not in name:
        _check_there(directory)
    if not re.fullmatch(r"-\d{1,9}", name):
        return open_run(name, directory)
    try:
        return open_run(int(name), directory)
    except StorageError:
        count = sum(not run.is_processing for run in find_runs(directory))
        raise StorageError(
            f"Run {name} was asked for, and {directory} has {count} experiments. See which with: "
            f"concertino runs -d {directory}"
        ) from None


def list_runs(directory: Path, number: int) -> None:
    """Print a line for each run, the newest first.

    Raises
    ------
    StorageError
        If there is no such directory.
    """
    _check_there(directory)
    found = find_runs(directory)
    if not found:
        print(f"{directory} has no runs yet.")
        return
    shown = found[:number]
    width = max((len(shown_in_line(run.directory.name)) for run in shown), default=3)
    print(f"{'run':{width}}  {'started':19}  {'plan':21}  {'status':9}  {'frames':>7}  sample")
    for run in shown:
        print(
            f"{shown_in_line(run.directory.name):{width}}  {_time(run)}  "
            f"{shown_in_line(run.start.get('plan_name', '')):21}  {shown_in_line(run.exit_status):9}  "
            f"{_frames(run):>7}  {shown_in_line(run.start.get('sample', ''))}".rstrip()
        )
    for run in shown:
        if run.exit_status == "damaged":
            print(f"{shown_in_line(run.directory.name)} is damaged: {shown_in_line(run.reason)}")
    if len(found) > number:
        print(f"… and {len(found) - number} more (--number {len(found)} shows all)")


def _check_there(directory: Path) -> None:
    if not directory.is_dir():
        raise StorageError(
            f"There is no data directory {directory}; name it with --directory, or make it with "
            "'concertino run'."
        )


def show_run(directory: Path, name: str) -> None:
    """Print what a run did, where its frames are, and its ledger.

    Raises
    ------
    StorageError
        If there is no such run.
    """
    for line in _lines_of(choose_run(directory, name)):
        print(shown_in_line(line))


def _lines_of(run: Run) -> Iterator[str]:
    yield f"run        {run.directory}"
    yield f"uid        {run.uid}"
    yield f"started    {_time(run)}"
    yield f"plan       {run.start.get('plan_name', 'unknown')}"
    parameters = run.start.get("plan_args")
    for parameter, value in (parameters if isinstance(parameters, dict) else {}).items():
        yield f"           {parameter} = {_value(value)}"
    if run.is_processing:
        yield f"from       run {run.start['derived_from']}"
    yield f"status     {run.exit_status}" + (f": {run.reason}" if run.reason else "")
    if run.exit_status == "damaged":
        return
    for stream in run.streams:
        for key in run[stream].frame_keys:
            try:
                count, height, width = run.frames(stream, key).shape
            except StorageError as error:
                yield f"frames     {stream}: {key}: {error}"
                continue
            yield (
                f"frames     {stream}: {count} of {height} × {width} px, "
                f"{run.frames(stream, key).dtype}"
            )
        for key in run[stream].foreign_keys:
            yield f"data       {stream}: {key}, stored beside the record, no images"
    for line in run.ledger():
        yield _ledger_line(line)
    for derived in run.derived:
        yield f"derived    {derived.directory} ({derived.start.get('plan_name')})"


def _ledger_line(line: dict[str, Any]) -> str:
    known: Any = defaultdict(lambda: "?", line)
    return (
        f"ledger     {known['stream']}: {known['party']} ({known['role']}) has {known['frames']}, "
        + (f"{line['recorded']} recorded, " if line.get("recorded") else "")
        + f"{known['acknowledged']} safe, {known['dropped']} dropped, {known['state']}"
        + (f": {line['reason']}" if line.get("reason") else "")
    )


def _value(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"value", "unit"}:
        number = value["value"]
        shown = f"{number:g}" if isinstance(number, int | float) else f"{number}"
        return f"{shown} {value['unit']}"
    return str(value)


def _time(run: Run) -> str:
    return datetime.fromtimestamp(run.start["time"]).strftime("%Y-%m-%d %H:%M:%S")


def _frames(run: Run) -> str:
    """Return how many frames a run has; "?" when its documents do not tell."""
    try:
        return str(
            sum(len(run.frames(name, key)) for name in run.streams for key in run[name].frame_keys)
        )
    except StorageError:
        return "?"
