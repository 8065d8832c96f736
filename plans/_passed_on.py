"""Between a plan and its RunEngine: each message is seen, and done as somebody says."""

from collections.abc import Callable
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator


def passed_on(plan: MsgGenerator[Any], do: Callable[[Msg], MsgGenerator[Any]]) -> MsgGenerator[Any]:
    """Pass a plan's messages on; unlike bluesky's `plan_mutator`, with answers of one's own.

    Parameters
    ----------
    plan : generator of messages
        A plan.
    do : callable
        Takes a message; returns the messages to be done for it, none or the message itself in the simplest
        cases, and with them the plan's answer. What is raised meanwhile is raised in the plan.

    Returns
    -------
    Any
        What the plan returned.
    """
    response: Any = None
    error: BaseException | None = None
    while True:
        try:
            message = plan.send(response) if error is None else plan.throw(error)
        except StopIteration as stop:
            return stop.value
        response, error = None, None
        try:
            response = yield from do(message)
        except GeneratorExit:
            plan.close()
            raise
        except BaseException as thrown:
            error = thrown
