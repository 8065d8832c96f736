"""Ask a scan, or a series of scans, to pause, from any thread."""

import asyncio
import threading

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

_LOOK_S = 0.05


class Hold:
    """A switch, for any thread, that has a running scan pause at its next frame boundary.

    A stepped scan stops before its next point, a continuous one ends its sweep. The beam goes off, the
    frames until then become safe, the axes return, and an event of the stream ``pauses`` says why.
    When it is released, what is missing or was spoiled is taken, in a segment stream of the same run.
    A series such as `for_each` waits between two runs. Meanwhile the RunEngine is ``running``, and
    can be aborted.

    Several may ask at once, each with its reason; the scan goes on when nobody does any more.

    Examples
    --------
    >>> from concertino.plans import Hold
    >>> hold = Hold()
    >>> hold.request("no beam: ring current 3 mA", spoiled_since_s=1700000000.0)
    >>> hold.requested, hold.reason
    (True, 'no beam: ring current 3 mA')
    >>> hold.release()
    >>> hold.requested
    False
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: list[str] = []
        self._spoiled_since_s: float | None = None
        self._last_reason = ""

    def request(self, reason: str, spoiled_since_s: float | None = None) -> None:
        """Have the scan pause.

        Parameters
        ----------
        reason : str
            Why; it stands in the run.
        spoiled_since_s : float, optional
            Frames that were exposed at or after this time, in seconds since the epoch, are taken
            again. It counts also when the pause is released before the scan noticed it.
        """
        with self._lock:
            if reason not in self._reasons:
                self._reasons.append(reason)
            self._last_reason = "; ".join(self._reasons)
            if spoiled_since_s is not None:
                known = self._spoiled_since_s
                self._spoiled_since_s = (
                    spoiled_since_s if known is None else min(known, spoiled_since_s)
                )

    def release(self, reason: str | None = None) -> None:
        """Let the scan go on, as far as this reason is concerned; every reason by default."""
        with self._lock:
            self._reasons = [] if reason is None else [r for r in self._reasons if r != reason]

    @property
    def requested(self) -> bool:
        """Whether a pause is asked for."""
        return bool(self._reasons)

    @property
    def reason(self) -> str:
        """Why a pause is asked for, or was the last time."""
        with self._lock:
            return "; ".join(self._reasons) or self._last_reason

    @property
    def due(self) -> bool:
        """Whether a scan must pause, or take frames again; for plans."""
        return self.requested or self._spoiled_since_s is not None

    def take_spoiled(self) -> float | None:
        """Return since when frames are spoiled, None if they are not, and forget it; for plans."""
        with self._lock:
            since_s, self._spoiled_since_s = self._spoiled_since_s, None
            return since_s

    def wait(self) -> MsgGenerator[None]:
        """Return the messages that wait as long as a pause is asked for."""

        async def until_released() -> None:
            while self.requested:
                await asyncio.sleep(_LOOK_S)

        if self.requested:
            yield from bps.wait_for([until_released])
