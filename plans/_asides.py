"""What a plan says in its messages to whoever passes them on: to a RunEngine it is nothing."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino.plans.core._passed_on import passed_on

T = TypeVar("T")
A = TypeVar("A", bound="Aside[Any]")


class Aside(Generic[T]):
    """Something that a plan says, or asks, in a ``null`` message.

    A RunEngine does nothing and answers None; who passes messages on hears it by its class. Each kind is a
    class of its own, with what the answer is, if there may be one: ``class WhichPart(Aside[ResumeContext])``.
    """


def said(aside: Aside[T]) -> MsgGenerator[T | None]:
    """Say something; returns the answer of whoever hears it, or None."""
    answer: T | None = yield Msg("null", None, aside)
    return answer


def heard(message: Msg, kind: type[A]) -> A | None:
    """Return what a message says, if it is of this kind; else None."""
    aside = message.args[0] if message.command == "null" and message.args else None
    return aside if isinstance(aside, kind) else None


def with_answers(
    plan: MsgGenerator[Any], kind: type[Aside[T]], answer: Callable[[T | None], T]
) -> MsgGenerator[Any]:
    """Pass a plan's messages on, and answer what it asks.

    Parameters
    ----------
    plan : generator of messages
        The plan.
    kind : type
        The kind of question that is answered.
    answer : callable
        Takes what those further out answered, None if nobody did, and returns the answer.

    Returns
    -------
    Any
        What the plan returned.
    """

    def answered(question: Msg) -> MsgGenerator[T]:
        known: T | None = yield question
        return answer(known)

    def do(message: Msg) -> MsgGenerator[T] | None:
        return answered(message) if heard(message, kind) else None

    return passed_on(plan, do)
