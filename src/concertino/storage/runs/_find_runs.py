"""Find stored runs by directory, uid, scan name, scan id or age."""

import os
from collections.abc import Iterator
from pathlib import Path

from concertino._errors import StorageError
from concertino.storage.record._document_file import DOCUMENTS
from concertino.storage.record._record import is_recorded

from ._run import DamagedRun, Run


def find_runs(root: str | os.PathLike[str]) -> list[Run]:
    """Return the runs in a data directory and below, the newest first.

    Within a directory the order is that of the scan ids, whatever the clock said; else that of time. A
    run whose record cannot be read is among them: its `exit_status` is ``damaged``, its `reason` says why.

    Parameters
    ----------
    root
        The data directory.
    """
    return _newest_first([run for path in run_directories(root) if (run := _opened(path))])


def open_run(
    which: str | int | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> Run:
    """Open a stored run.

    Parameters
    ----------
    which
        The run's directory; or, to be looked up in `root`: its scan name, its uid or the beginning of it,
        its scan id, or -1 for the newest experiment, -2 for the one before, and so on (runs computed
        from others do not count).
    root
        The data directory; the working directory by default. With it, a mere name such as ``"scan_0001"``
        means a run in it, never one in the working directory.

    Returns
    -------
    Run
        Whole or not: a run that failed, was aborted or killed is read as far as it came.

    Raises
    ------
    StorageError
        When there is no such run, more than one, or its record cannot be read.

    Examples
    --------
    >>> run = open_run("/data/scan_0001")  # doctest: +SKIP
    >>> run.frames("projections").shape  # doctest: +SKIP
    (3000, 2048, 2048)
    """
    place = Path.cwd() if root is None else Path(root).absolute()
    path = None if isinstance(which, int) else _named_directory(which, place)
    if path is not None:
        return Run(path)
    runs = find_runs(place)
    found = _matching(runs, which)
    if len(found) == 1:
        return _readable(found[0])
    if found:
        names = ", ".join(f"{run.directory} ({run.uid[:8]})" for run in found)
        raise StorageError(f"{which!r} is more than one run in {place}: {names}; give the uid.")
    has = (
        f"the newest of its {len(runs)} runs is {runs[0].name} ({runs[0].uid[:8] or 'damaged'})"
        if runs
        else ("it has no runs")
    )
    asked = which if str(which).isdecimal() else repr(which)  # a command's scan id comes as text
    raise StorageError(
        f"There is no run {asked} in {place}: {has}. See which there are with: concertino runs -d "
        f"{place}"
    )


def run_directories(root: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the directories of runs in a data directory and below, each once.

    Symbolic links are followed; what is there also without a link is not given twice.
    """
    seen: set[tuple[int, int]] = set()
    linked: list[Path] = []
    waiting = [Path(root)]
    while waiting or linked:
        directory = waiting.pop() if waiting else linked.pop(0)
        try:
            about = directory.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            if os.path.isfile(directory / DOCUMENTS):
                yield directory
                continue
            with os.scandir(directory) as entries:
                below = sorted(entries, key=lambda entry: entry.name)
        except OSError:  # It was removed meanwhile, or is not for us.
            continue
        for entry in below:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                linked.append(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))


def _opened(directory: Path) -> Run | None:
    try:
        return Run(directory)
    except StorageError as error:
        if is_recorded(directory / DOCUMENTS):
            return None  # It begins at this moment.
        return DamagedRun(directory, str(error))


def _newest_first(runs: list[Run]) -> list[Run]:
    """Return runs by time, those of one directory by scan id: a clock that is set back changes nothing."""
    times = {id(run): float(run.start["time"]) for run in runs}
    numbered = [run for run in runs if run.scan_id is not None and not run.is_processing]
    latest: dict[Path, float] = {}
    for run in sorted(numbered, key=lambda run: (run.scan_id, run.start["time"])):
        beside = run.directory.parent
        latest[beside] = max(times[id(run)], latest.get(beside, -float("inf")))
        times[id(run)] = latest[beside]
    return sorted(
        runs,
        key=lambda run: (times[id(run)], run.scan_id or 0, run.start["time"], run.directory.name),
        reverse=True,
    )


def _named_directory(which: str | os.PathLike[str], place: Path) -> Path | None:
    """Return the run directory that a path names; None for a name that is to be looked up.

    Raises
    ------
    StorageError
        When it is no run directory, or there are two.
    """
    path = Path(which)
    if path.name == DOCUMENTS:
        path = path.parent
    is_name = isinstance(which, str) and os.sep not in which and path.name != ".."
    if path.is_absolute() or (isinstance(which, os.PathLike) and place == Path.cwd()):
        choices = [path]
    elif is_name:
        choices = [place / path]
    else:
        choices = [path.absolute(), place / path]
    found: dict[str, Path] = {}
    for choice in choices:
        if os.path.isfile(choice / DOCUMENTS):
            found.setdefault(os.path.realpath(choice), choice.absolute())
    if len(found) > 1:
        both = " and ".join(map(str, found.values()))
        raise StorageError(f"{which!r} is two runs: {both}; give the whole path.")
    if found:
        return next(iter(found.values()))
    if not is_name:
        if isinstance(which, os.PathLike) or any(os.path.isdir(choice) for choice in choices):
            raise StorageError(
                f"{path} is no run directory: it has no {DOCUMENTS}. Give the directory of a run."
            )
    elif os.path.isdir(place / path):
        raise StorageError(
            f"{place / path} is no run directory: it has no {DOCUMENTS}. Give the directory of a "
            "run."
        )
    return None


def _readable(run: Run) -> Run:
    if isinstance(run, DamagedRun):
        raise StorageError(run.reason)
    return run


def _matching(runs: list[Run], which: str | int | os.PathLike[str]) -> list[Run]:
    """Return the runs that `which` means; raw runs before those computed from them."""
    if isinstance(which, int) and which < 0:
        whole = [run for run in runs if not isinstance(run, DamagedRun)]
        experiments = [run for run in whole if not run.is_processing]
        return experiments[-which - 1 : -which or None]
    if isinstance(which, int) or str(which).isdecimal():
        number = int(str(which)) if len(str(which)) < 20 else None
        found = [run for run in runs if number is not None and run.scan_id == number]
        raw = [run for run in found if not run.is_processing]
        if found or isinstance(which, int):
            return raw or found
    text = str(which)
    exact = [run for run in runs if text in (run.uid, run.name)]
    return exact or [run for run in runs if len(text) >= 4 and run.uid.startswith(text)]
