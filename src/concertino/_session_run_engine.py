"""The RunEngine of a session: it says what runs, pauses imaging plans, and cleans up after each."""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bluesky import Msg, RunEngine

from concertino import SessionError
from concertino.plans import Hold

_DEFERRED = "a pause was requested of the RunEngine"


@contextmanager
def _imports_kept() -> Iterator[None]:
    """Keep Python from looking through all that was ever imported for garbage.

    It does so again and again, and for 100 ms nothing else in the process goes on: neither the loop nor the
    camera's frames.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class SessionRunEngine(RunEngine):
    """A RunEngine that says what is running when a second plan is given to it.

    Attributes
    ----------
    after_plan : list of callable
        Called in the caller's thread when a plan is over, however it ended.
    hold : Hold
        Has an imaging plan pause at its next frame boundary.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.after_plan: list[Callable[[], object]] = []
        self.hold = Hold()
        super().__init__(*args, **kwargs)
        self.register_command(  # type: ignore[no-untyped-call]
            "checkpoint", self._checkpoint_anew
        )

    def __call__(self, *args: Any, **metadata_kw: Any) -> Any:
        """Run a plan, as bluesky's RunEngine does.

        Raises
        ------
        SessionError
            If a plan is running or paused.
        """
        if self.state != "idle":
            plan_name = getattr(getattr(self, "_plan", None), "__name__", "a plan")
            raise SessionError(
                f"A plan was given to the RunEngine while {plan_name} is {self.state}. Wait for its "
                "end, or end it with RE.abort()."
            )
        try:
            with _imports_kept():
                return super().__call__(*args, **metadata_kw)
        finally:
            if self.state == "idle":
                self.hold.release(_DEFERRED)
            for function in self.after_plan:
                function()

    def request_pause(self, defer: bool = False) -> Any:
        """Pause; deferred, an imaging plan does so at its next frame boundary, and can be resumed."""
        if defer:
            self.hold.request(_DEFERRED)
        return super().request_pause(defer)  # type: ignore[no-untyped-call]

    def resume(self) -> Any:
        """Go on after a pause."""
        self.hold.release(_DEFERRED)
        with _imports_kept():
            return super().resume()  # type: ignore[no-untyped-call]

    def abort(self, reason: str = "") -> Any:
        """End the plan, as failed by the user."""
        self.hold.release(_DEFERRED)
        return super().abort(reason)  # type: ignore[no-untyped-call]

    def stop(self) -> Any:
        """End the plan, as done."""
        self.hold.release(_DEFERRED)
        return super().stop()  # type: ignore[no-untyped-call]

    def halt(self) -> Any:
        """End the plan without letting it clean up."""
        self.hold.release(_DEFERRED)
        return super().halt()  # type: ignore[no-untyped-call]

    async def _checkpoint_anew(self, msg: Msg) -> None:
        """Make a checkpoint, also after it was said that there is none, if it says ``anew``."""
        if msg.kwargs.get("anew") and self._msg_cache is None:
            self._msg_cache = deque()
        await self._checkpoint(msg)  # type: ignore[no-untyped-call]
