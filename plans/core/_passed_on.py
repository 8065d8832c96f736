"""Between a plan and its RunEngine: each message is seen, and done as somebody says."""

from collections.abc import Callable
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator, ensure_generator

Do = Callable[[Msg], MsgGenerator[Any] | None]


def passed_on(plan: MsgGenerator[Any], do: Do) -> MsgGenerator[Any]:
    """Pass a plan's messages on, each as it is or done otherwise.

    For the plan, and for whoever runs it, it is as Python's ``yield from``: answers, errors, the end and what the plan
    returns arrive as they would without it. Bluesky's `plan_mutator` keeps every message until the plan ends, lets one pass
    unseen that is yielded a second time, and ends the plan without its clean-up when `do` itself raises.

    Parameters
    ----------
    plan : generator of messages
        A plan.
    do : callable
        Takes a message. Returns None to have it done as it is, or the messages to be done for it: none, or the message
        itself among others, and with them the plan's answer. They are not given to `do` again. What is raised by it or
        meanwhile is raised in the plan.

    Returns
    -------
    Any
        What the plan returned.

    Examples
    --------
    >>> from bluesky.plan_stubs import null, sleep
    >>> def count(plan, counted):
    ...     def note(message):
    ...         counted.append(message.command)
    ...     return passed_on(plan, note)
    >>> counted = []
    >>> len(list(count(sleep(1), counted))), counted
    (1, ['sleep'])
    """
    plan = ensure_generator(plan)
    response: Any = None
    error: BaseException | None = None
    while True:
        try:
            message = plan.send(response) if error is None else plan.throw(error)
        except StopIteration as stop:
            return stop.value
        response, error = None, None
        try:
            doing = do(message)
            response = (yield message) if doing is None else (yield from doing)
        except GeneratorExit:
            plan.close()
            raise
        except BaseException as thrown:
            error = thrown
