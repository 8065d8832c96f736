"""What a plan must know of the scan that its run is a part of; whoever runs it may answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bluesky.utils import MsgGenerator

from concertino.plans._asides import Aside, said, with_answers

from ._pause_request import PauseRequest

Check = Callable[[Mapping[str, Any]], MsgGenerator[None]]


def _accept(metadata: Mapping[str, Any]) -> MsgGenerator[None]:
    yield from ()


@dataclass
class ResumeContext:
    """The part of a scan that a run is to take.

    Parameters
    ----------
    hold : PauseRequest or None
        Asks for pauses.
    missing : mapping of str to sequence of range, or None
        Frames of each stream that are to be taken; None for all.
    names : sequence of str
        Names of the scan's document streams that there are already.
    metadata : mapping
        More for the start document.
    check : callable
        Takes the start document to be; its messages raise if this run does not belong to the scan.
    """

    hold: PauseRequest | None = None
    missing: Mapping[str, Sequence[range]] | None = None
    names: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    check: Check = _accept


class WhichPart(Aside[ResumeContext]):
    """Asks which part of a scan a run is to take."""


def scan_so_far() -> MsgGenerator[ResumeContext]:
    """Ask what part of a scan is to be taken; all of it, if nobody answers."""
    return (yield from said(WhichPart())) or ResumeContext()


def with_pause_request(plan: MsgGenerator[Any], hold: PauseRequest) -> MsgGenerator[Any]:
    """Pass a plan's messages on; a scan in it pauses when a switch asks it to.

    What is asked of the switch meanwhile ends with the plan, or with the run that it is about.

    Parameters
    ----------
    plan : generator of messages
        An imaging plan, or one that has some in it. A switch that was given to the plan itself wins.
    hold : PauseRequest
        The switch.
    """

    def with_it(known: ResumeContext | None) -> ResumeContext:
        context = known or ResumeContext()
        context.hold = context.hold or hold
        return context

    return (yield from with_answers(hold.follow(plan), WhichPart, with_it))
