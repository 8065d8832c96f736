"""After an imaging run bluesky may pause again where it finds a checkpoint."""

from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from bluesky import Msg
from bluesky.utils import MsgGenerator

from ._safety import run_safely

P = ParamSpec("P")
T = TypeVar("T")


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


def checkpoints_afterwards(plan: Callable[P, MsgGenerator[T]]) -> Callable[P, MsgGenerator[T]]:
    """Have a plan that clears the checkpoint leave the RunEngine as it found it.

    ``clear_checkpoint`` says that a pause must end the plan, and bluesky knows no way back: not before
    the whole plan has ended, of which an imaging run may be a part. When the run is closed the reason is
    gone: from then on messages are kept again, and a later ``checkpoint`` is one. Who cleared it before
    finds it cleared.
    """

    @wraps(plan)
    def restoring(*args: P.args, **kwargs: P.kwargs) -> MsgGenerator[T]:
        found: list[bool] = []
        look = _Visit(lambda engine: found.append(bool(engine.resumable)))
        yield Msg("install_suspender", None, look)

        def restore() -> MsgGenerator[None]:
            if any(found):
                yield Msg("install_suspender", None, _Visit(_allow_checkpoints))

        result: T = yield from run_safely(plan(*args, **kwargs), restore)
        return result

    return restoring


def _allow_checkpoints(run_engine: Any) -> None:
    if not run_engine.resumable:
        # What its own checkpoint does when there is one already, and its only sign of that.
        run_engine._msg_cache = deque()
        run_engine._reset_checkpoint_state()
