"""A plan that runs in the background: the prompt stays free."""

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bluesky import Msg, RunEngine
from bluesky.utils import RunEngineInterrupted

from concertino import OverdueError, SessionError
from concertino.callbacks import OnlineReconstruction
from concertino.runtime._last_words import say
from concertino.runtime._plan_end import PLAN_END_S, end_plan
from concertino.session._interrupts import AbortOnInterrupt, PauseOnInterrupt, interactive
from concertino.session._run_engine import PlanEndedError
from concertino.units import QuantityLike, convert
from concertino.viewers import RunProgress, RunTracker

from ._run_result import BackgroundProgress, Made, RunResult

_LOOK_S = 0.05
#: Until the RunEngine answers: before it goes on it may ask devices how they are set, which has 30 s.
_ANSWER_S = 40.0
_OVER = ("finished", "failed", "aborted")


class PausedError(SessionError, RunEngineInterrupted):
    """Somebody waits for a run that is paused."""


class BackgroundRun:
    """A plan that the session's RunEngine runs in the background; made by `Session.start`.

    Errors are raised where one waits: ``await run`` or `wait`.
    """

    def __init__(
        self, run_engine: RunEngine, *,
        resume_scan: Callable[[], object], reconstruction: OnlineReconstruction | None,
    ) -> None:  # fmt: skip
        self._run_engine = run_engine
        self._resume_scan = resume_scan
        self._reconstruction = reconstruction
        self._noting = threading.RLock()
        self._tracker = RunTracker()
        self._uids: list[str] = []
        self._made: Made | BaseException | None = None
        self._last_stop: Mapping[str, Any] = {}
        self._error: BaseException | None = None
        self._told = self._ended_as_done = False
        self._over, self._settled = threading.Event(), threading.Event()
        # No bars are drawn over a prompt at which somebody types.
        self._hook, run_engine.waiting_hook = run_engine.waiting_hook, None
        self._token = run_engine.subscribe(self._note)

    def begin(self, plan: Iterable[Msg], metadata: Mapping[str, Any]) -> None:
        """Have the RunEngine begin.

        Raises
        ------
        OverdueError
            If it does not; it may yet.
        """
        self._go(lambda: self._run_engine(plan, **metadata))

    @property
    def state(self) -> str:
        """``running``, ``paused``, ``finished``, ``failed`` or ``aborted``."""
        self._look()
        if not self._over.is_set():
            return "paused" if str(self._run_engine.state) == "paused" else "running"
        if self._last_stop.get("exit_status") == "abort":
            return "aborted"
        failed = self._error is not None and not self._ended_as_done
        return "failed" if failed or self._last_stop.get("exit_status") == "fail" else "finished"

    @property
    def progress(self) -> BackgroundProgress:
        """How far it is."""
        state = self.state
        with self._noting:
            run: RunProgress = self._tracker.run
            begun = [stream for stream in run.streams.values() if stream.acquired]
            name = run.name
        if not begun:
            return BackgroundProgress(state, name)
        return BackgroundProgress(state, name, begun[-1].name, begun[-1].acquired, begun[-1].total)

    @property
    def result(self) -> RunResult:
        """What it has left.

        Raises
        ------
        SessionError
            If it still goes on.
        """
        if self.state not in _OVER:
            raise SessionError(f"The run in the background is {self.state}. Wait with run.wait().")
        status, reason = self._last_stop.get("exit_status", ""), self._last_stop.get("reason", "")
        return RunResult(tuple(self._uids), str(status), str(reason), self._made)

    def wait(self, timeout_s: QuantityLike | None = None) -> RunResult:
        """Wait for the end of the plan; Ctrl-C at a prompt pauses it meanwhile, elsewhere it ends it.

        Parameters
        ----------
        timeout_s : quantity, optional
            How long; a plain number is in s; as long as it takes by default. The plan goes on afterwards.

        Returns
        -------
        RunResult
            With the uid and the reconstruction.

        Raises
        ------
        ParameterError
            If that is no time.
        Exception
            What the plan raised, as ``RE(plan)`` would.
        OverdueError
            If it goes on after this time.
        PausedError
            If it is paused.
        """
        within_s = (
            None if timeout_s is None else convert(timeout_s, "s", parameter="timeout_s", minimum=0)
        )
        until_s = None if within_s is None else time.monotonic() + within_s
        with self._interrupts():
            while not self._waited_enough():
                if until_s is not None and time.monotonic() > until_s:
                    raise OverdueError(
                        f"The run in the background has not ended within {within_s:g} s ({self.progress}); it goes on. "
                        "Wait again, or end it with run.abort()."
                    )
                self._settled.wait(_LOOK_S)
        return self._outcome()

    def __await__(self) -> Generator[Any, None, RunResult]:
        """Wait as `wait` does, in a loop that goes on; an interrupt ends the waiting only."""
        return self._awaited().__await__()

    async def _awaited(self) -> RunResult:
        while not self._waited_enough():
            await asyncio.sleep(_LOOK_S)
        return self._outcome()

    def pause(self) -> None:
        """Have it pause where it can: a scan at its next frame boundary, a plan of bluesky at its checkpoint.

        Raises
        ------
        SessionError
            If it cannot, or is over.
        OverdueError
            If the RunEngine does not answer.
        """
        self._check_going("pause")
        self._ask("pause", lambda: self._run_engine.request_pause(defer=True))

    def resume(self) -> None:
        """Have it go on, in the background.

        Raises
        ------
        SessionError
            If it is over, or something was set otherwise meanwhile: it stays paused then.
        OverdueError
            If the RunEngine does not answer.
        """
        self._check_going("resume")
        if str(self._run_engine.state) != "paused":
            self._ask("resume", self._resume_scan)
            return
        self._error = None
        self._go(self._run_engine.resume)
        if str(self._run_engine.state) == "paused" and self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End it, as done; waits for its clean-up."""
        self._check_going("stop")
        self._ended_as_done = True
        self._end(self._run_engine.stop)

    def abort(self, reason: str = "run.abort() was called") -> None:
        """End it, as failed by the user, beam off first; waits for its clean-up.

        Parameters
        ----------
        reason : str
            Stands in its stop document.
        """
        self._check_going("abort")
        if str(self._run_engine.state) == "paused":
            self._end(lambda: self._run_engine.abort(reason))
        else:
            self._wait_for_end(PLAN_END_S if end_plan(self._run_engine, reason) else 0.0)

    def session_closed(self, timeout_s: float) -> None:
        """Let go of the RunEngine, whose plan the session has ended."""
        until_s = time.monotonic() + timeout_s
        while not self._waited_enough() and time.monotonic() < until_s:
            self._settled.wait(_LOOK_S)
        self._told = True  # The session said it.
        self._finish()

    def __repr__(self) -> str:
        return f"<run in the background: {self.progress}>"

    def _go(self, call: Callable[[], object]) -> None:
        """Have a thread call what runs the plan, and wait until it has begun to."""
        self._settled.clear()
        thread = threading.Thread(
            target=self._call, args=(call,), name="background run", daemon=True
        )
        before = str(self._run_engine.state)
        thread.start()
        until_s = time.monotonic() + _ANSWER_S
        while str(self._run_engine.state) == before:
            if self._settled.wait(0.005):
                return
            if time.monotonic() > until_s:
                raise self._silent("go on" if before == "paused" else "begin")

    def _ask(self, what: str, call: Callable[[], object]) -> None:
        """Have a thread ask the RunEngine for something, and wait for its answer within a deadline."""
        answer: Future[object] = Future()

        def ask() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=ask, name="background question", daemon=True).start()
        try:
            answer.result(_ANSWER_S)
        except TimeoutError:
            if answer.done():
                raise  # It is what was asked that took too long, and says so.
            raise self._silent(what) from None

    def _silent(self, what: str) -> OverdueError:
        return OverdueError(
            f"The run in the background was to {what}, and the RunEngine has not answered within {_ANSWER_S:g} s; it may "
            "do so yet. See which callback or device blocks its loop, or end the run with session.stop_all()."
        )

    def _call(self, call: Callable[[], object]) -> None:
        going_on = False
        try:
            call()
        except PlanEndedError as error:
            self._error = error
        except RunEngineInterrupted:
            # It has paused; and perhaps somebody ends it already, who may be at it still.
            state = str(self._run_engine.state)
            going_on = state != "idle"
            if state == "paused":
                say(
                    "\nThe run in the background is paused: run.resume() goes on, run.abort() ends it."
                )
        except BaseException as error:
            self._error = error
        finally:
            if not going_on:
                self._finish()
            self._settled.set()

    def _end(self, call: Callable[[], object]) -> None:
        """End the plan; of one that is paused, the call does what follows, and has no deadline."""

        def end() -> None:
            paused = str(self._run_engine.state) == "paused"
            try:
                call()
            except Exception as error:
                self._error = self._error or error
            if paused:
                self._finish()

        threading.Thread(target=end, name="background end", daemon=True).start()
        self._wait_for_end()

    def _finish(self) -> None:
        with self._noting:
            if self._over.is_set():
                return
            self._over.set()
        self._run_engine.unsubscribe(self._token)
        self._run_engine.waiting_hook = self._hook
        self._settled.set()
        if self._error is not None and not (self._ended_as_done or self._told):
            said = f"{type(self._error).__name__}: {self._error}"
            say(f"\nThe run in the background has ended: {said} (run.wait() raises it)")

    def _look(self) -> None:
        """See whether somebody else has ended what was paused."""
        if self._settled.is_set() and str(self._run_engine.state) == "idle":
            self._finish()

    def _waited_enough(self) -> bool:
        self._look()
        return self._over.is_set() or (
            self._settled.is_set() and str(self._run_engine.state) == "paused"
        )

    def _wait_for_end(self, within_s: float = PLAN_END_S) -> None:
        until_s = time.monotonic() + within_s
        while not self._over.is_set():
            if time.monotonic() > until_s:
                raise OverdueError(
                    f"The run in the background was to end, and has not cleaned up within {PLAN_END_S:g} s: THE BEAM MAY BE "
                    "ON. Switch it off by hand, and see which device does not answer."
                )
            self._over.wait(_LOOK_S)

    def _outcome(self) -> RunResult:
        if not self._over.is_set():
            raise PausedError(
                "The run in the background is paused. Resume it with run.resume(), or end it with run.abort()."
            )
        if self._error is not None and not self._ended_as_done:
            raise self._error
        if self._error is not None and not isinstance(self._error, RunEngineInterrupted):
            raise self._error
        result = self.result
        if result.exit_status not in ("", "success"):  # Somebody else ended what was paused.
            raise SessionError(
                f"The plan was ended, with the status {result.exit_status}: {result.reason or 'no reason was given'}. "
                "Start it again if its data are wanted."
            )
        return result

    def _interrupts(self) -> AbstractContextManager[object]:
        if threading.current_thread() is not threading.main_thread():
            return nullcontext()
        kind = PauseOnInterrupt if interactive() else AbortOnInterrupt
        return kind(self._run_engine)

    def _check_going(self, what: str) -> None:
        if self.state in _OVER:
            raise SessionError(
                f"The run in the background was to {what}, and is {self.state}. Start another one with "
                "session.start(plan)."
            )

    def _note(self, name: str, document: Mapping[str, Any]) -> None:
        with self._noting:
            self._tracker(name, document)
            if name == "start":
                self._uids.append(str(document["uid"]))
                self._follow(self._uids[-1])
            elif name == "stop":
                self._last_stop = document

    def _follow(self, uid: str) -> None:
        """Keep what is made of a run: the live reconstruction, which has its start document, knows its latest only."""
        live = self._reconstruction
        made = None if live is None else live.of_run(uid)
        if live is not None and (made is not None or live.error is not None):
            self._made = made or live.error
