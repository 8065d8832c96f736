"""Ask a scan, or a series of scans, to pause, from any thread."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import SessionError
from concertino.plans.core._passed_on import passed_on

LOG = logging.getLogger(__name__)

_LOOK_S = 0.05
_CHECK_S = 30.0


@dataclass(eq=False)
class HoldRequest:
    """That somebody wants a scan to pause; whoever has it may take it back. Made by `PauseRequest.request`.

    Parameters
    ----------
    reason : str
        Why; it stands in the run.
    owner : str
        Who asked.
    run : str or None
        Uid of the run that it is about, with which it ends; None: it ends with the plan.
    until_resumed : bool
        Whether it ends when somebody resumes the scan; if not, only its owner can release it.
    """

    reason: str
    owner: str
    run: str | None
    until_resumed: bool
    _withdraw: Callable[["HoldRequest"], None] = field(repr=False)
    _heard: bool = field(default=False, repr=False)

    def release(self) -> None:
        """Take it back; harmless when it has ended."""
        self._withdraw(self)


class PauseRequest:
    """A switch, for any thread, that has a running scan pause at its next frame boundary.

    A stepped scan stops before its next point, a continuous one ends its sweep. The beam goes off, the
    frames until then become safe, the axes return, and an event of the stream ``pauses`` says why.
    When it is released, what is missing or was spoiled is taken, in a segment stream of the same run.
    A series such as `for_each` waits between two runs. Meanwhile the RunEngine is ``running``, and
    can be aborted.

    Several may ask at once. Each request belongs to whom made it, and to one run or plan, with which it
    ends; the scan goes on when nobody asks any more.

    Examples
    --------
    >>> from concertino.plans import PauseRequest
    >>> hold = PauseRequest()
    >>> request = hold.request("no beam: ring current 3 mA", spoiled_since_s=1700000000.0)
    >>> hold.requested, hold.reason
    (True, 'no beam: ring current 3 mA')
    >>> request.release()
    >>> hold.requested
    False
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._requests: list[HoldRequest] = []
        self._spoiled_since_s: float | None = None
        self._last_reason = ""
        self._plans = 0
        self._runs: set[str] = set()
        self._scans: list[str] = []
        self._check: Callable[[], Awaitable[None]] | None = None
        self._waiting = False

    def request(
        self,
        reason: str,
        spoiled_since_s: float | None = None,
        *,
        owner: str = "the user",
        run: str | None = None,
        until_resumed: bool = True,
        next_run: bool = False,
    ) -> HoldRequest:
        """Have the scan pause; if no plan is running, the next one before its first frame.

        Parameters
        ----------
        reason : str
            Why; it stands in the run.
        spoiled_since_s : float, optional
            Frames that were exposed at or after this time, in seconds since the epoch, are taken
            again. It counts also when the pause is released before the scan noticed it, or is refused
            by a scan that cannot pause.
        owner : str
            Who asks, for messages.
        run : str, optional
            Uid of the run that is to pause. The request ends with it; by default with the plan.
        until_resumed : bool
            Whether it ends when somebody resumes the scan; if not, only its owner can release it.
        next_run : bool
            Have the next run wait before it begins, where the present one cannot pause.

        Returns
        -------
        HoldRequest
            What takes it back: its ``release()``.

        Raises
        ------
        SessionError
            If it would not be heard: the run is over, or is of a kind that cannot pause.
        """
        with self._lock:
            if run is not None and run not in self._runs:
                raise SessionError(
                    f"{owner} asked run {run} to pause ({reason}), and it is over. Nothing pauses."
                )
            if not next_run and (why := self._scans[-1] if self._scans else ""):
                self._spoil(spoiled_since_s, reason)
                raise SessionError(
                    f"{owner} asked for a pause ({reason}), and the scan cannot pause: {why}. Wait for "
                    "its end, or end it with RE.abort()."
                )
            made = HoldRequest(reason, owner, run, until_resumed, self._withdraw)
            self._requests.append(made)
            self._last_reason = self._reasons()
            self._spoil(spoiled_since_s, self._last_reason)
            return made

    def pause(
        self, reason: str = "on request", spoiled_since_s: float | None = None
    ) -> HoldRequest:
        """Have the scan pause, as the person at the beamline; `resume` takes it back.

        Parameters
        ----------
        reason, spoiled_since_s
            As for `request`.

        Raises
        ------
        SessionError
            If nothing that runs would hear it, or nothing runs.
        """
        with self._lock:  # What runs must not end in between: the next plan would be held.
            if (why_not := self.unheard) is not None:
                if self._scans:
                    self._spoil(spoiled_since_s, reason)
                raise SessionError(
                    f"A pause ({reason}) was asked for, and nothing can pause: {why_not}. Call "
                    "session.pause(…, next_run=True) to have the next run wait before it begins, "
                    "RE.abort() to end what runs, or RE.request_pause(defer=True) to pause a plan "
                    "of bluesky."
                )
            return self.request(reason, spoiled_since_s)

    def resume(self, loop: asyncio.AbstractEventLoop | None = None) -> tuple[HoldRequest, ...]:
        """Take back, as the person at the beamline, what waits for a person.

        Parameters
        ----------
        loop : asyncio.AbstractEventLoop, optional
            The RunEngine's: then it is asked first whether all is set as it was, so that the refusal
            reaches the caller; without it the scan finds out, and stays paused.

        Returns
        -------
        tuple of HoldRequest
            Those that only their owners can release: as long as there are any, the scan stays paused.

        Raises
        ------
        SessionError
            If the scan cannot go on as it is, because something is set otherwise than before.
        """
        check = self._check
        if check is not None and loop is not None and not _runs_here(loop):
            asked = asyncio.run_coroutine_threadsafe(_as_coroutine(check), loop)
            try:
                asked.result(_CHECK_S)
            except TimeoutError:
                raise SessionError(
                    f"The scan stays paused: its devices did not say within {_CHECK_S:g} s how they are "
                    "set. Look at the camera and resume again, or end the run with RE.abort()."
                ) from None
        with self._lock:
            self._requests = [r for r in self._requests if not r.until_resumed]
            return tuple(self._requests)

    @property
    def requests(self) -> tuple[HoldRequest, ...]:
        """The requests that are not released."""
        with self._lock:
            return tuple(self._requests)

    @property
    def requested(self) -> bool:
        """Whether a pause is asked for."""
        return bool(self._requests)

    @property
    def reason(self) -> str:
        """Why a pause is asked for, or was the last time."""
        with self._lock:
            return self._reasons() or self._last_reason

    @property
    def unheard(self) -> str | None:
        """Why a request would not be heard now; None if it would, at the latest by the plan's next scan."""
        with self._lock:
            if not self._plans:
                return "no plan is running"
            if self._scans:
                return self._scans[-1] or None
            if self._runs:
                return "the run that is open is none of an imaging plan that takes frames in parts"
            return None

    @property
    def pending(self) -> bool:
        """Whether a scan must pause, or take frames again; for plans."""
        return self.requested or self._spoiled_since_s is not None

    @property
    def waiting(self) -> bool:
        """Whether a scan or a series has paused, and waits."""
        return self._waiting

    def take_spoiled(self) -> float | None:
        """Return since when frames are spoiled, None if they are not, and forget it; for plans."""
        with self._lock:
            since_s, self._spoiled_since_s = self._spoiled_since_s, None
            return since_s

    def wait(self) -> MsgGenerator[None]:
        """Return the messages that wait as long as a pause is asked for.

        The RunEngine itself may pause there, too. Stock bluesky knows no way back from
        ``clear_checkpoint``; a session's RunEngine does.
        """

        async def until_released() -> None:
            while self.requested:
                for request in self.requests:
                    request._heard = True
                await asyncio.sleep(_LOOK_S)

        if not self.requested:
            return
        # What asks after the checkpoint finds it so: there is no other to be heard at.
        self._waiting = True
        try:
            yield Msg("checkpoint", None, anew=True)
            yield from bps.wait_for([until_released])
        finally:
            self._waiting = False

    @contextmanager
    def scanning(self, why_not: str = "") -> Iterator[None]:
        """Note that a scan goes on, and why it cannot pause, if it cannot; for plans."""
        self._scans.append(why_not)
        try:
            yield
        finally:
            self._scans.pop()

    @contextmanager
    def checking(self, check: Callable[[], Awaitable[None]]) -> Iterator[None]:
        """Have `resume` ask whether a paused scan can go on; for plans."""
        self._check = check
        try:
            yield
        finally:
            self._check = None

    def follow(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on; requests end with its runs and with itself."""
        runs: dict[Any, str] = {}

        def note(message: Msg) -> MsgGenerator[Any]:
            try:
                response = yield message
                if message.command == "open_run" and isinstance(response, str):
                    runs[message.run] = response
                    self._runs.add(response)
                return response
            finally:
                if message.command == "close_run" and message.run in runs:
                    self._end_run(runs.pop(message.run))

        self._plans += 1
        try:
            return (yield from passed_on(plan, note))
        finally:
            for uid in runs.values():
                self._end_run(uid)
            self._plans -= 1
            if not self._plans:
                self._end(lambda request: True)

    def _end_run(self, uid: str) -> None:
        self._runs.discard(uid)
        self._spoiled_since_s = None  # Of the next run nothing is exposed.
        self._end(lambda request: request.run == uid)

    def _end(self, ends: Callable[[HoldRequest], bool]) -> None:
        with self._lock:
            ended = [request for request in self._requests if ends(request)]
            self._requests = [request for request in self._requests if request not in ended]
        for request in ended:
            if not request._heard:
                LOG.warning(
                    "%s asked for a pause (%s), which is forgotten: what was to pause ended first",
                    request.owner, request.reason,
                )  # fmt: skip

    def _spoil(self, since_s: float | None, reason: str) -> None:
        if since_s is not None:
            self._last_reason = reason
            known = self._spoiled_since_s
            self._spoiled_since_s = since_s if known is None else min(known, since_s)

    def _withdraw(self, request: HoldRequest) -> None:
        with self._lock:
            if request in self._requests:
                self._requests.remove(request)

    def _reasons(self) -> str:
        return "; ".join(dict.fromkeys(request.reason for request in self._requests))


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the loop's own thread, which must not wait for it."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


async def _as_coroutine(check: Callable[[], Awaitable[None]]) -> None:
    await check()
