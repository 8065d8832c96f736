"""An optimiser that calls a function, steered from a plan, which cannot be called."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from bluesky.utils import MsgGenerator

T = TypeVar("T")
Figure = Callable[[Any], float]


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
    """
    asked: queue.Queue[tuple[str, Any]] = queue.Queue()
    answers: queue.Queue[float | None] = queue.Queue()

    def figure(point: Any) -> float:
        asked.put(("point", point))
        answer = answers.get()
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
            kind, what = asked.get()
            if kind == "result":
                result: T = what
                return result
            if kind == "error":
                raise what
            number = yield from figure_at(what)
            answers.put(number)
    finally:
        answers.put(None)
        thread.join()
