"""Have each wait of a plan never end, in turn, and see that the plan ends safely in spite of it."""

import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from bluesky import Msg

from concertino._errors import notes_of

from ._plan_faults import (
    PlanBench,
    PlanFault,
    PlanOutcome,
    describe_message,
    fault_positions,
    run_with_fault,
)

_BEGINS = ("set", "trigger", "prepare", "kickoff", "complete", "stage", "unstage")
_LIT = "THE BEAM MAY BE ON"


class EndlessWait(PlanFault):
    """The device of one message never says that it is done; found by `PlanFault.what` and `PlanFault.nth`."""


def endless_waits(messages: Sequence[Msg], *, every: bool = False) -> list[EndlessWait]:
    """Return what a plan waits for, each to be had never end in turn.

    Parameters
    ----------
    messages : sequence of Msg
        From `plan_messages`.
    every : bool
        All of them; otherwise only the first of each command and device in each stream.
    """
    said = [describe_message(message) for message in messages]
    return [
        EndlessWait(position, "never ends", said[position], said[:position].count(said[position]))
        for position in fault_positions(messages, every=every)
        # What has no group is not waited for: it is done when the message is.
        if messages[position].command in _BEGINS and messages[position].kwargs.get("group")
    ]


def run_with_endless_wait(bench: PlanBench, fault: EndlessWait, within_s: float) -> PlanOutcome:
    """Run a plan, in which the device of one message never says that it is done.

    Parameters
    ----------
    bench : PlanBench
        The plan and its devices.
    fault : EndlessWait
        Which message.
    within_s : float
        When the RunEngine must be idle again, in seconds; it is halted then.

    Returns
    -------
    PlanOutcome
        `PlanOutcome.took_s` is `within_s` or more if it had to be halted.
    """

    def rescue() -> None:
        with suppress(Exception):
            bench.RE.halt()

    rescuer = threading.Timer(within_s, rescue)
    rescuer.start()
    began_s = time.monotonic()
    try:
        outcome = run_with_fault(bench, fault)
    finally:
        rescuer.cancel()
    outcome.took_s = time.monotonic() - began_s
    return outcome


def check_end_in_time(outcome: PlanOutcome, within_s: float, motors: Collection[str] = ()) -> None:
    """Check that a plan ended in time and safely, and said what did not come.

    Parameters
    ----------
    outcome : PlanOutcome
        From `run_with_endless_wait`.
    within_s : float
        As given there.
    motors : collection of str
        Names of what must have been told to stop.

    Raises
    ------
    AssertionError
        If it did not end in time, the beam is on and nobody says so, a motor was not stopped, or the error
        and the stop document do not name the device.
    """
    where, error = outcome.where, outcome.error
    assert outcome.took_s < within_s, f"it did not end within {within_s:g} s: {where}"
    assert error is not None, f"nothing was raised: {where}"
    said = " ".join([str(error), *notes_of(error)])
    stops = outcome.find("stop")
    assert len(stops) == len(outcome.find("start")), f"a run was not stopped once: {where}"
    told = bool(stops) and not outcome.stopped_before
    reason = str(stops[-1].get("reason", "")) if told else said
    if outcome.beam_on:
        assert _LIT in said, f"the beam is on, and the error does not say so: {said!r}, {where}"
        assert _LIT in reason, (
            f"the beam is on, and the document does not say so: {reason!r}, {where}"
        )
    if outcome.struck is not None:
        name = outcome.struck.obj.name
        assert name in said, f"{said!r} does not name the device: {where}"
        assert name in reason, f"the reason {reason!r} does not name the device: {where}"
    assert not told or stops[-1]["exit_status"] != "success", f"success: {where}"
    stopped = [m.obj.name for m in outcome.messages if m.command == "stop"]
    missed = sorted(set(motors) - set(stopped))
    assert not missed, f"{missed} were not told to stop: {where}"
    assert not outcome.moving, f"{outcome.moving} move after: {where}"
