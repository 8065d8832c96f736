"""An optimiser that calls a function, steered from a plan, which cannot be called."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from bluesky.utils import MsgGenerator

from ._deadlines import OverdueError, deadlines

T = TypeVar("T")
Figure = Callable[[Any], float]

#: An optimiser that was given up ends with its next question, or is left alone.
_GIVEN_UP_S = 5.0


class _GivenUpError(Exception):
    """The plan has ended before the optimiser."""


def steered(
    optimise: Callable[[Figure], T], figure_at: Callable[[Any], MsgGenerator[float]]
) -> MsgGenerator[T]:
    """Run an optimiser, and measure wherever it wants to know.

    Parameters
    ----------
    optimise : callable
        Takes the function to optimise; runs in a thread, which computes while the plan waits.
    figure_at : callable
        Takes what the optimiser gives to the function; returns the messages that move there,
        measure, and give the number.

    Returns
    -------
    Any
        What the optimiser returned.

    Raises
    ------
    Exception
        What the optimiser or a message raised.
    DeviceError
        If the optimiser computes on and on.
    """
    asked: queue.Queue[tuple[str, Any]] = queue.Queue()
    answers: queue.Queue[float | None] = queue.Queue()

    def figure(point: Any) -> float:
        asked.put(("point", point))
        answer = answers.get()  # The plan answers whatever becomes of it.
        if answer is None:
            raise _GivenUpError
        return answer

    def run() -> None:
        try:
            asked.put(("result", optimise(figure)))
        except _GivenUpError:
            return
        except BaseException as error:
            asked.put(("error", error))

    thread = threading.Thread(target=run, name="optimiser", daemon=True)
    thread.start()
    try:
        while True:
            kind, what = _next(asked)
            if kind == "result":
                result: T = what
                return result
            if kind == "error":
                raise what
            number = yield from figure_at(what)
            answers.put(number)
    finally:
        answers.put(None)
        thread.join(_GIVEN_UP_S)


def _next(asked: "queue.Queue[tuple[str, Any]]") -> tuple[str, Any]:
    """Return what the optimiser asks for next."""
    within_s = deadlines().answer_s
    try:
        return asked.get(timeout=within_s)
    except queue.Empty:
        raise OverdueError(
            f"The optimiser has computed for {within_s:g} s and neither asked for a value nor ended. Give it "
            "fewer points, or a coarser tolerance."
        ) from None
