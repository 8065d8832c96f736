"""The RunEngine of a session: it says what runs, pauses imaging plans, and cleans up after each."""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bluesky import Msg
from bluesky.utils import (  # type: ignore[attr-defined]
    FailedStatus,
    RunEngineInterrupted,
    TransitionError,
)

from concertino import ConcertinoError, SessionError, units
from concertino._bluesky_private import (
    HookedRunEngine,
    forget_deferred_pause,
    make_checkpoint,
    name_of_plan,
    reason_of_end,
)
from concertino.plans import HoldRequest, PauseRequest
from concertino.runtime._plan_end import in_own_thread

# RE(plan) raises why a plan failed; where nobody has set logging up, bluesky's log would tell it first.
logging.getLogger("bluesky").addHandler(logging.NullHandler())

_REASON = "a pause was requested of the RunEngine"
_NO_REASON = "it was aborted, stopped or halted, or was to pause at once where it cannot"


class _CannotPauseError(SessionError, TransitionError):
    """The plan that runs cannot pause; also for those who know bluesky's error only."""


class PlanEndedError(SessionError, RunEngineInterrupted):
    """A plan was ended from outside of it; also for those who know bluesky's error only."""


@contextmanager
def _imports_kept() -> Iterator[None]:
    """Keep Python from looking through all that was ever imported for garbage.

    It does so again and again, and for 100 ms nothing else in the process goes on: neither the loop nor the
    camera's frames. A program that keeps its imports itself, as one that forks does, goes on to.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def say_who_holds(requests: Iterable[HoldRequest]) -> None:
    """Tell whoever resumes a scan why it stays paused nevertheless."""
    for request in requests:
        print(
            f"The scan stays paused: {request.owner} asked for it ({request.reason}), and takes it back "
            "when that is over. RE.abort() ends the run."
        )


class SessionRunEngine(HookedRunEngine):
    """A RunEngine that says what is running when a second plan is given to it.

    An imaging plan pauses at its next frame boundary, be the pause deferred or immediate, and can be
    resumed; an immediate pause that is asked for again before that ends the run.

    Attributes
    ----------
    after_plan : list of callable
        Called in the caller's thread when a plan is over, however it ended.
    hold : PauseRequest
        Has an imaging plan pause at its next frame boundary.
    closed : str
        The data directory of its session, when that was closed; empty before.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.after_plan: list[Callable[[], object]] = []
        self.hold = PauseRequest()
        self.closed = ""
        self._pause_asked: HoldRequest | None = None
        self._at_once = False
        super().__init__(*args, **kwargs)
        self.register_command(  # type: ignore[no-untyped-call]
            "checkpoint", self._checkpoint_anew
        )
        self.register_command("tell_reason", self._tell_reason)  # type: ignore[no-untyped-call]

    def __call__(self, *args: Any, **metadata_kw: Any) -> Any:
        """Run a plan, as bluesky's RunEngine does.

        Raises
        ------
        SessionError
            If a plan is running or paused, its session was closed, or this is called in its own loop.
        PlanEndedError
            If it was ended from elsewhere, with the reason.
        """
        if self.closed:
            raise SessionError(
                f"A plan was given to the RunEngine of the session in {self.closed}, which was closed. Open another "
                "one with open_session()."
            )
        if self.state != "idle":
            plan_name = name_of_plan(self) or "a plan"
            raise SessionError(
                f"A plan was given to the RunEngine while {plan_name} is {self.state}. Wait for its "
                "end, or end it with RE.abort()."
            )
        if in_own_thread(self):
            raise SessionError(
                "A plan was given to the RunEngine inside its own loop, in which it would wait for itself for ever. Give it "
                "in another thread, or to session.start(plan), and await that."
            )
        # Not by the plan: half a second of imports, in the loop and perhaps with beam.
        _ = units.ureg
        try:
            with _imports_kept(), self._telling_why():
                return super().__call__(*args, **metadata_kw)
        finally:
            self._end_plan()

    def resume(self) -> Any:
        """Go on after a pause; as long as an alarm holds the scan, it waits, beam off.

        Raises
        ------
        SessionError
            If something was set otherwise meanwhile; the scan stays paused.
        PlanEndedError
            If it was ended from elsewhere, with the reason.
        """
        if self.state == "paused":
            say_who_holds(self.hold.resume(self.loop))
        try:
            with _imports_kept(), self._telling_why():
                return super().resume()  # type: ignore[no-untyped-call]
        finally:
            self._end_plan()

    def abort(self, reason: str = "") -> Any:
        """End the plan, as failed by the user."""
        with self._ending_paused():
            return super().abort(reason)  # type: ignore[no-untyped-call]

    def stop(self) -> Any:
        """End the plan, as done."""
        with self._ending_paused():
            return super().stop()  # type: ignore[no-untyped-call]

    def halt(self) -> Any:
        """End the plan without letting it clean up."""
        with self._ending_paused():
            return super().halt()  # type: ignore[no-untyped-call]

    def forget_pause(self) -> None:
        """Pause no more at the next checkpoint, if that was asked for."""
        forget_deferred_pause(self)

    @contextmanager
    def _telling_why(self) -> Iterator[None]:
        """Have a plan that was ended not say, as bluesky does of every interruption, that it is paused."""
        try:
            yield
        except FailedStatus as error:
            if isinstance(error.__cause__, ConcertinoError):
                # In a notebook it is shown as what caused it, which says it in a sentence.
                error._render_traceback_ = (  # type: ignore[attr-defined]
                    error.__cause__._render_traceback_
                )
            raise
        except RunEngineInterrupted as error:
            if self.state != "idle":
                raise
            why = reason_of_end(self).rstrip(".") or _NO_REASON
            raise PlanEndedError(f"The plan was ended: {why}.") from error

    @contextmanager
    def _ending_paused(self) -> Iterator[None]:
        # Of a plan that runs, the call that runs it does what follows.
        was_paused = self.state == "paused"
        try:
            yield
        finally:
            if was_paused:
                self._end_plan()

    def _end_plan(self) -> None:
        if self.state == "idle":
            self._pause_asked = None
            for function in self.after_plan:
                function()

    async def asked_to_pause(self, defer: bool) -> None:
        """Pause, whoever asks: Ctrl-C, `request_pause`, or the queue server's worker.

        Raises
        ------
        SessionError
            If the plan that runs can neither pause here nor later.
        """
        rewinds = self.resumable  # There is a checkpoint, as in bluesky's plans: it need not wait.
        if rewinds and self.hold.waiting:
            defer = False  # An alarm holds it: it has paused, and the RunEngine joins in.
        if not self.state.can_pause or (rewinds and not defer):
            return await self.pause_as_bluesky(defer)
        why_not = self.hold.unheard
        if why_not is not None:
            if defer and not rewinds:
                raise self._refused(why_not)
            return await self.pause_as_bluesky(defer)
        pending = self._pause_asked is not None and self._pause_asked in self.hold.requests
        if pending and self._at_once and not defer:
            return await self.pause_as_bluesky(False)  # Without a checkpoint that ends the run.
        if not pending:
            self._pause_asked = self.hold.request(_REASON, owner="the RunEngine")
        self._at_once = not defer
        await self.pause_as_bluesky(True)
        if not defer:
            print("The scan pauses at its next frame boundary. Pause at once again to end the run.")

    def _refused(self, why_not: str) -> SessionError:
        # Those who catch bluesky's error only, as its Ctrl-C does, would hide why.
        error = _CannotPauseError(
            f"The plan cannot pause: {why_not}. Wait for its end; an immediate pause, RE.abort() or a "
            "second Ctrl-C end the run, beam off."
        )
        print(error)
        return error

    async def _checkpoint_anew(self, msg: Msg) -> None:
        """Make a checkpoint, also after it was said that there is none, if it says ``anew``."""
        await make_checkpoint(self, msg, bool(msg.kwargs.get("anew")))

    async def _tell_reason(self, msg: Msg) -> str:
        """Tell a plan the reason that the user gave for its end."""
        return reason_of_end(self)
