"""Find stored runs by directory, uid, scan id or age."""

import os
from collections.abc import Iterator
from pathlib import Path

from concertino._errors import StorageError

from ._document_file import DOCUMENTS
from ._run import Run


def find_runs(root: str | os.PathLike[str]) -> list[Run]:
    """Return the runs in a data directory and below, the newest first.

    Directories whose record is empty or damaged at its beginning are left out.

    Parameters
    ----------
    root
        The data directory.
    """
    runs = []
    for directory in _run_directories(Path(root)):
        try:
            runs.append(Run(directory))
        except StorageError:
            continue
    return sorted(runs, key=lambda run: run.start["time"], reverse=True)


def open_run(
    which: str | int | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> Run:
    """Open a stored run.

    Parameters
    ----------
    which
        The run's directory; or, to be looked up in `root`: its uid or the beginning of it, its scan name,
        its scan id, or -1 for the newest, -2 for the one before, and so on.
    root
        The data directory; the working directory by default.

    Returns
    -------
    Run
        Whole or not: a run that failed, was aborted or killed is read as far as it came.

    Raises
    ------
    StorageError
        When there is no such run, or more than one.

    Examples
    --------
    >>> run = open_run("/data/scan_0001")  # doctest: +SKIP
    >>> run.frames("projections").shape  # doctest: +SKIP
    (3000, 2048, 2048)
    """
    if not isinstance(which, int):
        path = Path(which)
        if path.name == DOCUMENTS:
            path = path.parent
        if (path / DOCUMENTS).is_file():
            return Run(path.absolute())
        if isinstance(which, os.PathLike) or path.is_dir():
            raise StorageError(f"{path} is no run directory: it has no {DOCUMENTS}")
    place = Path.cwd() if root is None else Path(root).absolute()
    runs = find_runs(place)
    found = _matching(runs, which)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{run.directory} ({run.uid[:8]})" for run in found)
        raise StorageError(f"{which!r} is more than one run in {place}: {names}; give the uid")
    has = (
        f"the newest of its {len(runs)} runs is {runs[0].name} ({runs[0].uid[:8]})"
        if runs
        else ("it has no runs")
    )
    raise StorageError(f"no run {which!r} in {place}: {has}")


def _matching(runs: list[Run], which: str | int | os.PathLike[str]) -> list[Run]:
    """Return the runs that `which` means; raw runs before those computed from them."""
    if isinstance(which, int) and which < 0:
        return runs[-which - 1 : -which]
    if isinstance(which, int) or str(which).isdigit():
        found = [run for run in runs if run.scan_id == int(str(which))]
        raw = [run for run in found if "derived_from" not in run.start]
        if found or isinstance(which, int):
            return raw or found
    text = str(which)
    exact = [run for run in runs if text in (run.uid, run.name)]
    return exact or [run for run in runs if len(text) >= 4 and run.uid.startswith(text)]


def _run_directories(root: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        if DOCUMENTS in files:
            yield Path(directory)
            folders.clear()
