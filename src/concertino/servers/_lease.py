"""Who may use a server: one session at a time, as long as it is heard of."""

import logging
import threading
import time
from collections.abc import Callable

from concertino import SessionError

LOG = logging.getLogger(__name__)
_LOOK_S = 0.5


class Lease:
    """Given to one session at a time; lost by a session that is silent.

    Parameters
    ----------
    what : str
        The server, in messages.
    seconds : float
        How long a session may be silent, in seconds.
    lost : callable
        Called, in a thread, with the name of a session that was.
    """

    def __init__(self, what: str, seconds: float, lost: Callable[[str], None]) -> None:
        self._what = what
        self._seconds = seconds
        self._lost = lost
        self._lock = threading.Lock()
        self._holder = ""
        self._losing = False
        self._since_s = self._heard_s = 0.0
        threading.Thread(target=self._watch, name=f"{what} lease", daemon=True).start()

    @property
    def holder(self) -> str:
        """The session that has it; empty when nobody does."""
        return self._holder

    def take(self, session: str) -> None:
        """Give it to a session, or note that its holder lives.

        Raises
        ------
        SessionError
            If another session has it, with who; or if it is being taken from this one, which was silent.
        """
        with self._lock:
            if self._holder and self._holder != session:
                when = time.strftime("%H:%M:%S", time.localtime(self._since_s))
                raise SessionError(
                    f"{self._what} serves another session since {when}: {self._holder}; wait until its "
                    "run is over, or end it."
                )
            if self._losing:
                raise SessionError(
                    f"{self._what} has not heard of this session for {self._seconds:g} s and is ending "
                    "its work; ask again in a moment."
                )
            if not self._holder:
                self._holder, self._since_s = session, time.time()
            self._heard_s = time.monotonic()

    def renew(self, session: str) -> None:
        """Note that a session lives; nothing when it is not the holder."""
        with self._lock:
            if self._holder == session:
                self._heard_s = time.monotonic()

    def release(self, session: str) -> None:
        """Take it back from a session."""
        with self._lock:
            # Nobody else gets it before the work of a session that was lost has ended.
            if self._holder == session and not self._losing:
                self._holder = ""

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                silent = self._holder and time.monotonic() - self._heard_s > self._seconds
                lost = self._holder if silent else ""
                self._losing = bool(lost)
            if lost:
                # The server first becomes idle, then free.
                try:
                    self._lost(lost)
                except Exception:
                    LOG.exception("%s: at the end of the work for %s", self._what, lost)
                finally:
                    with self._lock:
                        self._losing, self._holder = False, ""
