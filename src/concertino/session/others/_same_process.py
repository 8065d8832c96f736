"""Opening a data directory again in a process that has it open, as when a notebook's cell is run once more."""

import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from bluesky import RunEngine

from concertino import ConcertinoError, ParameterError
from concertino.runtime._ending import open_sessions
from concertino.runtime._last_words import say

LOG = logging.getLogger(__name__)

IfOpen = Literal["close", "reuse"] | None

_CHOICES = ("close", "reuse", None)


class OpenSession(Protocol):
    """A session of this process."""

    RE: Any
    directory: Path

    @property
    def since_s(self) -> float:
        """When it was opened, in seconds since the epoch."""

    def close(self) -> None:
        """End it."""


S = TypeVar("S", bound=OpenSession)


def open_before(
    kind: type[S], directory: str | Path, if_open: IfOpen, run_engine: RunEngine | None
) -> S | None:
    """Do with the sessions that this process has open in a data directory what the user chose.

    Parameters
    ----------
    kind : type
        Of sessions.
    directory : str or Path
        The data directory.
    if_open : "close", "reuse" or None
        What becomes of them.
    run_engine : RunEngine, optional
        For the session that is to be opened.

    Returns
    -------
    Session or None
        The one that is to be used again.

    Raises
    ------
    ParameterError
        If there is no such choice, or the session that is to be used again has another RunEngine.
    SessionError
        If one cannot be closed here.
    """
    if if_open not in _CHOICES:
        raise ParameterError(
            f"if_open: {if_open!r} was given; give 'close' or 'reuse' for a session that this process has open in the "
            "data directory, or leave it out."
        )
    known = [one for one in open_sessions() if isinstance(one, kind)]
    same = [one for one in known if _same(one.directory, directory)]
    if if_open == "close":
        _close([one for one in known if one in same or one.RE is run_engine])
        return None
    if not same:
        return None
    last = max(same, key=lambda one: one.since_s)
    since = datetime.fromtimestamp(last.since_s).strftime("%H:%M:%S")
    if if_open == "reuse":
        if run_engine not in (None, last.RE):
            raise ParameterError(
                f"if_open: 'reuse' was given together with a run_engine, and the session in {directory} has another one. "
                "Leave run_engine out, or give if_open='close'."
            )
        say(
            f"The session in {directory}, open since {since}, is used again as it is: what else open_session() was given "
            "is not looked at."
        )
        return last
    say(
        f"This process has a session in {directory} already, open since {since}; this is another one beside it, with a "
        "RunEngine of its own. Say open_session(…, if_open='close') to have the first one closed, or 'reuse' to have it "
        "again."
    )
    return None


def _same(one: Path, other: str | Path) -> bool:
    return isinstance(other, str | os.PathLike) and one.resolve() == Path(other).resolve()


def _close(sessions: list[S]) -> None:
    for session in sessions:
        try:
            session.close()
        except ConcertinoError as error:
            if session in open_sessions():
                raise
            LOG.warning("While the session before was closed: %s", error)
