"""A plan whose messages are passed on is to the plan, and to whoever runs it, as Python's ``yield from``."""

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import bluesky.preprocessors as bpp
import pytest
from bluesky import Msg, RunEngine
from bluesky.utils import MsgGenerator
from hypothesis import given
from hypothesis import strategies as st

from concertino.plans import passed_on

Wrap = Callable[[MsgGenerator[Any]], MsgGenerator[Any]]

_ERRORS: dict[str, type[BaseException]] = {
    "ValueError": ValueError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "BaseException": BaseException,
}
#: What whoever runs the plan does next.
_DOINGS = st.sampled_from(["send", *_ERRORS, "close"])
#: What the plan does with what is raised in it: end with it, go on, raise another, or return.
_HABITS = st.sampled_from(["raise", "go on", "another", "return", "yield at the end"])


def _plan(habits: list[str], heard: list[Any]) -> MsgGenerator[str]:
    for number, habit in enumerate(habits):
        try:
            heard.append((yield Msg("null", None, number)))
        except GeneratorExit:
            heard.append("closed")
            if habit == "yield at the end":
                yield Msg("null", None, "too late")
            raise
        except BaseException as error:
            heard.append(repr(error))
            if habit == "raise":
                raise
            if habit == "another":
                raise LookupError("in the cleaning up") from error
            if habit == "return":
                return "early"
    return "late"


def _run(wrap: Wrap, habits: list[str], doings: list[str]) -> list[Any]:
    """Return all that the plan and whoever runs it see of one another."""
    heard: list[Any] = []
    plan = wrap(_plan(habits, heard))
    seen: list[Any] = []
    try:
        seen.append(next(plan))
        for number, doing in enumerate(doings):
            if doing == "close":
                plan.close()
                seen.append("closed")
            elif doing == "send":
                seen.append(plan.send(f"answer {number}"))
            else:
                seen.append(plan.throw(_ERRORS[doing](f"at {number}")))
    except StopIteration as stop:
        seen.append(("returned", stop.value))
    except BaseException as error:
        # Python says of a plan that will not be closed what it was doing, and of nothing else.
        context = None if isinstance(error, RuntimeError) else repr(error.__context__)
        seen.append(("raised", repr(error), repr(error.__cause__), context))
    with suppress(RuntimeError):  # It says something even then.
        plan.close()
    return [heard, seen]


def _python(plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    return (yield from plan)


def _as_it_is(plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    return passed_on(plan, lambda message: None)


def _itself(plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    def do(message: Msg) -> MsgGenerator[Any]:
        return (yield message)

    return passed_on(plan, do)


def _bluesky(plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    return (yield from bpp.plan_mutator(plan, lambda message: (None, None)))


@pytest.mark.parametrize("wrap", [_as_it_is, _itself, lambda plan: _itself(_as_it_is(plan))])
@given(habits=st.lists(_HABITS, max_size=4), doings=st.lists(_DOINGS, max_size=6))
def test_is_as_yield_from(wrap: Wrap, habits: list[str], doings: list[str]) -> None:
    """Answers, errors, what the plan returns and its end arrive as Python's delegation has them arrive."""
    assert _run(wrap, habits, doings) == _run(_python, habits, doings)


@given(
    habits=st.lists(_HABITS, max_size=4),
    doings=st.lists(st.sampled_from(["send", "ValueError"]), max_size=6),
)
def test_is_as_blueskys_own(habits: list[str], doings: list[str]) -> None:
    """So they do through bluesky's, of whatever it passes on: answers and exceptions."""
    heard, seen = _run(_as_it_is, habits, doings)
    their_heard, their_seen = _run(_bluesky, habits, doings)
    assert heard == their_heard
    assert [each[:2] if isinstance(each, tuple) else each for each in seen] == [
        each[:2] if isinstance(each, tuple) else each for each in their_seen
    ]


def test_messages_may_be_done_otherwise() -> None:
    """A message is left out, or done as several; the plan has the answer that is returned."""
    answers: list[Any] = []

    def plan() -> MsgGenerator[None]:
        for command in ("left out", "kept", "changed"):
            answers.append((yield Msg(command)))

    def do(message: Msg) -> MsgGenerator[Any] | None:
        return {"left out": left_out, "changed": changed}.get(message.command, lambda: None)()

    def left_out() -> MsgGenerator[Any]:
        yield from ()
        return "nobody was asked"

    def changed() -> MsgGenerator[Any]:
        first = yield Msg("one")
        second = yield Msg("changed")
        return [first, second]

    passing, said = passed_on(plan(), do), []
    message = next(passing)
    with suppress(StopIteration):
        while True:
            said.append(message.command)
            message = passing.send(f"answer to {message.command}")
    assert said == ["kept", "one", "changed"]
    assert answers == ["nobody was asked", "answer to kept", ["answer to one", "answer to changed"]]


def test_what_refuses_a_message_lets_the_plan_clean_up() -> None:
    """A refusal is raised in the plan, whose clean-up is done, unlike with bluesky's."""
    done: list[str] = []

    def plan() -> MsgGenerator[None]:
        try:
            yield Msg("null", None, "refused")
        finally:
            yield Msg("null", None, "cleaned up")

    def do(message: Msg) -> None:
        if message.args == ("refused",):
            raise ValueError("nothing of this")
        done.extend(message.args)

    with pytest.raises(ValueError, match="nothing of this"):
        RunEngine({})(passed_on(plan(), do))
    assert done == ["cleaned up"]


def test_no_message_is_kept() -> None:
    """What a message carries can go when it is done, however long the plan goes on."""

    class Carried:
        pass

    there: list[weakref.ref[Carried]] = []

    def plan() -> MsgGenerator[None]:
        for _ in range(3):
            carried = Carried()
            there.append(weakref.ref(carried))
            yield Msg("null", None, carried)
            del carried

    passing = _itself(plan())
    for _ in passing:
        gc.collect()
        assert sum(each() is not None for each in there) <= 2  # the one that is done, and the last


def test_a_message_that_is_said_again_is_seen_again() -> None:
    """A plan may yield one and the same message twice."""
    seen: list[Msg] = []
    message = Msg("null")
    list(passed_on(iter([message, message]), seen.append))  # type: ignore[arg-type]
    assert seen == [message, message]
