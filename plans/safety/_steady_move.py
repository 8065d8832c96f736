"""A move that a plan may end early without that being a failure."""

from collections.abc import Callable
from typing import Any

from concertino.plans.core._offers import Stops


class InterruptibleMove:
    """Moves an axis; once it is pardoned, a move that is stopped counts as done.

    To the RunEngine the move of an axis that is stopped has failed, and fails the plan.

    Parameters
    ----------
    axis : device
        What moves.
    """

    parent = None

    def __init__(self, axis: Any) -> None:
        self.axis = axis
        self.name = axis.name
        self._pardoned = False

    def set(self, value: float) -> Any:
        """Move the axis."""
        return _PardonableStatus(self.axis.set(value), lambda: self._pardoned)

    def accept_early_stop(self) -> None:
        """Have the end of the move be no failure from now on, wherever it ends."""
        self._pardoned = True

    def stop(self, success: bool = False) -> Any:
        """Stop the axis."""
        return self.axis.stop(success=success) if isinstance(self.axis, Stops) else None


class _PardonableStatus:
    def __init__(self, status: Any, pardoned: Callable[[], bool]) -> None:
        self._status, self._pardoned = status, pardoned

    def add_callback(self, callback: Callable[[Any], Any]) -> None:
        self._status.add_callback(lambda _: callback(self))

    @property
    def done(self) -> bool:
        return bool(self._status.done)

    @property
    def success(self) -> bool:
        return bool(self._status.success or (self._status.done and self._pardoned()))

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        error: BaseException | None = self._status.exception(timeout)
        return None if self._pardoned() else error
