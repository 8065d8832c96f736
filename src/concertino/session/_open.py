"""Open a session."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bluesky import RunEngine

from ._beam_guard import Guarded
from ._session import Session
from .others._same_process import IfOpen, open_before


def open_session(
    directory: str | Path,
    *,
    baseline: Iterable[Any] = (),
    progress: bool = True,
    catalog: bool = True,
    run_engine: RunEngine | None = None,
    separate_scans: bool = True,
    pattern: str = "scan_{:04d}",
    md: Mapping[str, Any] | None = None,
    guard: Guarded = True,
    guard_silence_s: float = 10.0,
    guard_loop_silence_s: float = 120.0,
    guard_at: str = "",
    if_open: IfOpen = None,
) -> Session:
    """Open a data directory and return a RunEngine made ready for experiments in it.

    Each run gets a directory ``scan_0001``, ``scan_0002``, … that is never used again, with all its
    documents and a log in it, a place in the catalogue, and the state of the baseline devices at
    its start and end. Quantities such as ``90 * q.deg`` reach devices in the devices' units.

    Parameters
    ----------
    directory : str or Path
        The data directory; made when it is not there.
    baseline : iterable of device
        Devices whose state belongs to every run.
    progress : bool
        Show progress bars.
    catalog : bool
        Keep a catalogue of the runs (tiled on SQLite, in this process). Without the extra ``catalog`` a
        warning says that runs are recorded, and not indexed.
    run_engine : RunEngine, optional
        Make this one ready instead of a new one.
    separate_scans : bool
        False: the data directory is the run's directory; a second run is refused.
    pattern : str
        Format of the names of run directories.
    md : mapping, optional
        Metadata for all runs.
    guard
        True: the beams of imaging plans are switched off by a process of its own when this session dies. Or
        what `Session.guard_beam` takes: these beams and no others. False: none.
    guard_silence_s : float
        After how long a silence of this process the guard acts, in seconds.
    guard_loop_silence_s : float
        After which time without an answer of the RunEngine's loop it acts, in seconds; a callback that blocks
        for longer is taken for a hang.
    guard_at : str
        Where ``concertino guard`` listens on another computer, ``tcp://host:port``: it acts also when this
        computer dies.
    if_open : {"close", "reuse"}, optional
        What becomes of a session that this process has open in the data directory, as when a notebook's cell is run
        again. ``"close"``: it is closed first; a plan that runs in it is aborted, beam off. ``"reuse"``: it is
        returned as it is, and what else is given here is not looked at. By default it stays open, this is another one
        beside it, and a sentence says so.

    Returns
    -------
    Session
        With ``RE``, ``catalog``, ``subscribe(callback)`` and ``close()``; a context manager.

    Raises
    ------
    StorageError
        If the directory cannot be written to.
    ParameterError
        If an argument cannot work.
    SessionError
        If the RunEngine is not idle, or a session that is to be closed cannot be.

    Examples
    --------
    >>> import tempfile
    >>> from concertino.session import open_session
    >>> with open_session(tempfile.mkdtemp(), catalog=False) as session:
    ...     session.RE.state
    'idle'
    """
    before = open_before(Session, directory, if_open, run_engine)
    return before or Session(
        directory,
        baseline=baseline,
        progress=progress,
        catalog=catalog,
        run_engine=run_engine,
        separate_scans=separate_scans,
        pattern=pattern,
        md=md,
        guard=guard,
        guard_silence_s=guard_silence_s,
        guard_loop_silence_s=guard_loop_silence_s,
        guard_at=guard_at,
    )
