"""The runs of one scan: a run that broke off, and those that resume it."""

from concertino._errors import StorageError

from ._run import Run, runs_beside


def linked_runs(run: Run) -> tuple[Run, ...]:
    """Return all runs of the scan that a run belongs to, the oldest first.

    Parameters
    ----------
    run
        Any of them; the others are looked for in directories beside its own.

    Raises
    ------
    StorageError
        If a run that one of them resumes is not there.
    """
    beside = {other.uid: other for other in runs_beside(run.directory)} | {run.uid: run}
    found = {run.uid: run}
    first = run
    while "resumes" in first.start:
        earlier = beside.get(str(first.start["resumes"]))
        if earlier is None or earlier.uid in found:
            raise StorageError(
                f"{first.name} resumes the run {first.start['resumes']}, which is not in "
                f"{first.directory.parent}. Put its directory beside {first.directory.name}."
            )
        found[earlier.uid] = first = earlier
    while later := [
        other
        for other in beside.values()
        if str(other.start.get("resumes")) in found and other.uid not in found
    ]:
        found |= {other.uid: other for other in later}
    return tuple(sorted(found.values(), key=lambda each: float(each.start["time"])))
