"""What ``concertino runs`` and ``show`` print."""

import re
from datetime import datetime
from pathlib import Path

from concertino import StorageError
from concertino.storage import Run, find_runs, open_run


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
        If there is no such run.
    """
    name = "-1" if name == "last" else name
    if not re.fullmatch(r"-\d+", name):
        return open_run(int(name) if name.isdigit() else name, directory)
    runs = [run for run in find_runs(directory) if "derived_from" not in run.start]
    try:
        return runs[-int(name) - 1]
    except IndexError:
        raise StorageError(
            f"run {name} was asked for, and {directory} has {len(runs)} experiments; see "
            f"'concertino runs -d {directory}'"
        ) from None


def list_runs(directory: Path, number: int) -> None:
    """Print a line for each run, the newest first.

    Raises
    ------
    StorageError
        If there is no such directory.
    """
    if not directory.is_dir():
        raise StorageError(
            f"there is no data directory {directory}; name it with --directory, or make it with "
            "'concertino run'"
        )
    found = find_runs(directory)
    if not found:
        print(f"{directory} has no runs yet.")
        return
    width = max(len(run.directory.name) for run in found[:number])
    print(f"{'run':{width}}  {'started':19}  {'plan':21}  {'status':9}  {'frames':>7}  sample")
    for run in found[:number]:
        print(
            f"{run.directory.name:{width}}  {_time(run)}  "
            f"{run.start.get('plan_name', ''):21}  {run.exit_status:9}  {_frames(run):7}  "
            f"{run.start.get('sample', '')}"
        )
    if len(found) > number:
        print(f"… and {len(found) - number} more (--number {len(found)} shows all)")


def show_run(directory: Path, name: str) -> None:
    """Print what a run did, where its frames are, and its ledger.

    Raises
    ------
    StorageError
        If there is no such run.
    """
    run = choose_run(directory, name)
    print(f"run        {run.directory}")
    print(f"uid        {run.uid}")
    print(f"started    {_time(run)}")
    print(f"plan       {run.start.get('plan_name', 'unknown')}")
    for parameter, value in run.start.get("plan_args", {}).items():
        if isinstance(value, dict) and set(value) == {"value", "unit"}:
            value = f"{value['value']:g} {value['unit']}"
        print(f"           {parameter} = {value}")
    if "derived_from" in run.start:
        print(f"from       run {run.start['derived_from']}")
    print(f"status     {run.exit_status}" + (f": {run.reason}" if run.reason else ""))
    for stream in run.streams:
        for key in run[stream].frame_keys:
            frames = run.frames(stream, key)
            count, height, width = frames.shape
            print(f"frames     {stream}: {count} of {height} × {width} px, {frames.dtype}")
    for line in run.ledger():
        print(
            f"ledger     {line['stream']}: {line['party']} ({line['role']}) has {line['frames']}, "
            + (f"{line['recorded']} recorded, " if line.get("recorded") else "")
            + f"{line['acknowledged']} safe, {line['dropped']} dropped, {line['state']}"
            + (f": {line['reason']}" if line["reason"] else "")
        )
    for derived in run.derived:
        print(f"derived    {derived.directory} ({derived.start.get('plan_name')})")


def _time(run: Run) -> str:
    return datetime.fromtimestamp(run.start["time"]).strftime("%Y-%m-%d %H:%M:%S")


def _frames(run: Run) -> int:
    return sum(len(run.frames(name, key)) for name in run.streams for key in run[name].frame_keys)
