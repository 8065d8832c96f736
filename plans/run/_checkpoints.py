"""What an imaging run gives back to the RunEngine: checkpoints, and failures that were its own affair."""

from collections.abc import Callable
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino._bluesky_private import keep_messages_again, pardon_failures
from concertino.plans.safety._safety import Cleanup

_LATE_FAILURES = 10  # as many as a run may have begun and not waited for


class _Visit:
    """Has a look at the RunEngine that runs the plan: bluesky gives it to a suspender.

    It suspends nothing, and is gone at once.
    """

    tripped = False

    def __init__(self, look: Callable[[Any], None]) -> None:
        self._look = look

    def install(self, run_engine: Any, **_: Any) -> None:
        """Look at the RunEngine."""
        run_engine.remove_suspender(self)
        self._look(run_engine)

    def remove(self) -> None:
        """Do nothing."""

    def get_futures(self) -> tuple[list[Any], str]:
        """Return that nothing is waited for."""
        return [], ""


def checkpoints_found() -> MsgGenerator[Cleanup]:
    """Return what leaves the RunEngine as it is now, for a plan that clears the checkpoint.

    ``clear_checkpoint`` says that a pause must end the plan, and bluesky knows no way back: not before
    the whole plan has ended, of which an imaging run may be a part. When the run is closed the reason is
    gone: from then on messages are kept again, and a later ``checkpoint`` is one. Who cleared it before
    finds it cleared.
    """
    found: list[bool] = []
    yield Msg(
        "install_suspender", None, _Visit(lambda engine: found.append(bool(engine.resumable)))
    )

    def restore() -> MsgGenerator[None]:
        if any(found):
            yield Msg("install_suspender", None, _Visit(keep_messages_again))

    return restore


def pardoned() -> MsgGenerator[None]:
    """Have no failure of what a run that ended early has begun reach the plan around it.

    Its clean-up stops moves and cameras, whose statuses may fail only later: the RunEngine would throw that into whatever the
    plan around it does then, its own clean-up above all, and forget why the run was ended. At the end of a whole plan bluesky
    pardons them by the same event.
    """
    for _ in range(_LATE_FAILURES):
        try:
            yield Msg("install_suspender", None, _Visit(pardon_failures))
        except GeneratorExit:
            raise
        except BaseException:
            continue  # Of something else that was stopped; the run's own error is raised.
        return
